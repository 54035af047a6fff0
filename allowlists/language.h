// The words of the policy language that act, one table a mapping: what the loader knows and what
// the schema says.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sluice::allowlists {

inline constexpr int policy_version = 1;

inline constexpr std::array<std::string_view, 2> mode_values = {"enforce", "report"};
inline constexpr std::array<std::string_view, 3> tls_values = {"require", "match", "off"};
inline constexpr std::array<std::string_view, 2> ech_values = {"deny", "allow"};

// What `use:` lists.
inline constexpr std::string_view preset_prefix = "preset:";
inline constexpr std::string_view group_prefix = "group:";

// What may stand behind a key.
enum class Form : std::uint8_t {
  version,
  deny_rules,
  allow_rules,
  groups,  // a mapping of names to lists of allow rules
  agents,  // a mapping of agent patterns to entries
  mode,
  uses,
  limits,   // a mapping of limit_words
  sandbox,  // a mapping of sandbox_words
  host,
  regex,
  range,
  yes,     // true and nothing else
  yes_no,  // true or false
  ports,
  tls,
  ech,
  text,
  count,
  pids,    // a count that some processes can live with
  rate,    // 50/s
  budget,  // 1GiB/day
  speed,   // 20MiB/s
  size,    // 2GiB
  swap,    // a size, or 0
  weight,  // a count up to largest_io_weight
  share,   // 1.5
  span,    // 30m
  caps,    // a mapping of paths to sizes
  seeds,   // a list of paths, each with a size or without
  paths,
  paths_of_workspace,
};

// Where a key may stand.
enum class Role : std::uint8_t {
  anywhere,
  subject,      // a rule has exactly one of these
  beside_host,  // only together with `host`
  under_allow,  // only in an allow rule
};

struct Word {
  std::string_view key;
  Form form;
  std::string_view meaning;  // one sentence, for whoever edits a policy
  Role role = Role::anywhere;
};

inline constexpr std::array root_words = {
    Word{"version", Form::version, "The version of the policy language."},
    Word{"never", Form::deny_rules,
         "What no agent may reach, whatever an allow rule or report mode says."},
    Word{"groups", Form::groups, "Lists of allow rules by name, for the 'use' of agents."},
    Word{"agents", Form::agents,
         "What each agent may reach. An exact name is asked first, then the pattern with the "
         "longest literal beginning; entries replace each other, they never merge."},
};

inline constexpr std::array agent_words = {
    Word{"mode", Form::mode,
         "enforce, or report: what no rule lists passes, and is logged and counted as what "
         "enforce would have blocked."},
    Word{"use", Form::uses, "Presets and groups whose rules the agent has too."},
    Word{"allow", Form::allow_rules,
         "What the agent may reach. The most specific rule that matches decides; the order of "
         "rules means nothing."},
    Word{"deny", Form::deny_rules,
         "What the agent may not reach. Beside an equally specific allow rule, deny wins."},
    Word{"limits", Form::limits, "How much the agent may use of what it may reach."},
    Word{"sandbox", Form::sandbox,
         "How 'sluice run' makes the agent's sandbox; its options may tighten this, never loosen."},
};

inline constexpr std::array sandbox_words = {
    Word{"memory", Form::size, "How much memory all of the agent's processes may have: 2GiB."},
    Word{"swap", Form::swap,
         "How much swap they may have beside 'memory', which is then there as well: 1GiB. None "
         "where it is left out."},
    Word{"cpus", Form::share, "How many processors' time they may use: 1.5."},
    Word{"io_weight", Form::weight,
         "Their share of a busy disk, from 1 to 10000; whoever says nothing has 100."},
    Word{"pids", Form::pids, "How many processes and threads there may be at once."},
    Word{"timeout", Form::span, "How long a run may last: 30m."},
    Word{"tmpfs", Form::caps,
         "Empty writable directories of the sandbox, and the most that each may hold: "
         "{/tmp: 100MiB}."},
    Word{"seed", Form::seeds,
         "Directories that are writable copies of what the root has there: [/etc/tool, "
         "/opt/tool:64MiB]."},
    Word{"mask", Form::paths, "What is hidden besides: [~/.netrc]."},
    Word{"protect", Form::paths_of_workspace,
         "What is read-only in the workspace besides, and is not made where it is missing: "
         "[.tool/hooks]."},
    Word{"require_landlock", Form::yes_no,
         "Whether a run ends where the kernel has no Landlock to fence the agent's files with."},
};

inline constexpr std::array limit_words = {
    Word{"connections", Form::count, "How many connections the agent may have open at once."},
    Word{"connects", Form::rate,
         "How many connections it may begin, all at once or one after the other: 50/s, 600/m, "
         "1000/h."},
    Word{"upload", Form::budget,
         "How much it may send in each minute, hour or day of UTC: 1GiB/day."},
    Word{"download", Form::budget,
         "How much it may receive in each minute, hour or day of UTC: 20GiB/day."},
    Word{"bandwidth", Form::speed, "How fast it may send, and how fast receive: 20MiB/s."},
};

inline constexpr std::array rule_words = {
    Word{"host", Form::host,
         "A name: example.com (exactly this), \"*.example.com\" (all below it) or "
         "\".example.com\" (both).",
         Role::subject},
    Word{"host_regex", Form::regex,
         "A regular expression (RE2) for the whole name; letter case does not count.",
         Role::subject},
    Word{"cidr", Form::range,
         "A range of addresses: for literal addresses, and for private ones that allowed names "
         "resolve to.",
         Role::subject},
    Word{"any", Form::yes, "Every host there is, when no more specific rule matches.",
         Role::subject},
    Word{"ports", Form::ports,
         "TCP ports. Without it an allow rule means 80 and 443, a deny rule every port."},
    Word{"tls", Form::tls,
         "What the bytes must be. require (default on port 443): TLS that names the host; match "
         "(default elsewhere): if it is TLS, it names the host; \"off\" in quotes: not looked at.",
         Role::under_allow},
    Word{"ech", Form::ech, "Whether TLS may carry the Encrypted ClientHello extension.",
         Role::under_allow},
    Word{"why", Form::text, "Why the rule is there, for whoever reads it next."},
    Word{"public_suffix", Form::yes_no,
         "Says that a wildcard over a public suffix (\"*.github.io\") is meant.",
         Role::beside_host},
};

// The keys of a table, in its order: for Reporter::fields().
template <std::size_t count>
constexpr std::array<std::string_view, count> keys_of(const std::array<Word, count>& words) {
  std::array<std::string_view, count> keys;
  for (std::size_t i = 0; i < count; ++i) keys[i] = words[i].key;
  return keys;
}

}  // namespace sluice::allowlists
