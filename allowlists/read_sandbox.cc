#include "allowlists/read_sandbox.h"

#include <algorithm>

#include "allowlists/language.h"
#include "allowlists/read_value.h"
#include "base/units.h"

namespace sluice::allowlists {
namespace {

enum Key : std::size_t {
  memory,
  swap,
  cpus,
  io_weight,
  pids,
  timeout,
  tmpfs,
  seed,
  mask,
  protect,
  require_landlock
};
constexpr auto keys = keys_of(sandbox_words);
static_assert(keys[require_landlock] == "require_landlock" && keys.size() == require_landlock + 1);

constexpr std::string_view path_hint = "write an absolute path, or one below ~/";

// With its unit: a bare number would be bytes here and anything in a reader's mind.
std::optional<std::uint64_t> size_of(std::string_view text) {
  const auto bytes = units::bytes(text);
  const bool has_unit = !text.empty() && (text.back() < '0' || text.back() > '9');
  if (!bytes || !has_unit || *bytes < smallest_sandbox_size || *bytes > largest_sandbox_size)
    return std::nullopt;
  return bytes;
}

std::optional<std::uint64_t> memory_of(std::string_view text) {
  const auto bytes = size_of(text);
  return bytes && *bytes >= smallest_memory ? bytes : std::nullopt;
}

std::optional<std::uint64_t> swap_of(std::string_view text) {
  if (text == "0" || text == "0B") return 0;
  return size_of(text);
}

std::optional<std::uint32_t> weight_of(std::string_view text) {
  const auto weight = count_of(text);
  return weight && *weight <= largest_io_weight ? weight : std::nullopt;
}

std::optional<std::uint32_t> share_of(std::string_view text) {
  const auto share = units::thousandths(text);
  return share && *share >= smallest_cpu_thousandths ? share : std::nullopt;
}

std::optional<std::uint32_t> pids_of(std::string_view text) {
  const auto count = count_of(text);
  return count && *count >= fewest_pids && *count <= most_pids ? count : std::nullopt;
}

std::optional<std::chrono::milliseconds> span_of(std::string_view text) {
  const auto span = units::duration(text);
  if (!span || *span == std::chrono::milliseconds::zero()) return std::nullopt;
  return span;
}

// "." and ".." and empty components would say less than they seem to.
bool is_plain_path(std::string_view path) {
  if (path.starts_with('~')) path.remove_prefix(1);
  if (path.size() < 2 || path.front() != '/') return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view name = path.substr(0, path.find('/'));
    if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string_view::npos) {
      return false;
    }
    path.remove_prefix(name.size());
  }
  return true;
}

class SandboxReader {
 public:
  explicit SandboxReader(Reporter& report) : report_(report) {}

  std::optional<std::uint64_t> size(const Field& field) {
    return read_value(field, "write 512MiB or 2GiB; at least 4096 bytes", size_of, report_);
  }
  std::optional<std::uint64_t> memory(const Field& field) {
    return read_value(field, "write 512MiB or 2GiB; at least 16MiB", memory_of, report_);
  }
  std::optional<std::uint64_t> swap(const Field& field) {
    return read_value(field, "write 0, 512MiB or 2GiB; if any, at least 4096 bytes", swap_of,
                      report_);
  }
  std::optional<std::uint32_t> weight(const Field& field) {
    return read_unquoted(field, "write a whole number from 1 to 10000, without quotes", weight_of,
                         report_);
  }
  std::optional<std::uint32_t> share(const Field& field) {
    return read_value(field, "write a number of processors: 2, 1.5 or 0.25", share_of, report_);
  }
  std::optional<std::uint32_t> pids(const Field& field) {
    return read_unquoted(field, "write a whole number from 8 to 4194304, without quotes", pids_of,
                         report_);
  }
  std::optional<std::chrono::milliseconds> span(const Field& field) {
    return read_value(field, "write 500ms, 30s, 10m, 2h or 1d", span_of, report_);
  }

  bool yes_no(const Field& field) {
    const auto truth = [](std::string_view text) {
      return text == "true" || text == "false" ? std::optional(text == "true") : std::nullopt;
    };
    return read_unquoted(field, "write true or false, without quotes", truth, report_)
        .value_or(false);
  }

