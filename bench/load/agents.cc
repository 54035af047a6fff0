// agents: what a registered agent costs sluiced while it does nothing.
#include <fmt/core.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "bench/load/modes.h"
#include "bench/load/plans.h"
#include "bench/load/report.h"
#include "netns/handover.h"
#include "netns/network.h"
#include "netns/sockets.h"

namespace sluice::bench {
namespace {

constexpr auto settle = std::chrono::seconds(1);

Result<Fd> call(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return fail(Errc::bad_config, fmt::format("'{}' is too long for a socket", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (!fd || ::connect(fd.get(), generic, sizeof(address)) != 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot connect to '{}'", path));
  }
  return fd;
}

// A network namespace of its own, its listeners handed over. The agent is registered as long as the
// answer is open; its namespace lives as long as sluiced holds the listeners.
Result<Fd> register_agent(const std::string& socket, unsigned number) {
  if (::unshare(CLONE_NEWNET) != 0) {
    return fail_errno(Errc::not_permitted, "cannot make a network namespace");
  }
  auto listeners = netns::build_agent_network();
  if (!listeners) return Failure(listeners.error());
  netns::Register request{.agent = fmt::format("agent-{}", number)};
  std::vector<int> fds;
  for (const netns::RoleSocket& listener : *listeners) {
    request.sockets.push_back(listener.role);
    fds.push_back(listener.fd.get());
  }
  auto connection = call(socket);
  if (!connection) return connection;
  if (auto sent = netns::send_packet(connection->get(), netns::encode(request), fds); !sent) {
    return Failure(sent.error());
  }
  auto packet = netns::receive_packet(connection->get());
  if (!packet) return Failure(packet.error());
  if (!*packet) return fail(Errc::unavailable, "sluiced did not answer");
  const auto answer = netns::decode_answer((*packet)->bytes);
  if (!answer) return Failure(answer.error());
  if (!std::holds_alternative<netns::Registered>(*answer)) {
    return fail(Errc::not_permitted, "sluiced refused: " + (*packet)->bytes);
  }
  return connection;
}

// One refusal through the listener of the last agent, in whose namespace this process still is.
Tally try_last() {
  Options options;
  options.mode = "refused";
  options.origin_port = 443;
  const netns::Endpoint endpoint = netns::role_endpoint(netns::Role::proxy);
  options.proxy.sin_family = AF_INET;
  options.proxy.sin_port = htons(endpoint.port);
  options.proxy.sin_addr.s_addr = htonl(endpoint.address.v4_value());
  options.concurrency = 1;
  auto plan = steady_plan(options);
  const Loop loop;
  Load load(loop, std::move(*plan));
  Tally tally =
      load.measure(Clock::now() + std::chrono::seconds(10), [&] { return load.answered() > 0; });
  if (load.answered() == 0) ++tally.errors;
  return tally;
}

}  // namespace

Result<int> run_agents(const Options& options) {
  // Not root: the namespaces are made in a user namespace of this process.
  if (::geteuid() != 0 && ::unshare(CLONE_NEWUSER) != 0) {
    return fail_errno(Errc::not_permitted, "cannot make a user namespace", "be root");
  }
  const ProcessTree sluiced(options.pids);
  const Memory before = sluiced.memory();
  const ProcessorTime began = sluiced.processor_time();
  std::vector<Fd> agents;
  for (unsigned i = 0; i < options.count; ++i) {
    auto agent = register_agent(options.socket, i);
    if (!agent) return Failure(agent.error());
    agents.push_back(std::move(*agent));
  }
  std::this_thread::sleep_for(settle);
  const ProcessorTime used = sluiced.processor_time() - began;
  const Memory after = sluiced.memory();
  const Tally tried = try_last();

  Report report(options);
  const auto count = static_cast<double>(agents.size());
  const double more = static_cast<double>(after.rss) - static_cast<double>(before.rss);
  report.add("agents", std::uint64_t{agents.size()}).add("rss_kib_per_agent", more / count);
  report.add("cpu_us_per_operation", used.sum() * 1e6 / count).add(used);
  report.add("refused", std::uint64_t{1}).errors(tried.errors, tried.first_error);
  return report.print();
}

}  // namespace sluice::bench
