// Watches a network namespace for a way out that was not there when it was made.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "netns/netlink.h"

namespace sluice::netns {

class WayOutWatch {
 public:
  // Two netlink sockets of the calling thread's network namespace: news of links and routes, and
  // questions. To be opened before the namespace is looked at, so that nothing falls between. They
  // keep the namespace alive.
  static Result<std::vector<Fd>> open_sockets();
  // With those two, in this or another process.
  static Result<WayOutWatch> adopt(Fd news, Fd questions);

  // Readable when something about links or routes has changed.
  int fd() const noexcept { return news_.get(); }
  // Takes the news, and looks at everything again: news may be lost (ENOBUFS), and one change can
  // be undone by the next. A sentence when there is a way out.
  Result<std::optional<std::string>> look();

 private:
  WayOutWatch(Fd news, Netlink questions)
      : news_(std::move(news)), questions_(std::move(questions)) {}

  Fd news_;
  Netlink questions_;
};

}  // namespace sluice::netns
