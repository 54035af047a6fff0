#include "allowlists/discover/settings.h"

#include <algorithm>

#include "allowlists/yaml_tree.h"

namespace sluice::allowlists::discover {
namespace {

bool fits(const std::vector<std::string>& path, std::initializer_list<std::string_view> pattern) {
  const auto same = [](std::string_view wanted, const std::string& key) {
    return wanted == "*" || wanted == key;
  };
  return path.size() >= pattern.size() &&
         std::equal(pattern.begin(), pattern.end(), path.begin(), same);
}

class YamlFlattener {
 public:
  // False where there is too much of it.
  bool add(const YamlValue& value) {
    if (++visited_ > most_settings) return false;
    if (value.kind() == YamlKind::scalar) {
      settings_.push_back({path_, std::string(value.text()), value.line()});
    }
    if (value.kind() == YamlKind::null || value.kind() == YamlKind::scalar) return true;
    if (path_.size() == deepest_setting) return true;
    const bool is_mapping = value.kind() == YamlKind::mapping;
    const std::size_t step = is_mapping ? 2 : 1;
    for (std::size_t i = 0; i + step <= value.size(); i += step) {
      path_.push_back(is_mapping ? key_of(value[i]) : "[]");
      if (!add(value[i + step - 1])) return false;
      path_.pop_back();
    }
    return true;
  }
  Settings take() { return std::move(settings_); }

 private:
  static std::string key_of(const YamlValue& key) {
    return key.kind() == YamlKind::scalar ? std::string(key.text()) : std::string();
  }

  Settings settings_;
  std::vector<std::string> path_;
  std::size_t visited_ = 0;
};

}  // namespace

bool Setting::is_at(std::initializer_list<std::string_view> pattern) const {
  return path.size() == pattern.size() && fits(path, pattern);
}

bool Setting::is_in(std::initializer_list<std::string_view> pattern) const {
  const bool in_list = path.size() == pattern.size() + 1 && path.back() == "[]";
  return (path.size() == pattern.size() || in_list) && fits(path, pattern);
}

ReadSettings read_yaml(const std::string& text) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) return Settings();
  const auto tree = YamlTree::parse({"", text});
  if (!tree) {
    const auto& where = tree.error().where;
    return tl::unexpected(Unreadable{where ? where->line : 0, "no YAML that can be read"});
  }
  YamlFlattener flattener;
  if (!flattener.add(YamlValue(*tree))) {
    return tl::unexpected(Unreadable{0, "more values than are looked at"});
  }
  return flattener.take();
}

}  // namespace sluice::allowlists::discover
