#include "launcher/sessions/decision_counts.h"

#include <sys/socket.h>

#include <algorithm>
#include <charconv>

#include "base/io.h"
#include "launcher/sessions/admin_client.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/top/sample.h"

namespace sluice::launcher {
namespace {

constexpr std::string_view family = "sluice_decisions_total{";
constexpr std::string_view question =
    "GET /metrics HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n\r\n";
constexpr std::size_t largest_exposition = std::size_t{8} * 1024 * 1024;

// The value behind the last space; counters are whole.
std::uint64_t value_of(std::string_view line) {
  std::uint64_t value = 0;
  const std::string_view text = line.substr(line.rfind(' ') + 1);
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

DecisionCounts count_decisions(std::string_view exposition) {
  DecisionCounts counts;
  while (!exposition.empty()) {
    const std::string_view line = exposition.substr(0, exposition.find('\n'));
    exposition.remove_prefix(std::min(line.size() + 1, exposition.size()));
    if (!line.starts_with(family)) continue;
    const auto has = [&](std::string_view label) { return line.find(label) != line.npos; };
    if (has("verdict=\"allow\"")) counts.allowed += value_of(line);
    if (has("verdict=\"report\"")) counts.reported += value_of(line);
    if (has("verdict=\"deny\"")) counts.blocked += value_of(line);
  }
  return counts;
}

std::optional<DecisionCounts> ask_shared_decisions(const std::string& handover_socket,
                                                   const std::string& agent) {
  const auto page = ask_admin(admin_socket_beside(handover_socket), "/api/v1/agents");
  Sample sample;
  if (!page || !*page || !add_agents(sample, **page)) return std::nullopt;
  const auto found = std::ranges::find(sample.agents, agent, &TopAgent::name);
  if (found == sample.agents.end()) return std::nullopt;
  // As sluice_decisions_total tells them: a failure was allowed before it failed.
  return DecisionCounts{found->allowed + found->failed, found->reported, found->denied};
}

std::optional<DecisionCounts> ask_decisions(const std::string& directory,
                                            const std::string& agent) {
  const auto connection = connect_run(directory, agent, admin_suffix);
  if (!connection || !*connection) return std::nullopt;
  const ssize_t sent = ::send(connection->get(), question.data(), question.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(question.size())) return std::nullopt;
  const auto answer = read_fd(connection->get(), "a sluiced's metrics", largest_exposition);
  if (!answer || !answer->starts_with("HTTP/1.1 200 ")) return std::nullopt;
  return count_decisions(*answer);
}

}  // namespace sluice::launcher
