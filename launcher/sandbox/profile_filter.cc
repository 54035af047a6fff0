#include "launcher/sandbox/profile_filter.h"

#include <fmt/core.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>

#include "base/io.h"
#include "base/text.h"
#include "launcher/json/located_json.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_profile = std::size_t{1024} * 1024;
constexpr std::size_t most_named = 5;
constexpr std::size_t longest_name = 60;

std::uint32_t action_of(const CallAction& action) {
  using Kind = CallAction::Kind;
  switch (action.kind) {
    case Kind::allow:
      return SCMP_ACT_ALLOW;
    case Kind::log:
      return SCMP_ACT_LOG;
    case Kind::error:
      return SCMP_ACT_ERRNO(action.error_number);
    case Kind::trap:
      return SCMP_ACT_TRAP;
    case Kind::kill_thread:
      return SCMP_ACT_KILL_THREAD;
    case Kind::kill_process:
      break;
  }
  return SCMP_ACT_KILL_PROCESS;
}

scmp_compare compare_of(CallCondition::Compare compare) {
  using Compare = CallCondition::Compare;
  switch (compare) {
    case Compare::not_equal:
      return SCMP_CMP_NE;
    case Compare::less:
      return SCMP_CMP_LT;
    case Compare::less_equal:
      return SCMP_CMP_LE;
    case Compare::equal:
      return SCMP_CMP_EQ;
    case Compare::greater_equal:
      return SCMP_CMP_GE;
    case Compare::greater:
      return SCMP_CMP_GT;
    case Compare::masked_equal:
      break;
  }
  return SCMP_CMP_MASKED_EQ;
}

std::vector<scmp_arg_cmp> conditions_of(const CallRule& rule) {
  std::vector<scmp_arg_cmp> conditions;
  conditions.reserve(rule.conditions.size());
  for (const CallCondition& condition : rule.conditions) {
    conditions.push_back(
        {condition.index, compare_of(condition.compare), condition.value, condition.second});
  }
  return conditions;
}

class Compiler {
 public:
  explicit Compiler(scmp_filter_ctx context) : context_(context) {}

  Result<void> add(const CallRule& rule) {
    const std::vector<scmp_arg_cmp> conditions = conditions_of(rule);
    for (const std::string& name : rule.names) {
      const int number = name.find('\0') == std::string::npos
                             ? ::seccomp_syscall_resolve_name(name.c_str())
                             : __NR_SCMP_ERROR;
      if (number == __NR_SCMP_ERROR) unknown_.push_back(name);
      if (number < 0) continue;  // another architecture's
      if (auto fine = refuse_contradiction(rule, name, number); !fine) return fine;
      const int result =
          ::seccomp_rule_add_array(context_, action_of(rule.action), number,
                                   static_cast<unsigned>(conditions.size()), conditions.data());
      if (result != 0) return refuse(rule, name, -result);
    }
    return {};
  }

  std::vector<std::string> take_unknown() {
    std::sort(unknown_.begin(), unknown_.end());
    unknown_.erase(std::unique(unknown_.begin(), unknown_.end()), unknown_.end());
    return std::move(unknown_);
  }

 private:
  // libseccomp would choose one of them in silence.
  Result<void> refuse_contradiction(const CallRule& rule, const std::string& name, int number) {
    for (const CallRule* other : rules_[number]) {
      const bool overlap = rule.conditions.empty() || other->conditions.empty();
      if (!overlap || other->action == rule.action) continue;
      return fail_at(
          rule.where,
          fmt::format("this says something else about '{}' than line {}", name, other->where.line),
          "keep one of them, or give both conditions");
    }
    rules_[number].push_back(&rule);
    return {};
  }

  static Failure refuse(const CallRule& rule, const std::string& name, int error_number) {
    const std::string what = fmt::format("libseccomp takes no such rule for '{}'", name);
    Error error = errno_error(Errc::bad_config, what, error_number,
                              "does another entry say something else about the same calls?");
    error.where = rule.where;
    return Failure(std::move(error));
  }

  scmp_filter_ctx context_;
  std::map<int, std::vector<const CallRule*>> rules_;
  std::vector<std::string> unknown_;
};

// What is left for the launcher to do under the profile.
Result<void> require_last_steps(const FilterProgram& program) {
  struct Step {
    const char* name;
    int number;
    std::uint64_t first;  // argument
  };
  constexpr std::uint64_t pointer = 0x7fff00000000;
  constexpr std::uint64_t report = 3;
  for (const Step& step : {Step{"execve", SYS_execve, pointer}, Step{"write", SYS_write, report},
                           Step{"exit_group", SYS_exit_group, 125}}) {
    const std::uint32_t answer =
        run_filter(program, step.number, {step.first, pointer, pointer}) & SECCOMP_RET_ACTION_FULL;
    if (answer == SECCOMP_RET_ALLOW || answer == SECCOMP_RET_LOG) continue;
    return fail(Errc::bad_config,
                fmt::format("the seccomp profile refuses {}, and no command could start under it",
                            step.name),
                fmt::format("add an entry that allows {}", step.name));
  }
  return {};
}

}  // namespace

Result<ProfileFilter> compile_profile(const SeccompProfile& profile) {
  const std::unique_ptr<void, decltype(&::seccomp_release)> context(
      ::seccomp_init(action_of(profile.otherwise)), &::seccomp_release);
  if (!context) return fail(Errc::unavailable, "seccomp_init failed");
  Compiler compiler(context.get());
  for (const CallRule& rule : profile.rules) {
    // libseccomp refuses (EACCES) a rule that says what the default says.
    if (rule.action == profile.otherwise) continue;
    if (auto done = compiler.add(rule); !done) return Failure(done.error());
  }
  auto program = export_filter(context.get(), {"clone3", "openat2"});
  if (!program) return Failure(program.error());
  if (auto fine = require_last_steps(*program); !fine) return Failure(fine.error());
  return ProfileFilter{std::move(*program), compiler.take_unknown()};
}

Result<ProfileFilter> read_profile(const std::string& path) {
  const auto json = read_file(path, largest_profile);
  if (!json) return Failure(json.error());
  const auto profile = parse_seccomp_profile(*json, path, this_machine());
  if (!profile) return Failure(profile.error());
  return compile_profile(*profile);
}

std::string unknown_names_notice(const std::vector<std::string>& names) {
  if (names.empty()) return {};
  std::string text =
      fmt::format("the seccomp profile names {} system call{} not known here:", names.size(),
                  names.size() == 1 ? " that is" : "s that are");
  for (std::size_t i = 0; i < names.size() && i < most_named; ++i) {
    text += fmt::format("{} '{}'", i == 0 ? "" : ",",
                        text::printable(std::string_view(names[i]).substr(0, longest_name)));
  }
  if (names.size() > most_named) text += fmt::format(" and {} more", names.size() - most_named);
  return text;
}

}  // namespace sluice::launcher
