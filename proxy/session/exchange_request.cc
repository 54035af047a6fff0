// The half of an exchange that goes to the origin.
#include <algorithm>

#include "proxy/session/at_once.h"
#include "proxy/session/exchange.h"
#include "proxy/session/meter.h"

namespace sluice::proxy {

void Exchange::append_chunk(std::string& out, std::string_view payload) {
  if (payload.empty()) return;
  out.append(wire::chunk_header(payload.size())).append(payload).append(wire::chunk_end);
}

std::string_view Exchange::carry_at_once(metrics::Direction direction,
                                         std::string_view bytes) noexcept {
  if (session_.agent->limits.meters(direction) || session_.deadline.is_beyond()) return bytes;
  const bool up = direction == metrics::Direction::up;
  const std::size_t size = write_at_once(up ? session_.origin : session_.socket, bytes);
  if (size == 0) return bytes;
  (up ? moved_.up : moved_.down) += size;
  count_written(session_, direction, size);
  return bytes.substr(size);
}

Task<bool> Exchange::carry_bytes(metrics::Direction direction, std::string_view bytes) {
  std::uint64_t& moved = direction == metrics::Direction::up ? moved_.up : moved_.down;
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

// A small body mostly comes with its head, and leaves with it.
void Exchange::take_whole_body(Order& order) {
  order.head_size = order.head.size();
  order.whole = order.body.framing == wire::Framing::none;
  const std::string_view held = session_.inbox.view();
  if (order.body.framing != wire::Framing::length || held.size() < order.body.length) return;
  const auto size = static_cast<std::size_t>(order.body.length);
  order.head.append(held.substr(0, size));
  session_.inbox.consume(size);
  order.whole = true;
}

Task<Exchange::Upload> Exchange::send_length(std::uint64_t left) {
  while (left > 0) {
    if (session_.inbox.empty()) {
      if (download_ended_) co_return Upload::origin_gone;
      const bool more = co_await session_.more();
      if (!more) co_return Upload::agent_gone;
    }
    const std::string_view held = session_.inbox.view();
    const std::string_view part =
        held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, held.size())));
    const std::string_view rest = carry_at_once(metrics::Direction::up, part);
    bool sent = rest.empty();
    if (!sent) sent = co_await carry_bytes(metrics::Direction::up, rest);
    if (!sent) co_return Upload::origin_gone;
    left -= part.size();
    session_.inbox.consume(part.size());
  }
  co_return Upload::sent;
}

// What is there of a chunked body, written anew.
Exchange::Taken Exchange::take_chunks(wire::ChunkedReader& reader, const Order& order,
                                      std::string& out) {
  while (!session_.inbox.empty()) {
    const auto step = reader.feed(session_.inbox.view());
    if (!step) {
      why_ = step.error().why;
      return Taken::broken;
    }
    append_chunk(out, step->payload);
    session_.inbox.consume(step->consumed);
    if (!step->done) continue;
    out.append(wire::end_of_chunks(reader.trailers(), order.hop_names));
    return Taken::whole;
  }
  return Taken::part;
}

Task<Exchange::Upload> Exchange::send_chunked(const Order& order) {
  wire::ChunkedReader reader(Reason::bad_request);
  for (;;) {
    std::string out;
    const Taken taken = take_chunks(reader, order, out);
    const std::string_view rest = carry_at_once(metrics::Direction::up, out);
    bool sent = rest.empty();
    if (!sent) sent = co_await carry_bytes(metrics::Direction::up, rest);
    if (taken == Taken::broken) co_return Upload::agent_broke_framing;
    if (!sent) co_return Upload::origin_gone;
    if (taken == Taken::whole) co_return Upload::sent;
    if (download_ended_) co_return Upload::origin_gone;
    const bool more = co_await session_.more();
    if (!more) co_return Upload::agent_gone;
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
