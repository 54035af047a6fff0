// One netlink conversation with the kernel, about the calling thread's network namespace.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <functional>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::netns {

// A request under construction: one page is more than any message we send.
struct NetlinkRequest {
  alignas(nlmsghdr) std::array<char, 4096> bytes{};

  // Starts the message; `type` and `flags` as in rtnetlink(7). NLM_F_REQUEST is implied.
  nlmsghdr* start(std::uint16_t type, std::uint16_t flags);
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(bytes.data()); }
};

class Netlink {
 public:
  // NETLINK_ROUTE or NETLINK_NETFILTER (netlink(7)).
  static Result<Netlink> open(int family);
  // One that another process has opened and bound, perhaps in another network namespace: the
  // conversation is about that one.
  static Result<Netlink> adopt(Fd socket);
  int fd() const { return mnl_socket_get_fd(socket_.get()); }

  // Sends a request that changes something and waits for the kernel's answer. `what` begins the
  // sentence of the error.
  Result<void> change(NetlinkRequest& request, std::string_view what);
  // As change(), of a request that makes something. What is there already stays as it is.
  Result<void> add(NetlinkRequest& request, std::string_view what);
  // As change(), of a request that removes something. What is not there is removed already.
  Result<void> remove(NetlinkRequest& request, std::string_view what);
  // Sends a dump request and calls `each` for every message of the answer.
  Result<void> dump(NetlinkRequest& request, std::string_view what,
                    const std::function<void(const nlmsghdr&)>& each);
  // What the kernel answered to a request that failed (errno(3)).
  int error_number() const noexcept { return error_number_; }

 private:
  struct Close {
    void operator()(mnl_socket* socket) const noexcept { mnl_socket_close(socket); }
  };
  explicit Netlink(mnl_socket* socket) : socket_(socket) {}
  Result<void> send(NetlinkRequest& request, std::string_view what);
  Failure failed(std::string_view what);

  std::unique_ptr<mnl_socket, Close> socket_;
  std::uint32_t sequence_ = 0;
  int error_number_ = 0;
};

}  // namespace sluice::netns