  std::vector<SizedPath> caps(const Field& field) {
    std::vector<SizedPath> paths;
    if (!report_.expect(YamlKind::mapping, field, "write tmpfs: {/tmp: 100MiB}")) return paths;
    for (std::size_t i = 0; i + 1 < field.value.size(); i += 2) {
      const Field one{field.value[i], field.value[i + 1]};
      const auto path = path_of(one.key);
      const auto bytes = path ? size(one) : std::nullopt;
      if (path && bytes) add(paths, {*path, bytes}, one.key);
    }
    return paths;
  }

  std::vector<SizedPath> seeds(const Field& field) {
    std::vector<SizedPath> paths;
    each(field, "write seed: [/etc/tool]", [&](const YamlValue& item) {
      const std::string_view text = item.kind() == YamlKind::scalar ? item.text() : "";
      const std::size_t colon = text.find(':');
      const auto bytes =
          colon == std::string_view::npos ? std::nullopt : size_of(text.substr(colon + 1));
      if (!is_plain_path(text.substr(0, colon)) || (colon != std::string_view::npos && !bytes)) {
        report_.error(item, shown(item) + " is no path with a size or without",
                      "write /etc/tool or /etc/tool:64MiB");
        return;
      }
      add(paths, {std::string(text.substr(0, colon)), bytes}, item);
    });
    return paths;
  }

  std::vector<std::string> paths(const Field& field) {
    std::vector<std::string> paths;
    each(field, "write mask: [~/.netrc]", [&](const YamlValue& item) {
      if (const auto path = path_of(item)) paths.push_back(*path);
    });
    return paths;
  }

  std::vector<std::string> paths_of_workspace(const Field& field) {
    std::vector<std::string> paths;
    each(field, "write protect: [.tool/hooks]", [&](const YamlValue& item) {
      if (item.kind() == YamlKind::scalar && is_path_of_workspace(item.text())) {
        paths.emplace_back(item.text());
        return;
      }
      report_.error(item, shown(item) + " is no path in a workspace",
                    "write it relative to the workspace: .tool/hooks");
    });
    return paths;
  }

 private:
  template <class Take>
  void each(const Field& field, std::string_view hint, Take take) {
    if (!report_.expect(YamlKind::sequence, field, hint)) return;
    for (std::size_t i = 0; i < field.value.size(); ++i) take(field.value[i]);
  }

  std::optional<std::string> path_of(const YamlValue& value) {
    if (value.kind() == YamlKind::scalar && is_plain_path(value.text())) {
      return std::string(value.text());
    }
    report_.error(value, shown(value) + " is no path", std::string(path_hint));
    return std::nullopt;
  }

  void add(std::vector<SizedPath>& paths, SizedPath path, const YamlValue& at) {
    const bool twice = std::any_of(paths.begin(), paths.end(),
                                   [&](const SizedPath& other) { return other.path == path.path; });
    if (!twice) {
      paths.push_back(std::move(path));
      return;
    }
    report_.error(at, quoted(path.path) + " stands here twice", "keep one of them");
  }

  Reporter& report_;
};

}  // namespace

Sandbox read_sandbox(const Field& sandbox, Reporter& report) {
  Sandbox read;
  if (!report.expect(YamlKind::mapping, sandbox, "write sandbox: {memory: 2GiB}")) return read;
  const auto fields = report.fields(sandbox.value, keys);
  SandboxReader reader(report);
  if (fields[memory]) read.memory = reader.memory(*fields[memory]);
  if (fields[swap]) read.swap = reader.swap(*fields[swap]);
  if (fields[swap] && !fields[memory]) {
    report.error(fields[swap]->key, "'swap' stands without 'memory'",
                 "write how much memory there is beside it: memory: 2GiB");
  }
  if (fields[io_weight]) read.io_weight = reader.weight(*fields[io_weight]);
  if (fields[cpus]) read.cpu_thousandths = reader.share(*fields[cpus]);
  if (fields[pids]) read.pids = reader.pids(*fields[pids]);
  if (fields[timeout]) read.timeout = reader.span(*fields[timeout]);
  if (fields[tmpfs]) read.tmpfs = reader.caps(*fields[tmpfs]);
  if (fields[seed]) read.seeds = reader.seeds(*fields[seed]);
  if (fields[mask]) read.masks = reader.paths(*fields[mask]);
  if (fields[protect]) read.protects = reader.paths_of_workspace(*fields[protect]);
  if (fields[require_landlock]) read.requires_landlock = reader.yes_no(*fields[require_landlock]);
  return read;
}

}  // namespace sluice::allowlists
