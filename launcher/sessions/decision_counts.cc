#include "launcher/sessions/decision_counts.h"

#include <algorithm>
#include <charconv>
#include <map>

#include "launcher/sessions/admin_client.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/top/sample.h"

namespace sluice::launcher {
namespace {

constexpr std::string_view decisions = "sluice_decisions_total{";
constexpr std::string_view questions = "sluice_dns_queries_total{";

// The value behind the last space; counters are whole.
std::uint64_t value_of(std::string_view line) {
  std::uint64_t value = 0;
  const std::string_view text = line.substr(line.rfind(' ') + 1);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

AdminQuestion question_for(const std::string& directory, const RunStatus& run) {
  if (!run.shared.empty()) return {admin_socket_beside(run.shared), "/api/v1/agents"};
  return {run_socket_path(directory, run.agent, admin_suffix), "/metrics"};
}

// From the page that question_for() asks for.
std::optional<DecisionCounts> counts_of(const RunStatus& run, std::string_view page) {
  if (run.shared.empty()) return count_decisions(page);
  Sample sample;
  if (!add_agents(sample, page)) return std::nullopt;
  const auto found = std::ranges::find(sample.agents, run.agent, &TopAgent::name);
  if (found == sample.agents.end()) return std::nullopt;
  // As sluice_decisions_total tells them: a failure was allowed before it failed.
  return DecisionCounts{found->allowed + found->failed, found->reported,
                        found->denied + found->dns_refused};
}

}  // namespace

DecisionCounts count_decisions(std::string_view exposition) {
  DecisionCounts counts;
  while (!exposition.empty()) {
    const std::string_view line = exposition.substr(0, exposition.find('\n'));
    exposition.remove_prefix(std::min(line.size() + 1, exposition.size()));
    const auto has = [&](std::string_view label) { return line.find(label) != line.npos; };
    if (line.starts_with(questions) && has("outcome=\"refused\"")) counts.blocked += value_of(line);
    if (!line.starts_with(decisions)) continue;
    if (has("verdict=\"allow\"")) counts.allowed += value_of(line);
    if (has("verdict=\"report\"")) counts.reported += value_of(line);
    if (has("verdict=\"deny\"")) counts.blocked += value_of(line);
  }
  return counts;
}

AskedDecisions ask_decisions(const std::string& directory, const std::vector<RunStatus>& runs) {
  std::vector<AdminQuestion> questions;
  std::map<std::string, std::size_t> numbers;  // of a question, by path: a shared one is asked once
  std::vector<std::size_t> of_run;
  for (const RunStatus& run : runs) {
    AdminQuestion question = question_for(directory, run);
    const auto [known, is_new] = numbers.try_emplace(question.path, questions.size());
    if (is_new) questions.push_back(std::move(question));
    of_run.push_back(known->second);
  }
  const auto pages = ask_admins(questions);
  AskedDecisions asked;
  for (const auto& page : pages) {
    if (!page && page.error().code == Errc::unavailable) asked.silent.push_back(page.error());
  }
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto& page = pages[of_run[i]];
    asked.counts.push_back(page && *page ? counts_of(runs[i], **page) : std::nullopt);
  }
  return asked;
}

}  // namespace sluice::launcher
