// The half of an exchange that goes to the origin.
#include <algorithm>

#include "proxy/session/exchange.h"
#include "proxy/session/meter.h"

namespace sluice::proxy {

Task<bool> Exchange::carry_bytes(metrics::Direction direction, std::string_view bytes,
                                 std::uint64_t& moved) {
  const Sent sent = co_await send(session_, direction, bytes, moved);
  if (sent == Sent::held_back) end_both();
  co_return sent == Sent::all;
}

// What waits for the other direction waits for nothing now.
void Exchange::end_both() noexcept {
  session_.wake();
  ErrorCode ignored;
  session_.origin.close(ignored);
  session_.socket.cancel(ignored);
}

Task<bool> Exchange::to_origin(std::string_view bytes) {
  return carry_bytes(metrics::Direction::up, bytes, moved_.up);
}

Task<Exchange::Upload> Exchange::send_length(std::uint64_t left) {
  while (left > 0) {
    if (session_.inbox.empty()) {
      if (download_ended_) co_return Upload::origin_gone;
      if (!co_await session_.more()) co_return Upload::agent_gone;
    }
    const std::string_view held = session_.inbox.view();
    const std::string_view part =
        held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, held.size())));
    if (!co_await to_origin(part)) co_return Upload::origin_gone;
    left -= part.size();
    session_.inbox.consume(part.size());
  }
  co_return Upload::sent;
}

Task<Exchange::Upload> Exchange::send_chunked(const Order& order) {
  wire::ChunkedReader reader(Reason::bad_request);
  for (;;) {
    while (!session_.inbox.empty()) {
      const auto step = reader.feed(session_.inbox.view());
      if (!step) {
        why_ = step.error().why;
        co_return Upload::agent_broke_framing;
      }
      if (!step->payload.empty()) {
        const std::string chunk =
            wire::chunk_header(step->payload.size()).append(step->payload).append(wire::chunk_end);
        if (!co_await to_origin(chunk)) co_return Upload::origin_gone;
      }
      session_.inbox.consume(step->consumed);
      if (step->done) {
        const std::string end = wire::end_of_chunks(reader.trailers(), order.hop_names);
        co_return co_await to_origin(end) ? Upload::sent : Upload::origin_gone;
      }
    }
    if (download_ended_) co_return Upload::origin_gone;
    if (!co_await session_.more()) co_return Upload::agent_gone;
  }
}

Task<Exchange::Upload> Exchange::send_body(const Order& order) {
  switch (order.body.framing) {
    case wire::Framing::length:
      co_return co_await send_length(order.body.length);
    case wire::Framing::chunked:
      co_return co_await send_chunked(order);
    case wire::Framing::none:
    case wire::Framing::until_close:  // never of a request
      break;
  }
  co_return Upload::sent;
}

Task<Exchange::Upload> Exchange::upload(const Order& order) {
  Upload result = co_await send_body(order);
  // Woken because the response is over: the agent is still there, it only did not send the rest.
  if (download_ended_ && result == Upload::agent_gone) result = Upload::origin_gone;
  upload_ended_ = true;
  upload_sent_ = result == Upload::sent;
  // An origin that stopped reading may still have an answer. An agent that is gone or
  // unintelligible will never complete the request, and no answer to half of it may be passed on.
  if (result == Upload::agent_gone || result == Upload::agent_broke_framing) {
    session_.wake();
    ErrorCode ignored;
    session_.origin.close(ignored);
  }
  co_return result;
}

}  // namespace sluice::proxy
