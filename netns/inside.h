// Does work inside another network namespace, in a child process, and brings descriptors out.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/handover.h"

namespace sluice::netns {

// What the child hands to its parent.
struct Brought {
  std::string text;                 // at most 32 KiB
  std::vector<RoleSocket> sockets;  // opened inside
  std::vector<Fd> fds;              // others, in the order of the child
};
using Work = std::function<Result<Brought>()>;

// The child enters the user namespace that owns the network namespace, unless the caller is in it
// or has CAP_SYS_ADMIN over it already, then the network namespace; does the work; and ends. It
// ends with the calling thread, too. Blocks as long as the work does. The caller must have one
// thread only.
Result<Brought> do_inside(int network_namespace, const Work& work);

// The same in a network namespace of its own; the last of `fds` is that namespace, which is gone
// when nobody holds it. Needs CAP_SYS_ADMIN.
Result<Brought> do_in_fresh_namespace(const Work& work);

// A descriptor of a network namespace by its path: /run/netns/NAME, /proc/PID/ns/net. What is none
// is refused (Errc::bad_config), without waiting for it.
Result<Fd> open_network_namespace(const std::string& path);

// SO_NETNS_COOKIE of that namespace, which tells it from all others since the machine started.
Result<std::uint64_t> cookie_of(int network_namespace);

// Whether both are descriptors of one namespace (fstat(2)).
bool is_same_namespace(int one, int other) noexcept;

}  // namespace sluice::netns
