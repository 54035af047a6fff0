#include "allowlists/tools/schema.h"

#include <fmt/core.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <vector>

#include "allowlists/language.h"
#include "allowlists/preset.h"
#include "allowlists/regex_index.h"
#include "allowlists/rule.h"
#include "allowlists/sandbox.h"

namespace sluice::allowlists {
namespace {

using Json = nlohmann::ordered_json;

// As is_agent_name() and is_agent_glob().
constexpr std::string_view name_pattern = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}";
constexpr std::string_view glob_pattern = "(?=.*[*])[A-Za-z0-9*][A-Za-z0-9._*-]{0,125}";

// As Host::parse(): an international label is never shorter as an A-label, so the limits of RFC
// 1035 2.3.4 hold for either spelling. A last label that is a number makes it an address.
std::string host_pattern() {
  constexpr std::string_view label = "(?:[A-Za-z0-9_-]|[^\\x00-\\x7F\\u3002\\uFF0E\\uFF61]){1,63}";
  return fmt::format(
      "^(?:[*][.]|[.])?(?=.{{1,253}}[.]?$)(?:{0}[.])*"
      "(?!(?:[0-9]+|0[xX][0-9A-Fa-f]*)[.]?$){0}[.]?$",
      label);
}

// As Cidr::parse(), but for the bits behind the length and the number of IPv6 groups beside "::".
std::string range_pattern() {
  constexpr std::string_view octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  constexpr std::string_view group = "[0-9A-Fa-f]{1,4}";
  const std::string v4 = fmt::format("{0}(?:[.]{0}){{3}}", octet);
  const std::string whole_v6 = fmt::format("(?:{0}:){{6}}(?:{0}:{0}|{1})", group, v4);
  const std::string short_v6 = fmt::format(
      "(?=.*::)(?!.*::.*::)(?!.*:::)(?!:[^:])(?!.*[^:]:(?:/|$))(?:(?:{0})?:){{2,8}}(?:{0}|{1})?",
      group, v4);
  return fmt::format(
      "^(?:{}(?:/(?:3[0-2]|[12]?[0-9]))?|(?:{}|{})(?:/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$", v4,
      whole_v6, short_v6);
}

Json text_like(const std::string& pattern) { return {{"type", "string"}, {"pattern", pattern}}; }

Json uses_schema() {
  Json names = Json::array();
  for (const Preset& preset : presets()) {
    names.push_back(fmt::format("{}{}", preset_prefix, preset.name));
  }
  const Json group = text_like(fmt::format("^{}{}$", group_prefix, name_pattern));
  return {{"type", "array"},
          {"uniqueItems", true},
          {"items", {{"anyOf", {{{"enum", std::move(names)}}, group}}}}};
}

Json mapping_of_names(const std::string& pattern, Json value) {
  return {{"type", "object"},
          {"patternProperties", {{pattern, std::move(value)}}},
          {"additionalProperties", false}};
}

Json reference(std::string_view definition) {
  return {{"$ref", fmt::format("#/definitions/{}", definition)}};
}

Json list_of(std::string_view definition) {
  return {{"type", "array"}, {"items", reference(definition)}};
}

Json ports_schema() {
  return {{"type", "array"},
          {"minItems", 1},
          {"items", {{"type", "integer"}, {"minimum", 1}, {"maximum", 65535}}}};
}

Json count_schema(std::uint32_t fewest, std::uint32_t most) {
  return {{"type", "integer"}, {"minimum", fewest}, {"maximum", most}};
}

// An amount that read_limits() knows, but for how little and how much it may be.
Json amount_schema(std::string_view per) {
  return text_like(fmt::format("^[0-9]+(?:B|[KMGT](?:iB)?)?/(?:{})$", per));
}

Json size_schema() { return text_like("^[0-9]+(?:B|[KMGT](?:iB)?)$"); }

// As thousandths(), but for more than three decimals of a number.
Json share_schema() {
  const Json number = {
      {"type", "number"}, {"minimum", smallest_cpu_thousandths / 1000.0}, {"maximum", 8192}};
  return {{"anyOf", {number, text_like("^[0-9]{1,4}(?:[.][0-9]{1,3})?$")}}};
}

// Absolute or below ~/, no component empty, "." or "..".
constexpr std::string_view plain_path = "~?(?:/(?![.]{1,2}(?:/|$))[^/\\x00]+)+";
// As is_path_of_workspace(), but for its length.
constexpr std::string_view workspace_path =
    "(?!~)(?![.]{1,2}(?:/|$))[^/\\x00]+(?:/(?![.]{1,2}(?:/|$))[^/\\x00]+)*";
// A colon begins its size.
constexpr std::string_view seeded_path =
    "~?(?:/(?![.]{1,2}(?:[/:]|$))[^/:\\x00]+)+(?::[0-9]+(?:B|[KMGT](?:iB)?))?";

Json paths_schema(std::string_view pattern) {
  return {{"type", "array"}, {"items", text_like(fmt::format("^{}$", pattern))}};
}

// An unquoted word may be a number or a boolean to a reader of YAML.
Json workspace_paths_schema() {
  Json paths = paths_schema(workspace_path);
  paths["items"]["type"] = Json::array({"string", "number", "boolean"});
  return paths;
}

Json mapping_of(std::string_view title, std::span<const Word> words);

// For the forms that are one word.
Json scalar_schema(Form form) {
  switch (form) {
    case Form::version:
      return {{"type", "integer"}, {"const", policy_version}};
    case Form::mode:
      return {{"enum", mode_values}};
    case Form::host:
      return text_like(host_pattern());
    case Form::regex:
      return {{"type", "string"}, {"pattern", "^[ -~]+$"}, {"maxLength", longest_regex}};
    case Form::range:
      return text_like(range_pattern());
    case Form::yes:
      return {{"const", true}};
    case Form::yes_no:
      return {{"type", "boolean"}};
    case Form::tls:
      return {{"enum", tls_values}};
    case Form::ech:
      return {{"enum", ech_values}};
    case Form::count:
      return count_schema(1, std::numeric_limits<std::uint32_t>::max());
    case Form::pids:
      return count_schema(fewest_pids, most_pids);
    case Form::rate:
      return text_like("^[1-9][0-9]{0,9}/[smh]$");
    case Form::budget:
      return amount_schema("minute|hour|day");
    case Form::speed:
      return amount_schema("s");
    case Form::size:
      return size_schema();
    case Form::swap:
      return {{"anyOf", {Json{{"const", 0}}, text_like("^0$"), size_schema()}}};
    case Form::weight:
      return count_schema(1, largest_io_weight);
    case Form::share:
      return share_schema();
    case Form::span:
      return text_like("^[0-9]+(?:ms|s|m|h|d)$");
    default:  // Form::text: whatever YAML makes of an unquoted word
      return {{"type", Json::array({"string", "number", "boolean"})}};
  }
}

Json form_schema(Form form) {
  switch (form) {
    case Form::deny_rules:
      return list_of("deny_rule");
    case Form::allow_rules:
      return list_of("allow_rule");
    case Form::groups:
      return mapping_of_names(fmt::format("^{}$", name_pattern), list_of("allow_rule"));
    case Form::agents:
      return mapping_of_names(fmt::format("^(?:{}|{})$", name_pattern, glob_pattern),
                              reference("agent"));
    case Form::uses:
      return uses_schema();
    case Form::ports:
      return ports_schema();
    case Form::limits:
      return mapping_of("Limits", limit_words);
    case Form::sandbox: {
      Json sandbox = mapping_of("Sandbox", sandbox_words);
      sandbox["dependencies"] = {{"swap", Json::array({"memory"})}};
      return sandbox;
    }
    case Form::caps:
      return mapping_of_names(fmt::format("^{}$", plain_path), size_schema());
    case Form::seeds:
      return paths_schema(seeded_path);
    case Form::paths_of_workspace:
      return workspace_paths_schema();
    case Form::paths:
      return paths_schema(plain_path);
    default:
      return scalar_schema(form);
  }
}

// The keys of `words` and no others.
Json mapping_of(std::string_view title, std::span<const Word> words) {
  Json properties = Json::object();
  for (const Word& word : words) {
    Json& property = properties[std::string(word.key)];
    property["description"] = word.meaning;
    property.update(form_schema(word.form));
  }
  return {{"title", title},
          {"type", "object"},
          {"properties", std::move(properties)},
          {"additionalProperties", false}};
}

Json rule_schema(std::string_view title, Effect effect) {
  std::vector<Word> words;
  Json subjects = Json::array();
  Json dependencies = Json::object();
  for (const Word& word : rule_words) {
    if (effect == Effect::allow || word.role != Role::under_allow) words.push_back(word);
    if (word.role == Role::subject) subjects.push_back({{"required", Json::array({word.key})}});
    if (word.role == Role::beside_host) dependencies[std::string(word.key)] = Json::array({"host"});
  }
  Json rule = mapping_of(title, words);
  rule["oneOf"] = std::move(subjects);
  rule["dependencies"] = std::move(dependencies);
  if (effect == Effect::allow) {  // `ech: deny` needs the bytes that `tls: "off"` does not look at
    rule["not"] = {{"required", Json::array({"tls", "ech"})},
                   {"properties", {{"tls", {{"const", "off"}}}, {"ech", {{"const", "deny"}}}}}};
  }
  return rule;
}

}  // namespace

std::string policy_schema() {
  Json schema = {{"$schema", "http://json-schema.org/draft-07/schema#"}};
  schema.update(mapping_of("sluice policy", root_words));
  schema["required"] = Json::array({"version"});
  schema["definitions"] = {{"agent", mapping_of("What one agent may do", agent_words)},
                           {"allow_rule", rule_schema("Allow rule", Effect::allow)},
                           {"deny_rule", rule_schema("Deny rule", Effect::deny)}};
  return schema.dump(2) + '\n';
}

}  // namespace sluice::allowlists
