// By which system calls a process of this machine could open an AF_VSOCK socket, which no network
// namespace confines.
#pragma once

#include <linux/seccomp.h>

#include <string_view>
#include <vector>

namespace sluice::netns {

struct VsockWay {
  std::string_view name;  // "socket", "socketcall (32-bit)"
  seccomp_data call{};
};

// Those of this kernel: none when it has no AF_VSOCK (EAFNOSUPPORT). A seccomp filter must refuse
// every one: io_uring makes sockets that no filter sees, and 32-bit calls have other numbers, and
// their arguments behind a pointer.
std::vector<VsockWay> vsock_ways();

}  // namespace sluice::netns
