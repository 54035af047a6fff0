#include "launcher/plan/seccomp_profile.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <utility>

#include "base/text.h"
#include "launcher/json/json_reader.h"

namespace sluice::launcher {
namespace {

using Kind = JsonValue::Kind;
using Compare = CallCondition::Compare;

constexpr std::uint64_t largest_errno = 4094;  // libseccomp takes no larger one
constexpr std::uint64_t arguments = 6;

constexpr std::array<std::pair<std::string_view, CallAction::Kind>, 7> actions{
    {{"SCMP_ACT_ALLOW", CallAction::Kind::allow},
     {"SCMP_ACT_ERRNO", CallAction::Kind::error},
     {"SCMP_ACT_LOG", CallAction::Kind::log},
     {"SCMP_ACT_TRAP", CallAction::Kind::trap},
     {"SCMP_ACT_KILL", CallAction::Kind::kill_thread},
     {"SCMP_ACT_KILL_THREAD", CallAction::Kind::kill_thread},
     {"SCMP_ACT_KILL_PROCESS", CallAction::Kind::kill_process}}};

constexpr std::array<std::pair<std::string_view, Compare>, 7> comparisons{
    {{"SCMP_CMP_NE", Compare::not_equal},
     {"SCMP_CMP_LT", Compare::less},
     {"SCMP_CMP_LE", Compare::less_equal},
     {"SCMP_CMP_EQ", Compare::equal},
     {"SCMP_CMP_GE", Compare::greater_equal},
     {"SCMP_CMP_GT", Compare::greater},
     {"SCMP_CMP_MASKED_EQ", Compare::masked_equal}}};

constexpr std::array<std::string_view, 22> architectures{
    "SCMP_ARCH_X86",     "SCMP_ARCH_X86_64",   "SCMP_ARCH_X32",         "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",     "SCMP_ARCH_MIPS64",      "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",   "SCMP_ARCH_PPC64LE",  "SCMP_ARCH_S390",        "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",  "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",     "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",    "SCMP_ARCH_SH"};

std::string quoted(std::string_view said) { return fmt::format("'{}'", text::printable(said)); }

class Reader : private JsonReader {
 public:
  explicit Reader(const ProfileMachine& machine) : machine_(machine) {}

  Result<SeccompProfile> read(const JsonValue& root) {
    SeccompProfile profile;
    if (is(root, Kind::object, "the profile is an object")) read_profile(root, profile);
    if (error()) return Failure(*error());
    return profile;
  }

 private:
  void read_profile(const JsonValue& root, SeccompProfile& profile) {
    know(root, {"defaultAction", "defaultErrnoRet", "archMap", "architectures", "syscalls", "flags",
                "listenerPath", "listenerMetadata"});
    refuse_others_work(root);
    profile.otherwise = read_action(root, "defaultAction", "defaultErrnoRet");
    read_architectures(root);
    if (const JsonValue* calls = list(root, "syscalls")) {
      for (const JsonValue& call : calls->items) read_rule(call, profile);
    }
  }

  void refuse_others_work(const JsonValue& root) {
    for (const char* key : {"flags", "listenerPath", "listenerMetadata"}) {
      const JsonValue* const value = root.find(key);
      if (value == nullptr) continue;
      refuse(value->where, fmt::format("key '{}' is not obeyed here", key),
             "sluice loads the profile itself and answers no notifications: leave the key out");
    }
  }

  CallAction read_action(const JsonValue& object, const char* key, const char* error_key) {
    CallAction action;
    const JsonValue* const value = required_text(object, key);
    if (value == nullptr) return action;
    if (value->text == "SCMP_ACT_NOTIFY" || value->text == "SCMP_ACT_TRACE") {
      refuse(value->where, fmt::format("nobody is there to answer {}", value->text),
             "choose SCMP_ACT_ERRNO, SCMP_ACT_LOG or SCMP_ACT_ALLOW");
      return action;
    }
    action.kind = choose(*value, actions, "an action");
    if (action.kind == CallAction::Kind::error) action.error_number = EPERM;
    const JsonValue* const error = object.find(error_key);
    if (error == nullptr) return action;
    if (action.kind != CallAction::Kind::error) {
      refuse(error->where, fmt::format("key '{}' goes with SCMP_ACT_ERRNO only", error_key),
             "leave it out");
    }
    action.error_number =
        static_cast<std::uint16_t>(number(object, error_key, largest_errno).value_or(EPERM));
    return action;
  }

  // Whatever is listed, other architectures' calls answer ENOSYS.
  void read_architectures(const JsonValue& root) {
    const JsonValue* const map = list(root, "archMap");
    const JsonValue* const plain = list(root, "architectures");
    if (map != nullptr && plain != nullptr) {
      refuse(plain->where, "'architectures' and 'archMap' are both given", "keep one of them");
    }
    if (plain != nullptr) check_architectures(*plain);
    if (map == nullptr) return;
    for (const JsonValue& entry : map->items) {
      if (!is(entry, Kind::object, "an entry of 'archMap' is an object")) return;
      know(entry, {"architecture", "subArchitectures"});
      if (const JsonValue* one = required_text(entry, "architecture")) check_architecture(*one);
      if (const JsonValue* more = list(entry, "subArchitectures")) check_architectures(*more);
    }
  }

  void check_architectures(const JsonValue& names) {
    for (const JsonValue& name : names.items) {
      if (is(name, Kind::text, "an architecture is a text")) check_architecture(name);
    }
  }

