// pip, uv and pipenv, as their user and system have configured them.
#include "allowlists/discover/python.h"

#include <algorithm>
#include <array>
#include <string>

#include "allowlists/discover/lines.h"

namespace sluice::allowlists::discover {
namespace {

void read_pip_file(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : read_python_ini(file->text)) {
    const std::string& key = setting.path.back();
    if (key != "index-url" && key != "extra-index-url" && key != "find-links") continue;
    scan.findings.add_url(setting.value, pip_index, file->at(setting.line));
    if (key == "index-url") scan.findings.replaces_default(Tool::pip);
  }
}

// uv's "name=https://…" without the name.
std::string_view without_name(std::string_view url) {
  const std::size_t equals = url.find('=');
  return equals < url.find("://") ? url.substr(equals + 1) : url;
}

struct Variable {
  const char* name;
  std::string_view tool;
  bool replaces_default;
};

void read_variables(Scan& scan) {
  static constexpr std::array<Variable, 10> variables = {{{"PIP_INDEX_URL", pip_index, true},
                                                          {"PIP_EXTRA_INDEX_URL", pip_index, false},
                                                          {"PIP_FIND_LINKS", pip_index, false},
                                                          {"UV_INDEX_URL", uv_index, true},
                                                          {"UV_DEFAULT_INDEX", uv_index, true},
                                                          {"UV_INDEX", uv_index, false},
                                                          {"UV_EXTRA_INDEX_URL", uv_index, false},
                                                          {"UV_FIND_LINKS", uv_index, false},
                                                          {"PIPENV_PYPI_MIRROR", pip_index, true},
                                                          {"PDM_PYPI_URL", pip_index, true}}};
  for (const Variable& variable : variables) {
    std::string value = scan.files.variable(variable.name);
    if (variable.tool == uv_index) std::replace(value.begin(), value.end(), ',', ' ');
    for (const std::string_view url : words_of(value)) {
      scan.findings.add_url(without_name(url), variable.tool,
                            {std::string("$") + variable.name, 0, Trust::user});
      if (variable.replaces_default) scan.findings.replaces_default(Tool::pip);
    }
  }
}

}  // namespace

void add_uv_setting(Scan& scan, const Setting& setting, std::size_t depth, const Place& place) {
  Setting inner{{setting.path.begin() + static_cast<std::ptrdiff_t>(depth), setting.path.end()},
                setting.value,
                setting.line};
  if (!inner.path.empty() && inner.path.front() == "pip") inner.path.erase(inner.path.begin());
  const bool is_index = inner.is_at({"index-url"}) || inner.is_at({"index", "[]", "url"});
  if (!is_index && !inner.is_in({"extra-index-url"}) && !inner.is_in({"find-links"})) return;
  scan.findings.add_url(inner.value, uv_index, place);
  if (is_index) scan.findings.replaces_default(Tool::pip);
}

void read_uv_file(Scan& scan, const std::optional<TextFile>& file) {
  if (!file) return;
  for (const Setting& setting : settings_of(scan, *file, read_toml(file->text))) {
    add_uv_setting(scan, setting, 0, file->at(setting.line));
  }
}

void read_python_user(Scan& scan) {
  read_variables(scan);
  read_pip_file(scan, scan.files.named_by("PIP_CONFIG_FILE"));
  read_pip_file(scan, scan.files.config("pip/pip.conf"));
  read_pip_file(scan, scan.files.home(".pip/pip.conf"));
  read_pip_file(scan, scan.files.system("/etc/pip.conf"));
  read_pip_file(scan, scan.files.system("/etc/xdg/pip/pip.conf"));
  read_uv_file(scan, scan.files.named_by("UV_CONFIG_FILE"));
  read_uv_file(scan, scan.files.config("uv/uv.toml"));
  read_uv_file(scan, scan.files.system("/etc/uv/uv.toml"));
}

}  // namespace sluice::allowlists::discover
