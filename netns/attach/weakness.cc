#include "netns/attach/weakness.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "netns/attach/processes.h"
#include "netns/attach/seccomp_reader.h"
#include "netns/attach/vsock.h"
#include "netns/inside.h"
#include "netns/named/state.h"

namespace sluice::netns {
namespace {

constexpr std::uint64_t net_admin_bit = std::uint64_t{1} << CAP_NET_ADMIN;
// Each is stopped once: more would take too long.
constexpr std::size_t most_threads = 1024;

constexpr std::array<std::pair<Weakness, std::string_view>, 3> names{
    {{Weakness::link, "link"}, {Weakness::net_admin, "net_admin"}, {Weakness::vsock, "vsock"}}};

// A set-uid program, or being uid 0 at the next execve(2), brings back what the bounding set has.
bool can_have_net_admin(const ThreadStatus& status) noexcept {
  const std::uint64_t now = status.permitted | status.effective | status.ambient;
  if ((now & net_admin_bit) != 0) return true;
  return !status.no_new_privileges && (status.bounding & net_admin_bit) != 0;
}

// user_namespaces(7): capabilities in a user namespace are capabilities over what it and those
// below it own; whoever made one has all of them from the one above.
bool has_power_over(const std::vector<Fd>& owners, int its_user_namespace,
                    const ThreadStatus& status) {
  for (std::size_t i = 0; i < owners.size(); ++i) {
    if (is_same_namespace(owners[i].get(), its_user_namespace)) return can_have_net_admin(status);
    uid_t maker = 0;
    if (i + 1 < owners.size() && is_same_namespace(owners[i + 1].get(), its_user_namespace) &&
        ::ioctl(owners[i].get(), NS_GET_OWNER_UID, &maker) == 0 && maker == status.effective_uid) {
      return true;
    }
  }
  return false;
}

Finding unknown(Weakness weakness, pid_t process, std::string_view why) {
  return {weakness, fmt::format("process {} cannot be judged: {}", process, why)};
}

std::optional<Finding> judge_capabilities(pid_t process, const std::vector<Fd>& owners) {
  const Fd user(::open(fmt::format("/proc/{}/ns/user", process).c_str(), O_RDONLY | O_CLOEXEC));
  if (!user) return unknown(Weakness::net_admin, process, "its user namespace cannot be read");
  for (const pid_t thread : threads_of(process)) {
    const auto status = status_of(thread);
    if (!status) return unknown(Weakness::net_admin, process, status.error().what);
    if (!has_power_over(owners, user.get(), *status)) continue;
    return Finding{Weakness::net_admin,
                   fmt::format("process {} has CAP_NET_ADMIN over its network namespace, or can "
                               "get it by execve",
                               process)};
  }
  return std::nullopt;
}

std::optional<std::string> open_way(pid_t thread, const std::vector<VsockWay>& ways) {
  const auto programs = read_seccomp_filters(thread);
  if (!programs) return programs.error().what;
  for (const VsockWay& way : ways) {
    const auto action = run_programs(*programs, way.call);
    if (!action) return action.error().what;
    if (!refuses(*action)) {
      return fmt::format("its seccomp filter lets '{}' open AF_VSOCK", way.name);
    }
  }
  return std::nullopt;
}

std::optional<Finding> judge_vsock(pid_t process, const std::vector<VsockWay>& ways) {
  for (const pid_t thread : threads_of(process)) {
    const auto status = status_of(thread);
    if (!status) return unknown(Weakness::vsock, process, status.error().what);
    if (status->seccomp == SECCOMP_MODE_STRICT) continue;
    if (status->seccomp == SECCOMP_MODE_DISABLED) {
      return Finding{
          Weakness::vsock,
          fmt::format("process {} has no seccomp filter, and this machine has AF_VSOCK", process)};
    }
    if (const auto way = open_way(thread, ways)) {
      return Finding{Weakness::vsock, fmt::format("process {}: {}", process, *way)};
    }
  }
  return std::nullopt;
}

}  // namespace

std::string_view weakness_name(Weakness weakness) noexcept {
  return names[static_cast<std::size_t>(weakness)].second;
}

std::optional<Weakness> weakness_named(std::string_view word) noexcept {
  for (const auto& [weakness, name] : names) {
    if (name == word) return weakness;
  }
  return std::nullopt;
}

std::string_view withdrawal(Weakness weakness) noexcept {
  switch (weakness) {
    case Weakness::link:
      return "it is not promised that the policy is the only way out: what the container sends "
             "over its other link no policy sees, and new links and routes are not watched";
    case Weakness::net_admin:
      return "it is not promised that the policy is the only way out: the container can remove "
             "the capture rules and routes, and make links; only new links and routes are seen, "
             "after the fact";
    case Weakness::vsock:
      break;
  }
  return "it is not promised that the policy is the only way out: the container can talk to the "
         "hypervisor, and to what listens on AF_VSOCK there or on this machine";
}

std::vector<Fd> owners_of(int network_namespace) {
  std::vector<Fd> owners;
  for (Fd next(::ioctl(network_namespace, NS_GET_USERNS)); next;
       next = Fd(::ioctl(owners.back().get(), NS_GET_PARENT))) {
    owners.push_back(std::move(next));
  }
  return owners;
}

Result<std::vector<Finding>> judge_processes(int network_namespace, const std::vector<Fd>& owners) {
  std::vector<Finding> findings;
  if (owners.empty()) {
    findings.push_back({Weakness::net_admin, "the owner of the network namespace is unknown"});
  }
  const std::vector<VsockWay> ways = vsock_ways();
  std::size_t threads = 0;
  bool net_admin = false;
  bool vsock = ways.empty();
  for (const pid_t process : processes_in(network_namespace)) {
    threads += threads_of(process).size();
    if (threads > most_threads) {
      return fail(Errc::unavailable,
                  fmt::format("more than {} threads are in the network namespace", most_threads),
                  "attach before the container has started so many");
    }
    const auto add = [&](std::optional<Finding> finding, bool& found) {
      // One that has ended meanwhile is no danger, and cannot be read.
      if (!finding || !start_time_of(process)) return;
      findings.push_back(std::move(*finding));
      found = true;
    };
    if (!net_admin) add(judge_capabilities(process, owners), net_admin);
    if (!vsock) add(judge_vsock(process, ways), vsock);
  }
  return findings;
}

}  // namespace sluice::netns
