#include "launcher/sandbox/overlay_mounter.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "launcher/sandbox/privileges.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

constexpr char done = 'd';
constexpr char failed = 'f';            // then the sentence, a line feed and the hint
constexpr std::size_t ordered_fds = 2;  // the sandbox's pidfd, its scratch directory

// SYS_ADMIN is for trusted attributes (xattr(7)); the others overlayfs has of the namespace it is
// mounted in everywhere else: it checks the agent first, and then makes, copies and removes what
// the agent's ids own.
constexpr std::array<int, 6> needed{CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,
                                    CAP_FSETID, CAP_SETFCAP,      CAP_SYS_ADMIN};

Result<void> keep_needed() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, 2> sets{};
  for (const int capability : needed) {
    __user_cap_data_struct& set = sets.at(static_cast<std::size_t>(CAP_TO_INDEX(capability)));
    set.permitted |= CAP_TO_MASK(capability);
    set.effective |= CAP_TO_MASK(capability);
  }
  if (::syscall(SYS_capset, &header, sets.data()) == 0) return {};
  return fail_errno(Errc::not_permitted, "capset");
}

// overlayfs acts on its layers as whoever mounts it.
Result<void> become_mounter(uid_t host_id) {
  if (::prctl(PR_SET_KEEPCAPS, 1) != 0) return fail_errno(Errc::bug, "PR_SET_KEEPCAPS");
  if (auto become = become_host_id(host_id); !become) return become;
  return keep_needed();
}

Result<Fd> mount_as(uid_t host_id, const std::vector<Fd>& fds, const FileSystem& overlay) {
  if (fds.size() != ordered_fds) return fail(Errc::bug, "the order of a mount is incomplete");
  // Only what is mounted in a process's own namespace can be a layer.
  if (::setns(fds[0].get(), CLONE_NEWNS) != 0) {
    return fail_errno(Errc::not_permitted, "cannot enter the sandbox's mounts");
  }
  if (::fchdir(fds[1].get()) != 0) return fail_errno(Errc::bug, "fchdir");
  if (auto become = become_mounter(host_id); !become) return Failure(become.error());
  return new_file_system(overlay);
}

[[noreturn]] void be_mounter(int orders, uid_t host_id, const FileSystem& overlay) {
  if (!close_all_but({orders})) ::_exit(1);
  const auto order = netns::receive_packet(orders);
  if (!order || !*order || (*order)->closed) ::_exit(1);
  const auto mount = mount_as(host_id, (*order)->fds, overlay);
  const std::string failure =
      mount ? std::string() : failed + mount.error().what + "\n" + mount.error().hint;
  const bool sent = mount ? bool(netns::send_packet(orders, {&done, 1}, {mount->get()}))
                          : bool(netns::send_packet(orders, failure));
  ::_exit(sent ? 0 : 1);
}

}  // namespace

Result<OverlayMounter> OverlayMounter::start(uid_t host_id, const FileSystem& overlay) {
  auto pair = netns::socket_pair();
  if (!pair) return Failure(pair.error());
  // A sibling: the calling process ends before the sandbox asks, and the supervisor reaps.
  const long pid = ::syscall(SYS_clone, CLONE_PARENT, nullptr, nullptr, nullptr, nullptr);
  if (pid < 0) return fail_errno(Errc::unavailable, "clone");
  if (pid == 0) {
    pair->first.reset();
    be_mounter(pair->second.get(), host_id, overlay);
  }
  return OverlayMounter(std::move(pair->first));
}

Result<Fd> OverlayMounter::mount(int scratch) {
  const Fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) return fail_errno(Errc::not_permitted, "pidfd_open");
  if (auto sent = netns::send_packet(order_.get(), "mount", {self.get(), scratch}); !sent) {
    return Failure(sent.error());
  }
  auto answer = netns::receive_packet(order_.get());
  if (!answer) return Failure(answer.error());
  order_.reset();
  if (!*answer || (*answer)->closed) {
    return fail(Errc::unavailable, "the process that mounts the overlay died",
                "is the machine out of memory?");
  }
  netns::Packet& packet = **answer;
  if (packet.bytes.front() == done && packet.fds.size() == 1) return std::move(packet.fds.front());
  const std::size_t line = packet.bytes.find('\n');
  if (packet.bytes.front() != failed || line == std::string::npos) {
    return fail(Errc::bug, "the process that mounts the overlay spoke out of turn");
  }
  return fail(Errc::not_permitted, packet.bytes.substr(1, line - 1), packet.bytes.substr(line + 1));
}

}  // namespace sluice::launcher
