#include "netns/containers/oci_config.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/text.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

constexpr std::uint64_t af_vsock = 40;

// Nothing where the JSON has something else than an array.
Json list_at(const Json& json, const Json::json_pointer& where) {
  const Json found = json.value(where, Json::array());
  return found.is_array() ? found : Json::array();
}

bool has(const Json& list, std::string_view word) {
  return std::any_of(list.begin(), list.end(), [&](const Json& one) {
    return one.is_string() && one.get_ref<const std::string&>() == word;
  });
}

Result<void> require_own_network(const Json& config) {
  for (const Json& one : list_at(config, "/linux/namespaces"_json_pointer)) {
    if (one.is_object() && one.value("type", Json()) == "network") return {};
  }
  return fail(Errc::not_permitted, "the container has no network namespace of its own",
              "start it with --network none");
}

// A set-uid program, or being uid 0 at the next execve(2), brings back what the bounding set has.
std::optional<Finding> judge_capabilities(const Json& config) {
  const Json process = config.value("process", Json::object());
  if (!process.is_object() || !process.value("capabilities", Json()).is_object()) {
    return Finding{Weakness::net_admin, "config.json does not limit the container's capabilities"};
  }
  for (const char* const set : {"effective", "permitted", "ambient", "bounding"}) {
    const bool counts = std::string_view(set) != "bounding" ||
                        process.value("noNewPrivileges", Json(false)) != true;
    const Json::json_pointer where = "/capabilities"_json_pointer / std::string(set);
    if (counts && has(list_at(process, where), "CAP_NET_ADMIN")) {
      return Finding{Weakness::net_admin,
                     fmt::format("config.json gives the container CAP_NET_ADMIN ({})", set)};
    }
  }
  return std::nullopt;
}

bool is_refusal(const Json& action) {
  for (const char* const name : {"SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                                 "SCMP_ACT_KILL_THREAD", "SCMP_ACT_TRAP"}) {
    if (action == name) return true;
  }
  return false;
}

constexpr std::uint64_t low_half = 0xffffffff;

// Whether (argument & mask) == value holds for each argument whose low half is AF_VSOCK.
std::optional<bool> holds_masked(std::uint64_t mask, std::uint64_t value) {
  if ((af_vsock & mask & low_half) != (value & low_half)) return false;
  if (mask > low_half) return std::nullopt;
  return value <= low_half;
}

// Whether a condition holds for socket(AF_VSOCK, …); nothing when that cannot be known. The kernel
// looks at the low half of the argument alone, the condition at all of it: the upper half is the
// container's choice.
std::optional<bool> holds(const Json& condition, std::string_view call) {
  if (call != "socket" || !condition.is_object()) return std::nullopt;
  const Json index = condition.value("index", Json());
  const Json number = condition.value("value", Json());
  if (index != 0 || !number.is_number_unsigned()) return std::nullopt;
  const auto value = number.get<std::uint64_t>();
  const Json op = condition.value("op", Json());
  const std::optional<bool> depends;
  if (op == "SCMP_CMP_EQ") return (value & low_half) == af_vsock ? depends : false;
  if (op == "SCMP_CMP_NE") return (value & low_half) == af_vsock ? depends : true;
  if (op == "SCMP_CMP_LT") return value > af_vsock ? depends : false;
  if (op == "SCMP_CMP_LE") return value >= af_vsock ? depends : false;
  if (op == "SCMP_CMP_GT") return value < af_vsock ? std::optional(true) : depends;
  if (op == "SCMP_CMP_GE") return value <= af_vsock ? std::optional(true) : depends;
  const Json compared = condition.value("valueTwo", Json());
  if (op != "SCMP_CMP_MASKED_EQ" || !compared.is_number_unsigned()) return std::nullopt;
  return holds_masked(value, compared.get<std::uint64_t>());
}

struct Match {
  bool possible = true;
  bool certain = true;
};

// Runtimes make rules of their own of several conditions on one argument: any of them may hold.
Match match(const Json& rule, std::string_view call) {
  std::map<std::string, bool> possible_by_index;
  Match all;
  for (const Json& condition : list_at(rule, "/args"_json_pointer)) {
    const auto known = holds(condition, call);
    const Json index = condition.is_object() ? condition.value("index", Json()) : Json();
    possible_by_index[index.dump()] |= known.value_or(true);
    all.certain &= known.value_or(false);
  }
  for (const auto& [index, possible] : possible_by_index) all.possible &= possible;
  return all;
}

// libseccomp lets socketcall(2) of 32-bit programs through wherever it lets socket(2).
bool may_be_multiplexed(const Json& seccomp) {
  for (const Json& rule : list_at(seccomp, "/syscalls"_json_pointer)) {
    if (rule.is_object() && has(list_at(rule, "/names"_json_pointer), "socket") &&
        !is_refusal(rule.value("action", Json()))) {
      return true;
    }
  }
  return false;
}

bool refuses_call(const Json& seccomp, std::string_view call) {
  if (call == "socketcall" && may_be_multiplexed(seccomp)) return false;
  bool refused = is_refusal(seccomp.value("defaultAction", Json()));
  for (const Json& rule : list_at(seccomp, "/syscalls"_json_pointer)) {
    if (!rule.is_object() || !has(list_at(rule, "/names"_json_pointer), call)) continue;
    const Match matched = match(rule, call);
    const bool refusal = is_refusal(rule.value("action", Json()));
    if (!refusal && matched.possible) return false;
    if (refusal && matched.certain) refused = true;
  }
  return refused;
}

// "socketcall (32-bit)" is a way only where the filter admits such programs at all: libseccomp
// kills the others.
bool admits_architecture(const Json& seccomp, std::string_view way) {
  constexpr std::array<const char*, 4> narrow{"SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_ARM",
                                              "SCMP_ARCH_MIPS"};
  if (way.find('(') == std::string_view::npos) return true;
  const Json admitted = list_at(seccomp, "/architectures"_json_pointer);
  return std::any_of(narrow.begin(), narrow.end(),
                     [&](const char* one) { return has(admitted, one); });
}

std::optional<Finding> judge_vsock(const Json& config, const std::vector<VsockWay>& ways) {
  if (ways.empty()) return std::nullopt;
  const Json seccomp = config.value("/linux/seccomp"_json_pointer, Json());
  if (!seccomp.is_object()) {
    return Finding{Weakness::vsock,
                   "config.json has no seccomp filter, and this machine has AF_VSOCK"};
  }
  for (const VsockWay& way : ways) {
    const std::string_view call = way.name.substr(0, way.name.find(' '));
    if (!admits_architecture(seccomp, way.name) || refuses_call(seccomp, call)) continue;
    return Finding{
        Weakness::vsock,
        fmt::format("the seccomp filter of config.json lets '{}' open AF_VSOCK", way.name)};
  }
  return std::nullopt;
}

}  // namespace

Result<std::vector<Finding>> judge_oci_config(std::string_view config,
                                              const std::vector<VsockWay>& ways) {
  const Json json = Json::parse(config, nullptr, false);
  if (!json.is_object())
    return fail(Errc::bad_config, "the bundle's config.json is no JSON object");
  if (auto own = require_own_network(json); !own) return Failure(own.error());
  std::vector<Finding> findings;
  for (auto& finding : {judge_capabilities(json), judge_vsock(json, ways)}) {
    if (finding) findings.push_back(*finding);
  }
  return findings;
}

}  // namespace sluice::netns
