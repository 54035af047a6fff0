#include "netns/named/lease.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "base/text.h"

namespace sluice::netns {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds patience{5};

Result<Packet> await_packet(int socket, Clock::time_point until) {
  for (;;) {
    auto packet = receive_packet(socket);
    if (!packet) return Failure(packet.error());
    if (*packet && (*packet)->closed) {
      return fail(Errc::unavailable, "sluiced ended the conversation", "look at its log");
    }
    if (*packet) return std::move(**packet);
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd wait{socket, POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0) {
      return fail(Errc::unavailable, "sluiced does not answer", "look at its log");
    }
  }
}

// The answer to what was asked; what comes unasked is nobody's here.
Result<Answer> await_answer(int socket) {
  const auto until = Clock::now() + patience;
  for (;;) {
    auto answer = await_packet(socket, until).and_then([](Packet&& packet) {
      return decode_answer(packet.bytes);
    });
    if (!answer) return answer;
    const bool unasked =
        std::holds_alternative<Bindings>(*answer) || std::holds_alternative<Denied>(*answer);
    if (!unasked) return answer;
  }
}

Result<Answer> ask(int socket, const Request& request, const std::vector<int>& fds = {}) {
  if (auto sent = send_packet(socket, encode(request), fds); !sent) {
    // Whom sluiced does not admit it tells so, and hangs up before it was asked.
    const auto said = receive_packet(socket);
    if (said && *said && !(*said)->closed) return decode_answer((*said)->bytes);
    return Failure(sent.error());
  }
  return await_answer(socket);
}

struct Part {
  std::vector<Role> roles;
  std::vector<int> fds;
};

// As many as one message carries.
Part part_of(const std::vector<RoleSocket>& sockets, std::size_t first) {
  Part part;
  const std::size_t end = std::min(first + max_sockets_per_message, sockets.size());
  for (std::size_t i = first; i < end; ++i) {
    part.roles.push_back(sockets[i].role);
    part.fds.push_back(sockets[i].fd.get());
  }
  return part;
}

Failure refused(const Answer& answer, const std::string& agent) {
  const auto* said = std::get_if<Refused>(&answer);
  if (said == nullptr) {
    return fail(Errc::unavailable, "sluiced answered what was not asked",
                "sluiced and sluice-netns must be of one version");
  }
  return fail(Errc::not_permitted,
              fmt::format("sluiced refuses the agent '{}': {}", text::printable(agent),
                          text::printable(said->error)),
              "'sluice-netns list' shows whose names are taken");
}

Result<void> add_rest(int socket, const std::string& agent,
                      const std::vector<RoleSocket>& sockets) {
  for (std::size_t at = max_sockets_per_message; at < sockets.size();
       at += max_sockets_per_message) {
    const Part part = part_of(sockets, at);
    const auto answer = ask(socket, Add{part.roles}, part.fds);
    if (!answer) return Failure(answer.error());
    if (!std::holds_alternative<Accepted>(*answer)) return refused(*answer, agent);
  }
  return {};
}

struct Attempt {
  Fd socket;
  int error = 0;  // errno
};

Attempt try_to_connect(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) return {{}, ENAMETOOLONG};
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size() + 1);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return {{}, errno};
  const auto* const to = reinterpret_cast<const sockaddr*>(&address);
  if (::connect(socket.get(), to, sizeof(address)) != 0) return {{}, errno};
  return {std::move(socket), 0};
}

Error cannot_reach(const std::string& socket_path, int error_number) {
  return errno_error(Errc::unavailable,
                     fmt::format("cannot reach sluiced at '{}'", text::printable(socket_path)),
                     error_number, "start sluiced, or name its socket with --proxy");
}

}  // namespace

std::string choose_proxy_socket(std::string_view given) {
  if (!given.empty()) return std::string(given);
  const char* const wished = std::getenv("SLUICE_HANDOVER");
  return wished != nullptr && *wished != '\0' ? wished : std::string(default_proxy_socket);
}

Result<Fd> connect_proxy(const std::string& socket_path) {
  auto attempt = try_to_connect(socket_path);
  if (attempt.error == 0) return std::move(attempt.socket);
  return Failure(cannot_reach(socket_path, attempt.error));
}

Result<Registered> take_lease(const std::string& proxy, const std::string& agent,
                              const std::vector<RoleSocket>& sockets) {
  const auto link = connect_proxy(proxy);
  if (!link) return Failure(link.error());
  const Part first = part_of(sockets, 0);
  const Register request{agent, first.roles, {}, Lease::until_ended};
  const auto answer = ask(link->get(), request, first.fds);
  if (!answer) return Failure(answer.error());
  const auto* const registered = std::get_if<Registered>(&*answer);
  if (registered == nullptr) return refused(*answer, agent);
  if (auto added = add_rest(link->get(), agent, sockets); !added) {
    (void)ask(link->get(), Unregister{agent});
    return Failure(added.error());
  }
  return *registered;
}

Result<std::string> ask_sandbox(const std::string& proxy, const std::string& agent) {
  const auto link = connect_proxy(proxy);
  if (!link) return Failure(link.error());
  const auto answer = ask(link->get(), AskSandbox{agent});
  if (!answer) return Failure(answer.error());
  const auto* const asked = std::get_if<SandboxAsked>(&*answer);
  if (asked == nullptr) return refused(*answer, agent);
  return asked->sandbox;
}

Result<LeaseEnd> end_lease(const std::string& proxy, const std::string& agent,
                           std::uint64_t netns_cookie) {
  const auto link = try_to_connect(proxy);
  if (link.error != 0) {
    Error error = cannot_reach(proxy, link.error);
    // Nobody is there: the lease went with its sluiced.
    if (link.error == ENOENT || link.error == ECONNREFUSED) return LeaseEnd{{}, error.what};
    return Failure(std::move(error));
  }
  const auto answer = ask(link.socket.get(), Unregister{agent, netns_cookie});
  if (!answer) return Failure(answer.error());
  if (const auto* const totals = std::get_if<Totals>(&*answer)) return LeaseEnd{*totals, ""};
  const auto* const said = std::get_if<Refused>(&*answer);
  if (said == nullptr) return refused(*answer, agent);
  return LeaseEnd{std::nullopt, text::printable(said->error)};
}

}  // namespace sluice::netns
