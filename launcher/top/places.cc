#include "launcher/top/places.h"

#include <fmt/core.h>
#include <unistd.h>

#include <array>

#include "base/text.h"
#include "launcher/sessions/admin_client.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

using Reader = Result<void> (*)(Sample&, std::string_view);

struct Page {
  std::string target;
  Reader read;
};

const std::array<Page, 3>& pages() {
  static const std::string limit = fmt::format("?limit={}", most_shown);
  static const std::array<Page, 3> all{{{"/api/v1/agents", add_agents},
                                        {"/api/v1/decisions" + limit, add_decisions},
                                        {"/api/v1/top" + limit, add_top}}};
  return all;
}

// Of each path: false where nobody listens. A hung sluiced costs the others nothing but the wait.
std::vector<Result<bool>> ask(const std::vector<std::string>& paths, Sample& sample) {
  std::vector<AdminQuestion> questions;
  for (const Page& page : pages()) {
    for (const std::string& path : paths) questions.push_back({path, page.target});
  }
  const auto answers = ask_admins(questions);
  std::vector<Result<bool>> asked(paths.size(), true);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    Result<bool>& of_path = asked[i % paths.size()];
    if (!of_path || !*of_path) continue;  // what it lacks is said once
    if (!answers[i]) {
      of_path = Failure(answers[i].error());
    } else if (!*answers[i]) {
      of_path = false;
    } else if (auto added = pages()[i / paths.size()].read(sample, **answers[i]); !added) {
      of_path = Failure(added.error());
    }
  }
  return asked;
}

bool is_closed_to_us(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0 && ::access(path.c_str(), W_OK) != 0;
}

}  // namespace

Result<Sample> look(const Places& places) {
  Sample sample;
  sample.at = std::chrono::steady_clock::now();  // before the wait for those that are silent
  if (places.socket) {
    const auto asked = ask({*places.socket}, sample).front();
    if (!asked) return Failure(asked.error());
    if (!*asked) {
      return fail(Errc::unavailable,
                  fmt::format("no sluiced listens at '{}'", text::printable(*places.socket)),
                  "name the socket of 'admin:' in its configuration");
    }
  } else {
    const auto agents = agents_in(places.runtime_directory);
    if (!agents) return Failure(agents.error());
    std::vector<std::string> paths;
    for (const std::string& agent : *agents) {
      paths.push_back(run_socket_path(places.runtime_directory, agent, admin_suffix));
    }
    const bool is_closed = is_closed_to_us(machine_admin_socket);
    if (!is_closed) paths.emplace_back(machine_admin_socket);
    for (const auto& asked : ask(paths, sample)) {
      if (!asked) sample.notes.push_back(asked.error().what);
    }
    if (is_closed && sample.agents.empty()) {
      sample.notes.push_back(
          fmt::format("you may not ask the machine's sluiced at {}", machine_admin_socket));
    }
  }
  put_in_order(sample, most_shown);
  return sample;
}

}  // namespace sluice::launcher
