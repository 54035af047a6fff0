#include "launcher/top/rule_to_paste.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include "allowlists/policy_text.h"
#include "allowlists/tools/suggest.h"

namespace sluice::launcher {
namespace {

// Plain where every YAML reader takes it for this text.
std::string scalar(const std::string& subject) {
  const bool plain =
      subject.front() >= 'a' && subject.front() <= 'z' && subject.find('.') != std::string::npos;
  return plain ? subject : fmt::format("\"{}\"", subject);
}

}  // namespace

std::string rule_to_paste(const std::string& agent, std::string_view host, std::uint16_t port,
                          Reason reason) {
  auto canonical = allowlists::Host::parse(host);
  if (!canonical) return "";
  allowlists::AuditDecision seen;
  seen.agent = agent;
  seen.host = std::move(*canonical);
  seen.spelling = host;
  seen.port = port;
  seen.verdict = Verdict::deny;
  seen.reason = reason;
  allowlists::Suggester suggester;
  if (!suggester.add(seen)) return "";
  const allowlists::Suggestion suggestion = suggester.suggestion();
  if (suggestion.entries.empty() || suggestion.entries.front().rules.empty()) return "";
  const allowlists::Rule& rule = suggestion.entries.front().rules.front().rule;
  const std::string ports =
      rule.ports.empty() ? "" : fmt::format(", ports: [{}]", fmt::join(rule.ports, ", "));
  return fmt::format("- {{{}: {}{}}}", rule.scope == allowlists::Scope::cidr ? "cidr" : "host",
                     scalar(subject_of(rule)), ports);
}

}  // namespace sluice::launcher
