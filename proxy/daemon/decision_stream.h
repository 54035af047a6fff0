// Decisions as they come, as an event stream (WHATWG HTML, server-sent events).
#pragma once

#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <cstdint>
#include <string>

#include "metrics/recent.h"
#include "proxy/daemon/admin_query.h"
#include "proxy/net.h"

namespace sluice::proxy {

using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

// What one reader of the stream gets; pure. Bounded by what Recent keeps: whoever reads slower than
// decisions come hears `event: lost` and how many lines that were.
class DecisionEvents {
 public:
  // Begins with the `query.limit` newest decisions; 0 without a limit.
  DecisionEvents(const metrics::Recent& recent, DecisionQuery query);

  // The next events, about 64 KiB at most; "" while there are none.
  std::string next();

 private:
  const metrics::Recent& recent_;
  const DecisionQuery query_;
  metrics::Recent::Entries first_;
  std::uint64_t reached_ = 0;
};

// Writes the answer's head and its events until the reader is gone, or has taken nothing for a
// minute. `recent` outlives it.
Task<void> stream_decisions(asio::io_context& io, Descriptor& connection,
                            const metrics::Recent& recent, DecisionQuery query);

}  // namespace sluice::proxy
