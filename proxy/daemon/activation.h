// Listening sockets that the service manager made before it started sluiced (sd_listen_fds(3)).
#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::proxy {

// They stay open over a restart: whoever connects meanwhile waits, and is refused by nobody.
class Activation {
 public:
  // Those of $LISTEN_FDS, if $LISTEN_PID is this process; both are taken out of the environment.
  // Call once, with one thread. Errors: a descriptor that is no listening socket of sluiced's
  // kinds, or one for IPv6 that would take IPv4 callers as well.
  static Result<Activation> take();

  // The one at this place: a path, or Inheritance::address_text(). None:
  // it was not given, or is of another type (SOCK_STREAM, SOCK_SEQPACKET).
  Fd socket(int type, const std::string& address) noexcept;
  // An error when one is left that nobody asked for: its callers would wait for ever.
  Result<void> require_all_used() const;

 private:
  struct Listening {
    int type = 0;
    std::string address;
    Fd fd;
  };
  static Result<Listening> describe(Fd fd);

  std::vector<Listening> listening_;
};

}  // namespace sluice::proxy
