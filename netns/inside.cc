#include "netns/inside.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/text.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

Failure fail_entering(std::string_view what) {
  return fail_errno(Errc::not_permitted, what,
                    "this needs root, or to be the user who made the namespace");
}

Result<void> enter_owner(int network_namespace) {
  const Fd owner(::ioctl(network_namespace, NS_GET_USERNS));
  // The owner is outside the caller's own user namespace: nothing could be entered.
  if (!owner) return fail_entering("cannot find the user namespace of the network");
  const Fd own(::open("/proc/self/ns/user", O_RDONLY | O_CLOEXEC));
  if (own && is_same_namespace(own.get(), owner.get())) return {};
  if (::setns(owner.get(), CLONE_NEWUSER) != 0) {
    return fail_entering("cannot enter the user namespace of the network");
  }
  return {};
}

Result<void> enter(int network_namespace) {
  // With CAP_SYS_ADMIN over it the caller keeps its own user namespace, and with it what it may do
  // to /proc.
  if (::setns(network_namespace, CLONE_NEWNET) == 0) return {};
  return enter_owner(network_namespace).and_then([&]() -> Result<void> {
    if (::setns(network_namespace, CLONE_NEWNET) == 0) return {};
    return fail_entering("cannot enter the network namespace");
  });
}

Json to_head(const Result<Brought>& brought) {
  if (!brought) {
    const Error& error = brought.error();
    return {{"code", static_cast<int>(error.code)}, {"what", error.what}, {"hint", error.hint}};
  }
  Json roles = Json::array();
  for (const RoleSocket& socket : brought->sockets) roles.push_back(static_cast<int>(socket.role));
  return {{"text", brought->text}, {"roles", roles}, {"others", brought->fds.size()}};
}

// A packet of JSON, then the descriptors: sockets first, as many a packet as go into one.
[[noreturn]] void answer(int to, const Result<Brought>& brought) {
  const Json head = to_head(brought);
  auto sent = send_packet(to, head.dump(-1, ' ', true, Json::error_handler_t::replace));
  std::vector<int> fds;
  if (brought) {
    for (const RoleSocket& socket : brought->sockets) fds.push_back(socket.fd.get());
    for (const Fd& fd : brought->fds) fds.push_back(fd.get());
  }
  for (std::size_t at = 0; sent && at < fds.size(); at += max_sockets_per_message) {
    const std::size_t end = std::min(at + max_sockets_per_message, fds.size());
    const auto begin = fds.begin() + static_cast<std::ptrdiff_t>(at);
    sent = send_packet(to, "+", {begin, fds.begin() + static_cast<std::ptrdiff_t>(end)});
  }
  ::_exit(sent ? 0 : 1);
}

Result<Packet> receive_whole(int from) {
  auto packet = receive_packet(from);
  if (!packet) return Failure(packet.error());
  if (!*packet || (*packet)->closed) {
    return fail(Errc::unavailable, "the child inside the network namespace died");
  }
  return std::move(**packet);
}

Result<std::vector<Fd>> receive_fds(int from, std::size_t count) {
  std::vector<Fd> fds;
  while (fds.size() < count) {
    auto packet = receive_whole(from);
    if (!packet) return Failure(packet.error());
    for (Fd& fd : packet->fds) fds.push_back(std::move(fd));
  }
  return fds;
}

// The child has been where others may be root: what it says is not believed blindly.
Result<std::vector<Role>> read_roles(const Json& head) {
  std::vector<Role> roles;
  for (const int number : head.at("roles").get<std::vector<int>>()) {
    if (number < 0 || number > static_cast<int>(Role::port)) {
      return fail(Errc::bug, "the child inside the network namespace names an unknown role");
    }
    roles.push_back(static_cast<Role>(number));
  }
  return roles;
}

Result<Brought> receive_brought(int from) {
  const auto packet = receive_whole(from);
  if (!packet) return Failure(packet.error());
  const Json head = Json::parse(packet->bytes);
  if (head.contains("code")) {
    return Failure(Error{static_cast<Errc>(head.at("code").get<int>()), head.at("what"),
                         head.at("hint"), std::nullopt});
  }
  const auto named = read_roles(head);
  if (!named) return Failure(named.error());
  const std::vector<Role>& roles = *named;
  auto fds = receive_fds(from, roles.size() + head.at("others").get<std::size_t>());
  if (!fds) return Failure(fds.error());
  Brought brought{head.at("text"), {}, {}};
  for (std::size_t i = 0; i < fds->size(); ++i) {
    if (i < roles.size()) {
      brought.sockets.push_back({roles[i], std::move((*fds)[i])});
    } else {
      brought.fds.push_back(std::move((*fds)[i]));
    }
  }
  return brought;
}

Result<Brought> in_child(const Work& whole_work) {
  auto ends = socket_pair();
  if (!ends) return Failure(ends.error());
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return fail_errno(Errc::unavailable, "fork");
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    // In the container's user namespace its processes could trace this one, ptrace(2).
    if (::prctl(PR_SET_DUMPABLE, 0) != 0) ::_exit(1);
    answer(ends->second.get(), whole_work());
  }
  ends->second.reset();
  auto brought = receive_brought(ends->first.get());
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return brought;
}

Result<Brought> with_own_namespace(Result<Brought> brought) {
  if (!brought) return brought;
  Fd own(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return fail_errno(Errc::unavailable, "cannot open '/proc/self/ns/net'");
  brought->fds.push_back(std::move(own));
  return brought;
}

}  // namespace

Result<Brought> do_inside(int network_namespace, const Work& work) {
  return in_child([&]() -> Result<Brought> {
    if (auto entered = enter(network_namespace); !entered) return Failure(entered.error());
    return work();
  });
}

Result<Brought> do_in_fresh_namespace(const Work& work) {
  return in_child([&]() -> Result<Brought> {
    // CAP_SYS_ADMIN: unshare(2).
    if (::unshare(CLONE_NEWNET) != 0) {
      return fail_errno(Errc::not_permitted, "cannot make a network namespace",
                        "this needs root, CONFIG_NET_NS and user.max_net_namespaces above 0");
    }
    return with_own_namespace(work());
  });
}

Result<Fd> open_network_namespace(const std::string& path) {
  const std::string shown = text::printable(path);
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) {
    return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", shown),
                      errno == EACCES || errno == EPERM
                          ? "root may, and the user whose process it is"
                          : "name one as /run/netns/NAME or /proc/PID/ns/net");
  }
  struct statfs system {};
  if (::fstatfs(fd.get(), &system) != 0 || system.f_type != NSFS_MAGIC ||
      ::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) {
    return fail(Errc::bad_config, fmt::format("'{}' is no network namespace", shown),
                "name one as /run/netns/NAME or /proc/PID/ns/net");
  }
  return fd;
}

Result<std::uint64_t> cookie_of(int network_namespace) {
  const auto brought = do_inside(network_namespace, []() -> Result<Brought> {
    return own_netns_cookie().map([](std::uint64_t cookie) {
      return Brought{fmt::format("{}", cookie), {}, {}};
    });
  });
  if (!brought) return Failure(brought.error());
  return std::stoull(brought->text);
}

bool is_same_namespace(int one, int other) noexcept {
  struct stat first {};
  struct stat second {};
  return ::fstat(one, &first) == 0 && ::fstat(other, &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

}  // namespace sluice::netns
