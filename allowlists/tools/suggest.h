// Makes the smallest policy that would have allowed what audit logs tell of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "allowlists/rule.h"
#include "allowlists/tools/audit_reader.h"
#include "allowlists/tools/suggest_seen.h"
#include "base/error.h"
#include "base/ip_address.h"
#include "base/reason.h"

namespace sluice::allowlists {

struct SuggestedRule {
  Rule rule;  // allow; exact, below, tree or cidr
  SeenTraffic traffic;
  std::vector<std::string> hosts;  // names that the wildcard stands for, or that lead to the range
};

struct SuggestedEntry {
  std::string pattern;              // an agent's name, or a glob
  std::vector<std::string> agents;  // whom the log shows of it
  std::vector<SuggestedRule> rules;
};

// What no rule was made of, because another word than a missing rule refused it.
struct NotSuggested {
  std::string agent;
  std::string spelling;  // of the host; its first 100 bytes, unescaped
  std::uint16_t port = 0;
  Reason reason = Reason::denied;
  std::optional<IpAddress> address;
  std::uint64_t count = 0;
};

// What looks like something else than work; no rule was made of it either.
struct SuggestDoubt {
  enum class Kind : std::uint8_t {
    data_in_names,  // many names below `host`, each asked for once or twice, that look random
    port_sweep,     // many ports of `host`
  };
  Kind kind = Kind::data_in_names;
  std::string agent;
  std::string host;
  std::uint64_t different = 0;  // names or ports
  std::uint64_t requests = 0;
};

struct Suggestion {
  std::vector<SuggestedEntry> entries;
  std::vector<NotSuggested> not_suggested;  // most decisions first
  std::uint64_t not_listed_here = 0;        // decisions beyond the 10,000 of not_suggested
  std::uint64_t reverse_lookups = 0;        // refused questions for names below arpa
  std::vector<SuggestDoubt> doubts;
  std::uint64_t decisions = 0;
};

// Memory grows with distinct (agent, host, port), not with decisions.
class Suggester {
 public:
  // A policy of that many still loads: it has less than 50 MB and 4,000,000 YAML nodes.
  static constexpr std::size_t default_cap = 250'000;

  explicit Suggester(std::size_t cap = default_cap) : cap_(cap) {}

  // Fails when more than `cap` distinct targets have been seen.
  Result<void> add(const AuditDecision& seen);
  Suggestion suggestion() const;

 private:
  void add_name(SeenAgent& agent, const AuditDecision& seen);
  void add_address(SeenAgent& agent, const IpAddress& address, const AuditDecision& seen);
  void add_port(SeenTarget& target, std::uint16_t port);
  void leave_out(SeenAgent& agent, const AuditDecision& seen);

  std::size_t cap_;
  std::size_t distinct_ = 0;
  std::map<std::string, SeenAgent> agents_;
  std::map<std::string, NotSuggested> left_out_;
  std::uint64_t left_out_beyond_ = 0;
  std::uint64_t reverse_lookups_ = 0;
  std::uint64_t decisions_ = 0;
};

// A policy that loads, with counts and all that needs a person's eye as comments.
std::string to_yaml(const Suggestion& suggestion);
// One object: version, agents[], not_suggested[], doubts[] and counts.
std::string to_json(const Suggestion& suggestion);

}  // namespace sluice::allowlists
