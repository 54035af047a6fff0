// The sockets on which a run can be asked, in a directory of its user's; their name reserves the
// agent's.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

// No agent's socket has the name of another agent's: what is behind the last dot tells them apart.
inline constexpr std::string_view admin_suffix = ".sock";   // of an embedded sluiced: HTTP
inline constexpr std::string_view control_suffix = ".ctl";  // of a supervisor: Door

class RunSocket {
 public:
  // DIRECTORY/AGENT.SUFFIX, a listening stream socket. The directory is made with mode 0700 and
  // must belong to the caller. A socket that answers means that the name is taken, if it still does
  // after `patience`; one that nobody listens on is replaced.
  static Result<RunSocket> listen(const std::string& directory, const std::string& agent,
                                  std::string_view suffix, std::chrono::milliseconds patience = {});

  RunSocket(RunSocket&& other) noexcept;
  RunSocket(const RunSocket&) = delete;
  RunSocket& operator=(const RunSocket&) = delete;
  RunSocket& operator=(RunSocket&&) = delete;
  ~RunSocket();

  int fd() const noexcept { return socket_.get(); }

 private:
  RunSocket(std::string path, Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}
  std::string path_;
  Fd socket_;
};

// DIRECTORY/AGENT.SUFFIX
std::string run_socket_path(const std::string& directory, const std::string& agent,
                            std::string_view suffix);

// A Unix stream socket; `flags`: SOCK_NONBLOCK or 0.
Result<Fd> open_stream_socket(int flags);

enum class Connected : std::uint8_t {
  yes,
  later,  // the listener's backlog is full; a blocking socket has waited for its timeout
  nobody_listens,
};
// connect(2). Errors: bad_config, which names the path; not_permitted; unavailable.
Result<Connected> connect_to(int socket, const std::string& path);
// "'PATH' does not answer: WHY", for an error of connect_to() and of what was asked afterwards.
Error unanswered(const std::string& path, Error why);

// Connects; sends and receives give up after five seconds. Without a descriptor where nobody
// listens.
Result<Fd> connect_socket(const std::string& path);
// The same at run_socket_path().
Result<Fd> connect_run(const std::string& directory, const std::string& agent,
                       std::string_view suffix);

// The agents whose supervisors have a socket in `directory`, sorted; none where there is no
// directory. Some may be dead.
Result<std::vector<std::string>> agents_in(const std::string& directory);

// Removes the sockets of `agent` that nobody listens on: their run was killed.
Result<void> remove_dead_sockets(const std::string& directory, const std::string& agent);

}  // namespace sluice::launcher
