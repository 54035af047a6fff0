#include "launcher/sandbox/exec_listener.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "base/pipe.h"
#include "launcher/control.h"
#include "netns/handover.h"

namespace sluice::launcher {
namespace {

// Other architectures' calls are refused by the filter of seccomp.h.
std::array<sock_filter, 5> program() {
  return {{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 1, 0),
           BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 1),
           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
           BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
}

// The listener is closed by exec.
Fd load(unsigned flags) {
  auto code = program();
  const sock_fprog filter{static_cast<unsigned short>(code.size()), code.data()};
  return Fd(static_cast<int>(::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                       SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, &filter)));
}

}  // namespace

Result<void> hand_over_exec_listener(int control) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::exec_log;
  // Without the flag (Linux 5.19) any signal makes the call begin anew.
  Fd listener = load(SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (!listener && errno == EINVAL) listener = load(0);
  if (listener) {
    attach(message, "listener", std::move(listener));
  } else {
    message.number = errno;
  }
  return send_control(control, message);
}

Result<std::optional<SharedListener>> load_shared_filter(const FilterProgram& program, int line,
                                                         HoldsBackExec exec) {
  auto told = make_pipe();
  if (!told) return Failure(told.error());
  auto listener = load_filter_with_listener(program);
  if (!listener) return Failure(listener.error());
  std::vector<int> fds{listener->get()};
  if (exec) fds.push_back(told->read_end.get());
  if (auto sent = netns::send_packet(line, "listener", fds); !sent) return Failure(sent.error());
  if (!exec) return std::nullopt;
  return SharedListener{std::move(*listener), std::move(told->write_end)};
}

Result<void> hand_over_shared_listener(SharedListener shared, int control) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::exec_log;
  attach(message, "listener", std::move(shared.listener));
  attach(message, "set_id", std::move(shared.set_id));
  return send_control(control, message);
}

}  // namespace sluice::launcher
