#include "launcher/sessions/visit.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/text.h"
#include "launcher/sessions/ask_at_once.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_answer = std::size_t{1024} * 1024;
// SIGTERM's grace, then what a machine under load takes to end everything.
constexpr int ending_ms = 60'000;

Error about(const std::string& agent, const Error& error) {
  return {error.code,
          fmt::format("the run of '{}' does not answer: {}", text::printable(agent), error.what),
          "is its process stopped?",
          {}};
}

// Without a descriptor where nobody listens; then no socket is left.
Result<Fd> knock(const std::string& directory, const std::string& agent) {
  auto connection = connect_run(directory, agent, control_suffix);
  if (!connection || *connection) return connection;
  if (auto removed = remove_dead_sockets(directory, agent); !removed) {
    return Failure(removed.error());
  }
  return Fd();
}

Result<void> say(int connection, std::string_view question) {
  const auto size = static_cast<ssize_t>(question.size());
  if (::send(connection, question.data(), question.size(), MSG_NOSIGNAL) == size) return {};
  return fail_errno(Errc::unavailable, "send");
}

// The process that listens, to see its end; without a descriptor where it has ended already, so
// that its number may be another's.
Fd process_behind(int connection) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
  Fd process(static_cast<int>(::syscall(SYS_pidfd_open, peer.pid, 0)));
  pollfd wait{connection, POLLIN, 0};
  return ::poll(&wait, 1, 0) == 0 ? std::move(process) : Fd();
}

// Nothing where no run is left.
Result<std::optional<RunStatus>> status_of(const std::string& directory, const std::string& agent,
                                           const Result<std::optional<std::string>>& said) {
  if (!said) return Failure(said.error());
  if (!*said) {
    auto removed = remove_dead_sockets(directory, agent);
    if (!removed) return Failure(removed.error());
    return std::optional<RunStatus>();
  }
  if ((*said)->empty()) return std::optional<RunStatus>();  // it ended while it was asked
  auto status = decode_status(**said);
  if (!status) return Failure(status.error());
  return std::optional<RunStatus>(std::move(*status));
}

bool becomes_readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  for (;;) {
    const int ready = ::poll(&wait, 1, ending_ms);
    if (ready < 0 && errno == EINTR) continue;
    return ready > 0;
  }
}

}  // namespace

Result<Answers> ask_all(const std::string& directory) {
  const auto agents = agents_in(directory);
  if (!agents) return Failure(agents.error());
  std::vector<Question> questions;
  for (const std::string& agent : *agents) {
    questions.push_back(
        {run_socket_path(directory, agent, control_suffix), std::string(ask_for_status)});
  }
  const auto said = ask_at_once(questions, {.largest_answer = largest_answer});
  Answers answers;
  for (std::size_t i = 0; i < said.size(); ++i) {
    const std::string& agent = (*agents)[i];
    auto status = status_of(directory, agent, said[i]);
    if (!status) {
      answers.silent.push_back(about(agent, status.error()));
    } else if (*status) {
      answers.runs.push_back(std::move(**status));
    }
  }
  return answers;
}

Result<bool> stop_run(const std::string& directory, const std::string& agent, Stop how) {
  const auto connection = knock(directory, agent);
  if (!connection) return Failure(connection.error());
  if (!*connection) return false;
  const Fd process = process_behind(connection->get());
  const auto question = how == Stop::now ? ask_for_stop_now : ask_for_stop;
  if (auto sent = say(connection->get(), question); !sent) {
    return Failure(about(agent, sent.error()));
  }
  // Its process ends after everything that it started; the end of the connection is for a process
  // that cannot be seen from here.
  if (becomes_readable(connection->get()) && (!process || becomes_readable(process.get()))) {
    return true;
  }
  return fail(Errc::unavailable,
              fmt::format("the run of '{}' has not ended", text::printable(agent)),
              "sluice stop --now does not ask the agent");
}

}  // namespace sluice::launcher
