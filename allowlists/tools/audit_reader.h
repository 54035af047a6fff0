// Reads audit logs line by line into decisions, and counts what it cannot read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/host.h"
#include "base/error.h"
#include "base/ip_address.h"
#include "base/reason.h"

namespace sluice::allowlists {

// A decision as a line tells it. Texts are what an agent chose, unescaped.
struct AuditDecision {
  std::string agent;  // is_agent_name()
  // Where it wanted to go. Empty where the line has no canonical host, which happens only to what
  // no policy judges again; `spelling` is then all there is.
  std::optional<Host> host;
  std::string spelling;
  std::uint16_t port = 0;  // 0: a refused DNS question, or what no policy judges again
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::not_listed;
  std::optional<Reason> would_deny;
  std::string rule;                  // its first 256 bytes
  std::optional<IpAddress> address;  // that was dialled, or refused before it was
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  bool has_sni = false;

  // It reached its target, or would have if the network had delivered.
  bool passed() const noexcept { return verdict != Verdict::deny; }
};

// Whether a policy had the word in this outcome, and another policy may have another: not a form,
// not a limit, not who may use a listener.
bool is_policys_word(Verdict verdict, Reason reason) noexcept;

struct AuditCounts {
  std::uint64_t lines = 0;
  std::uint64_t decisions = 0;
  std::uint64_t other_agents = 0;    // decisions left out because of the one agent asked for
  std::uint64_t events = 0;          // lines that are no decisions
  std::uint64_t left_out = 0;        // lines that sluiced says it sampled away or lost
  std::uint64_t not_understood = 0;  // malformed, cut off, or longer than 64 KiB
  std::string first_not_understood;  // "audit.jsonl:17"
};

// An error ends the reading.
using AuditSink = std::function<Result<void>(const AuditDecision&)>;

inline constexpr std::size_t max_audit_line = std::size_t{64} * 1024;

// One line, without its newline.
class AuditLine {
 public:
  enum class Kind : std::uint8_t { decision, event, not_understood };

  AuditLine();
  ~AuditLine();
  AuditLine(const AuditLine&) = delete;
  AuditLine& operator=(const AuditLine&) = delete;

  Kind parse(std::string_view text);
  // After Kind::decision.
  const AuditDecision& decision() const noexcept { return decision_; }
  // After Kind::event: how many lines it says are missing.
  std::uint64_t left_out() const noexcept;

 private:
  class Fields;
  bool read_decision();
  bool read_target();
  std::unique_ptr<Fields> fields_;
  AuditDecision decision_;
};

// Reads logs one after the other; memory does not grow with them.
class AuditReader {
 public:
  // With `only_agent`, decisions of other agents are only counted.
  AuditReader(std::optional<std::string> only_agent, AuditSink sink);

  // A file, a pipe, or "-" for standard input. Fails when it cannot be opened or read, and as the
  // sink does; lines are never a failure.
  Result<void> read(const std::string& path);
  // The same for what is open already; `name` stands in first_not_understood.
  Result<void> read_open(int fd, const std::string& name);

  const AuditCounts& counts() const noexcept { return counts_; }

 private:
  Result<void> take(std::string_view line, const std::string& name, std::uint64_t number);
  void misunderstand(const std::string& name, std::uint64_t number);

  std::optional<std::string> only_agent_;
  AuditSink sink_;
  AuditCounts counts_;
  AuditLine line_;
};

// All of `paths`. Fails also when there were lines and none was understood, and when `only_agent`
// took no part in any decision.
Result<AuditCounts> read_audit(const std::vector<std::string>& paths,
                               const std::optional<std::string>& only_agent, const AuditSink& sink);

// What a person should know of the reading, a sentence each.
std::vector<std::string> notes_on(const AuditCounts& counts);

}  // namespace sluice::allowlists
