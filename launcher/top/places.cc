#include "launcher/top/places.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/text.h"
#include "launcher/sessions/admin_client.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

using Reader = Result<void> (*)(Sample&, std::string_view);

// False where nobody listens.
Result<bool> ask(const std::string& path, Sample& sample) {
  const std::string limit = fmt::format("?limit={}", most_shown);
  const std::pair<std::string, Reader> pages[] = {{"/api/v1/agents", add_agents},
                                                  {"/api/v1/decisions" + limit, add_decisions},
                                                  {"/api/v1/top" + limit, add_top}};
  for (const auto& [target, read] : pages) {
    const auto page = ask_admin(path, target);
    if (!page) return Failure(page.error());
    if (!*page) return false;
    if (auto added = read(sample, **page); !added) return Failure(added.error());
  }
  return true;
}

void ask_or_note(const std::string& path, Sample& sample) {
  if (const auto asked = ask(path, sample); !asked) sample.notes.push_back(asked.error().what);
}

bool is_closed_to_us(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0 && ::access(path.c_str(), W_OK) != 0;
}

void ask_machine(Sample& sample) {
  const std::string path = machine_admin_socket;
  if (!is_closed_to_us(path)) {
    ask_or_note(path, sample);
  } else if (sample.agents.empty()) {
    sample.notes.push_back(fmt::format("you may not ask the machine's sluiced at {}", path));
  }
}

}  // namespace

Result<Sample> look(const Places& places) {
  Sample sample;
  if (places.socket) {
    const auto asked = ask(*places.socket, sample);
    if (!asked) return Failure(asked.error());
    if (!*asked) {
      return fail(Errc::unavailable,
                  fmt::format("no sluiced listens at '{}'", text::printable(*places.socket)),
                  "name the socket of 'admin:' in its configuration");
    }
  } else {
    const auto agents = agents_in(places.runtime_directory);
    if (!agents) return Failure(agents.error());
    for (const std::string& agent : *agents) {
      ask_or_note(run_socket_path(places.runtime_directory, agent, admin_suffix), sample);
    }
    ask_machine(sample);
  }
  sample.at = std::chrono::steady_clock::now();
  put_in_order(sample, most_shown);
  return sample;
}

}  // namespace sluice::launcher
