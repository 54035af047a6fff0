// A sluiced's handover socket and the network namespaces whose listeners are handed over to it.
#pragma once

#include <gmock/gmock.h>
#include <sched.h>
#include <sys/wait.h>

#include <filesystem>

#include "netns/network.h"
#include "netns/sockets.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/unix_socket.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {

using netns::Role;

// Descriptors that `make` makes in a network namespace of its own, in a child process: a namespace
// cannot be left again. None where no namespace can be made.
inline std::vector<Fd> made_in_fresh_namespace(const std::function<std::vector<Fd>()>& make) {
  auto ends = netns::socket_pair();
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    const int flags = ::geteuid() == 0 ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
    if (::unshare(flags) != 0) ::_exit(1);
    const std::vector<Fd> made = make();
    std::vector<int> fds;
    for (const Fd& fd : made) fds.push_back(fd.get());
    ::_exit(netns::send_packet(ends->second.get(), "made", fds) ? 0 : 1);
  }
  ends->second.reset();
  auto packet = netns::receive_packet(ends->first.get());
  ::waitpid(child, nullptr, 0);
  return packet && *packet ? std::move((*packet)->fds) : std::vector<Fd>();
}

inline const std::vector<Role> whole = {Role::tproxy4, Role::tproxy6, Role::dns_udp, Role::dns_tcp,
                                        Role::proxy};
inline const std::vector<Role> without_capture = {Role::dns_udp, Role::dns_tcp, Role::proxy};

// Those of `whole`, in that order, then what `more` makes.
inline std::vector<Fd> agent_network(const std::function<std::vector<Fd>()>& more = nullptr) {
  return made_in_fresh_namespace([&] {
    std::vector<Fd> fds;
    auto sockets = netns::build_agent_network();
    if (!sockets || sockets->size() != whole.size()) return fds;
    for (auto& socket : *sockets) fds.push_back(std::move(socket.fd));
    if (more) {
      for (Fd& fd : more()) fds.push_back(std::move(fd));
    }
    return fds;
  });
}

// Of no namespace in particular: the caller's.
inline Fd port_listener(std::uint16_t port) {
  Fd socket(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const TcpEndpoint at(Tcp::v6(), port);
  ::bind(socket.get(), at.data(), static_cast<socklen_t>(at.size()));
  ::listen(socket.get(), 16);
  return socket;
}

inline std::vector<Fd> port_listeners(const std::vector<std::uint16_t>& ports) {
  std::vector<Fd> made;
  for (const std::uint16_t port : ports) made.push_back(port_listener(port));
  return made;
}

class Handover : public Reloading {
 public:
  explicit Handover(PeerAccess access = PeerAccess(), Peers::Limits limits = {})
      : folder_((std::filesystem::temp_directory_path() / "sluice-XXXXXX").native()) {
    if (::mkdtemp(folder_.data()) == nullptr) throw std::runtime_error("mkdtemp");
    std::filesystem::permissions(folder_, std::filesystem::perms{0755});
    workers_.emplace_back(worker.get());
    agents.emplace(workers_, shared);
    agents->set_policy(policy_of(text_of("      - {host: nowhere.test}\n")));
    peers.emplace(worker->io, *agents, limits, std::move(access));
    path = folder_ + "/handover.sock";
    entrance_.emplace(worker->io, listen_for_peers(path).value_or(Fd()));
    spawn(worker->io, peers->accept(*entrance_));
  }
  // Conversations end with the connections of the test, which is over.
  ~Handover() {
    entrance_->close();
    settle();
    entrance_.reset();
    peers->end();
    agents->end();
    worker.reset();  // with what is left of the conversations
    (void)workers_.front().release();
    std::filesystem::remove_all(folder_);
  }

  Fd connect() const { return connect_unix(path, SOCK_SEQPACKET | SOCK_NONBLOCK).value_or(Fd()); }
  // The next thing that sluiced says; "closed" when it has ended the conversation.
  netns::Answer hear(const Fd& client) {
    std::optional<netns::Answer> answer;
    run_until([&] {
      auto packet = netns::receive_packet(client.get());
      if (!packet || ((*packet) && (*packet)->closed)) answer = netns::Refused{"closed"};
      if (!answer && *packet) answer = netns::decode_answer((*packet)->bytes).value();
      return answer.has_value();
    });
    return answer.value_or(netns::Refused{"silent"});
  }
  netns::Answer ask(const Fd& client, const netns::Request& request,
                    const std::vector<int>& fds = {}) {
    tell(client, request, fds);
    return hear(client);
  }
  static void tell(const Fd& client, const netns::Request& request,
                   const std::vector<int>& fds = {}) {
    EXPECT_TRUE(netns::send_packet(client.get(), netns::encode(request), fds));
  }
  // "" when it was not refused.
  std::string refusal(const Fd& client, const netns::Request& request,
                      const std::vector<int>& fds = {}) {
    const auto answer = ask(client, request, fds);
    const auto* refused = std::get_if<netns::Refused>(&answer);
    return refused == nullptr ? "" : refused->error;
  }
  // A thread besides the bench's that serves agents and runs when told to: `io.poll()`. Before the
  // first registration.
  Worker& add_thread() {
    auto added = Worker::create(shared, std::make_shared<ResolverSettings>());
    workers_.push_back(std::move(added.value()));
    return *workers_.back();
  }
  // So much of what has come that nothing is left to do.
  void settle() { run_for(std::chrono::milliseconds(50)); }

  std::optional<Agents> agents;
  std::optional<Peers> peers;
  std::string path;

 private:
  std::string folder_;
  Workers workers_;
  std::optional<Entrance> entrance_;
};

inline std::vector<int> numbers(const std::vector<Fd>& fds, std::size_t from, std::size_t count) {
  std::vector<int> all;
  for (std::size_t i = from; i < from + count; ++i) all.push_back(fds.at(i).get());
  return all;
}

inline netns::Register registration(std::string agent, const std::vector<Role>& roles = whole,
                                    netns::Lease lease = netns::Lease::connection) {
  return {std::move(agent), roles, {}, lease};
}

inline netns::Register explicit_lease(std::string agent, const std::vector<Role>& roles = whole) {
  return registration(std::move(agent), roles, netns::Lease::until_ended);
}

}  // namespace sluice::proxy