  void check_architecture(const JsonValue& name) {
    if (std::find(architectures.begin(), architectures.end(), name.text) != architectures.end())
      return;
    refuse_unknown(name, "an architecture", text::nearest(name.text, architectures));
  }

  void read_rule(const JsonValue& call, SeccompProfile& profile) {
    if (!is(call, Kind::object, "an entry of 'syscalls' is an object")) return;
    know(call, {"names", "action", "errnoRet", "args", "comment", "includes", "excludes"});
    CallRule rule;
    rule.where = call.where;
    rule.names = texts(required_list(call, "names"));
    if (const JsonValue* names = call.find("names"); names != nullptr && rule.names.empty())
      refuse(names->where, "'names' is empty", "name the system calls of the entry");
    rule.action = read_action(call, "action", "errnoRet");
    read_conditions(call, rule);
    if (const JsonValue* comment = call.find("comment"))
      (void)is(*comment, Kind::text, "a comment is a text");
    // Both are read, so that both are checked.
    const bool included = read_filter(call, "includes", Side::includes);
    const bool excluded = read_filter(call, "excludes", Side::excludes);
    if (included && !excluded) profile.rules.push_back(std::move(rule));
  }

  void read_conditions(const JsonValue& call, CallRule& rule) {
    const JsonValue* const args = list(call, "args");
    if (args == nullptr) return;
    for (const JsonValue& arg : args->items) {
      if (!is(arg, Kind::object, "a condition of 'args' is an object")) return;
      know(arg, {"index", "value", "valueTwo", "op"});
      CallCondition condition;
      condition.index =
          static_cast<unsigned>(required_number(arg, "index", arguments - 1).value_or(0));
      condition.value = required_number(arg, "value", UINT64_MAX).value_or(0);
      condition.second = number(arg, "valueTwo", UINT64_MAX).value_or(0);
      if (const JsonValue* op = required_text(arg, "op"))
        condition.compare = choose(*op, comparisons, "a comparison");
      for (const CallCondition& other : rule.conditions) {
        if (other.index != condition.index) continue;
        refuse(arg.where, fmt::format("argument {} is compared twice in one entry", other.index),
               "libseccomp cannot hold both: write an entry for each, which then hold singly");
      }
      rule.conditions.push_back(condition);
    }
  }

  enum class Side : std::uint8_t { includes, excludes };

  // includes: whether all of it holds. excludes: whether any of it does.
  bool read_filter(const JsonValue& call, const char* key, Side side) {
    const bool all = side == Side::includes;
    const JsonValue* const filter = call.find(key);
    if (filter == nullptr || !is(*filter, Kind::object, "a filter of entries is an object"))
      return all;
    know(*filter, {"caps", "arches", "minKernel"});
    std::vector<bool> answers;
    const std::vector<std::string> caps = texts(list(*filter, "caps"));
    for (const std::string& cap : caps) check_capability(*filter->find("caps"), cap);
    if (!caps.empty()) answers.push_back(false);
    const std::vector<std::string> arches = texts(list(*filter, "arches"));
    if (!arches.empty()) {
      answers.push_back(std::find(arches.begin(), arches.end(), machine_.architecture) !=
                        arches.end());
    }
    if (filter->find("minKernel") != nullptr) answers.push_back(has_kernel(*filter));
    if (all) return std::find(answers.begin(), answers.end(), false) == answers.end();
    return std::find(answers.begin(), answers.end(), true) != answers.end();
  }

  void check_capability(const JsonValue& caps, const std::string& name) {
    if (name.starts_with("CAP_")) return;
    refuse(caps.where, fmt::format("{} is not a capability", quoted(name)),
           "their names begin with CAP_");
  }

  bool has_kernel(const JsonValue& filter) {
    const JsonValue* const value = required_text(filter, "minKernel");
    if (value == nullptr) return false;
    unsigned major = 0;
    unsigned minor = 0;
    const char* const end = value->text.data() + value->text.size();
    const auto first = std::from_chars(value->text.data(), end, major);
    const bool dot = first.ec == std::errc{} && first.ptr != end && *first.ptr == '.';
    const auto second = dot ? std::from_chars(first.ptr + 1, end, minor) : first;
    if (!dot || second.ec != std::errc{} || second.ptr != end) {
      refuse(value->where, fmt::format("{} is not a kernel's version", quoted(value->text)),
             "write two numbers: \"4.8\"");
    }
    return std::pair(machine_.major, machine_.minor) >= std::pair(major, minor);
  }

  const ProfileMachine& machine_;
};

}  // namespace

ProfileMachine this_machine() {
  ProfileMachine machine;
#ifdef __aarch64__
  machine.architecture = "arm64";
#else
  machine.architecture = "amd64";
#endif
  utsname name{};
  if (::uname(&name) != 0) return machine;
  const std::string_view release = name.release;
  const char* const end = release.data() + release.size();
  const auto first = std::from_chars(release.data(), end, machine.major);
  if (first.ptr != end) std::from_chars(first.ptr + 1, end, machine.minor);
  return machine;
}

Result<SeccompProfile> parse_seccomp_profile(std::string_view json, const std::string& file,
                                             const ProfileMachine& machine) {
  const auto root = parse_located_json(json, file);
  if (!root) return Failure(root.error());
  return Reader(machine).read(*root);
}

}  // namespace sluice::launcher
