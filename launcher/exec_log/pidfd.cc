#include "launcher/exec_log/pidfd.h"

#include <linux/ioctl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher/sandbox/init.h"

namespace sluice::launcher {
namespace {

// struct pidfd_info of linux/pidfd.h, which older headers lack, in its first version.
struct PidfdInfo {
  std::uint64_t mask;
  std::uint64_t cgroup_id;
  std::uint32_t pid;
  std::uint32_t tgid;
  std::uint32_t ppid;
  std::uint32_t owners[8];
  std::int32_t exit_code;
};
constexpr std::uint64_t info_exit = 1 << 3;
constexpr unsigned long get_info = _IOWR(0xFF, 11, PidfdInfo);

}  // namespace

Fd open_process(pid_t process) {
  return Fd(static_cast<int>(::syscall(SYS_pidfd_open, process, 0)));
}

std::optional<std::uint64_t> exit_status_of(int process) {
  PidfdInfo info{};
  info.mask = info_exit;
  if (::ioctl(process, get_info, &info) != 0 || (info.mask & info_exit) == 0) return std::nullopt;
  return static_cast<std::uint64_t>(exit_status(info.exit_code));
}

std::optional<ProcessNumbers> numbers_of(int process) {
  PidfdInfo info{};
  if (::ioctl(process, get_info, &info) != 0 || info.tgid == 0) return std::nullopt;
  return ProcessNumbers{static_cast<pid_t>(info.tgid), static_cast<pid_t>(info.ppid)};
}

}  // namespace sluice::launcher
