// What a change of policy opens and closes, agent by agent, computed from the rules by partition.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/policy_text.h"
#include "allowlists/tools/diff_ports.h"

namespace sluice::allowlists {

enum class DiffChange : std::uint8_t {
  // Newly reachable, or reachable as before but with less asked of the bytes: tls from require to
  // match to off, or `ech: deny` gone.
  opens,
  closes,   // newly refused
  changes,  // reachable as before, but allowed instead of reported, reported, or with more asked
};

enum class DiffKind : std::uint8_t {
  host,               // exactly this name
  below,              // "*.example.com": the names below it, apart from `except`
  any_other_name,     // the names that no exact, suffix or regex rule of either policy names
  regex,              // names that a regex matches and no exact rule names: by rule, not exact
  any_other_address,  // public addresses that no cidr rule of either policy covers
  range,              // these addresses
};

// How an address of a range is arrived at.
enum class DiffVia : std::uint8_t {
  either,
  literal,   // asked for as an address
  resolved,  // a name that the rules allow resolves to it
};

struct DiffAnswer {
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::not_listed;
  // These two are told only where they are the difference; else they are as they begin.
  TlsMode tls = TlsMode::require;
  bool refuse_ech = false;
  std::string rule = "default";

  friend auto operator<=>(const DiffAnswer&, const DiffAnswer&) = default;
};

struct DiffStatement {
  DiffChange change = DiffChange::opens;
  DiffKind kind = DiffKind::host;
  std::string subject;              // "api.example.com", "10.0.0.0/8", "192.0.2.1-192.0.2.9"
  std::vector<std::string> except;  // for below: names and "*.name" that have rules of their own
  DiffVia via = DiffVia::either;
  Ports ports;
  DiffAnswer before;
  DiffAnswer after;

  friend auto operator<=>(const DiffStatement&, const DiffStatement&) = default;
};

// A line of `limits:` or `sandbox:` that is not as it was. Opens: the agent may use more, write to
// more, or is shown more.
struct DiffSetting {
  DiffChange change = DiffChange::opens;
  std::string key;      // "limits.upload"
  std::string subject;  // the path where the key has a list of them; else empty
  std::string before;   // "1GiB/day"; empty: not set
  std::string after;

  friend auto operator<=>(const DiffSetting&, const DiffSetting&) = default;
};

// Agents that the same pair of entries answers for.
struct DiffAgents {
  std::string name;                 // an exact name, or the pattern of their entry
  std::optional<std::string> from;  // the pattern of their old entry; nothing where there is none
  std::optional<std::string> to;
  std::string example;   // a name among them; empty where the search for one was given up
  std::string headline;  // what stands above their statements
};

struct AgentDiff {
  std::vector<DiffAgents> agents;         // for all of whom the statements hold
  std::vector<DiffStatement> statements;  // what opens first
  std::vector<DiffSetting> settings;      // what opens first; not both are empty
};

struct PolicyDiff {
  std::vector<AgentDiff> agents;
  std::vector<std::string> notes;  // what is not told, or told with less than certainty

  bool opens() const noexcept;
};

// Of all agents, or of one. Names, suffixes, ports and ranges are exact: a target is newly
// reachable if and only if a statement says so. Names that a regex matches are told by rule, and
// rather too much than too little. Settings are told where both policies have an entry: without one
// an agent reaches nothing.
PolicyDiff diff(const PolicyText& before, const PolicyText& after,
                const std::optional<std::string>& agent);

// "nothing changes", or a headline for each group of agents and a line for each statement.
std::string diff_text(const PolicyDiff& difference);
// One JSON object (RFC 8259): agent, entry, example, change, kind, subject, except, via, ports,
// old, new.
std::string diff_json(const DiffAgents& agents, const DiffStatement& statement);
// The same of a setting: kind is "setting", `setting` its key, old and new are texts or null.
std::string diff_json(const DiffAgents& agents, const DiffSetting& setting);

}  // namespace sluice::allowlists
