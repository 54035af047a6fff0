#include "proxy/session/exchange.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <cerrno>
#include <limits>

#include "proxy/session/meter.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/response_head.h"
#include "proxy/wire/upgrade.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

// RFC 9110 9.2.2: a proxy must not send any other request a second time on its own.
bool is_idempotent(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

}  // namespace

void Exchange::drop_origin() noexcept {
  session_.drop_origin();
  from_origin_.release();
}

// Bytes that came unasked would be taken for the next response, and an end of file means that a
// request would be lost: either way the kept connection is not used again.
bool Exchange::origin_is_quiet() noexcept {
  char byte = 0;
  const ssize_t size = ::recv(session_.origin.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

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

Task<bool> Exchange::to_origin(std::string_view bytes, std::uint64_t& moved) {
  return carry_bytes(metrics::Direction::up, bytes, moved);
}

Task<bool> Exchange::to_agent(std::string_view bytes, std::uint64_t& moved) {
  return carry_bytes(metrics::Direction::down, bytes, moved);
}

Task<bool> Exchange::more_from_origin() {
  const ErrorCode error = co_await from_origin_.more(session_.origin);
  co_return !error;
}

// --- the request
// -----------------------------------------------------------------------------------------

Task<Exchange::Upload> Exchange::send_length(std::uint64_t left, std::uint64_t& moved) {
  while (left > 0) {
    if (session_.inbox.empty()) {
      if (download_ended_) co_return Upload::origin_gone;
      if (!co_await session_.more()) co_return Upload::agent_gone;
    }
    const std::string_view held = session_.inbox.view();
    const std::string_view part =
        held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, held.size())));
    if (!co_await to_origin(part, moved)) co_return Upload::origin_gone;
    left -= part.size();
    session_.inbox.consume(part.size());
  }
  co_return Upload::sent;
}

Task<Exchange::Upload> Exchange::send_chunked(std::uint64_t& moved) {
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
        if (!co_await to_origin(chunk, moved)) co_return Upload::origin_gone;
      }
      session_.inbox.consume(step->consumed);
      if (step->done) {
        co_return co_await to_origin(wire::last_chunk, moved) ? Upload::sent : Upload::origin_gone;
      }
    }
    if (download_ended_) co_return Upload::origin_gone;
    if (!co_await session_.more()) co_return Upload::agent_gone;
  }
}

Task<Exchange::Upload> Exchange::send_body(const Order& order, std::uint64_t& moved) {
  switch (order.body.framing) {
    case wire::Framing::length:
      co_return co_await send_length(order.body.length, moved);
    case wire::Framing::chunked:
      co_return co_await send_chunked(moved);
    case wire::Framing::none:
    case wire::Framing::until_close:  // never of a request
      break;
  }
  co_return Upload::sent;
}

Task<Exchange::Upload> Exchange::upload(const Order& order, std::uint64_t& moved) {
  Upload result = co_await send_body(order, moved);
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

// --- the response
// ----------------------------------------------------------------------------------------

Task<Exchange::Download> Exchange::pass_head(const Order& order, const wire::ResponseHead& head) {
  const bool interim = head.status < 200;
  const auto body = wire::response_body(order.method, head);
  if (!body) {
    why_ = body.error().why;
    co_return Download::broken_head;
  }
  dechunk_ = order.minor == 0 && body->framing == wire::Framing::chunked;
  const wire::BodyPlan sent = dechunk_ ? wire::BodyPlan{wire::Framing::until_close, 0} : *body;
  origin_may_stay_ = head.keeps_alive() && body->framing != wire::Framing::until_close;
  // An answer that comes before the whole request did leaves bytes behind that are no request.
  agent_may_stay_ = order.keep_alive && upload_sent_ && sent.framing != wire::Framing::until_close;
  const auto text = wire::forward_response_head({head, order.method, sent, order.upgrade},
                                                wire::KeepAlive(interim || agent_may_stay_));
  if (!text) {
    why_ = text.error().why;
    co_return Download::broken_head;
  }
  response_body_ = *body;
  if (interim && order.minor == 0) co_return Download::done;  // RFC 9110 15.2: unknown to HTTP/1.0
  const bool switches = head.status == 101;  // by forward_response_head(): as was offered
  if (!interim || switches) response_began_ = true;
  std::uint64_t sent_of_it = 0;
  const bool whole = co_await to_agent(*text, sent_of_it);
  if (sent_of_it > 0 && !whole) response_began_ = true;  // nothing else can be said behind it
  if (!whole) co_return Download::cut_short;
  co_return switches ? Download::switched : Download::done;
}

Task<Exchange::Download> Exchange::pass_chunked(std::uint64_t& moved) {
  wire::ChunkedReader reader(Reason::unreachable);
  for (;;) {
    while (!from_origin_.empty()) {
      const auto step = reader.feed(from_origin_.view());
      if (!step) co_return Download::cut_short;
      if (!step->payload.empty()) {
        const std::string chunk = dechunk_ ? std::string(step->payload)
                                           : wire::chunk_header(step->payload.size())
                                                 .append(step->payload)
                                                 .append(wire::chunk_end);
        if (!co_await to_agent(chunk, moved)) co_return Download::cut_short;
      }
      from_origin_.consume(step->consumed);
      if (!step->done) continue;
      if (!dechunk_) {
        if (!co_await to_agent(wire::last_chunk, moved)) co_return Download::cut_short;
      }
      co_return Download::done;
    }
    if (!co_await more_from_origin()) co_return Download::cut_short;
  }
}

Task<Exchange::Download> Exchange::pass_body(std::uint64_t& moved) {
  if (response_body_.framing == wire::Framing::none) co_return Download::done;
  if (response_body_.framing == wire::Framing::chunked) co_return co_await pass_chunked(moved);
  const bool bounded = response_body_.framing == wire::Framing::length;
  std::uint64_t left = bounded ? response_body_.length : std::numeric_limits<std::uint64_t>::max();
  while (left > 0) {
    if (from_origin_.empty()) {
      const ErrorCode error = co_await from_origin_.more(session_.origin);
      if (error == asio::error::eof && !bounded) co_return Download::done;
      if (error) co_return Download::cut_short;
    }
    const std::string_view held = from_origin_.view();
    const std::string_view part =
        held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left, held.size())));
    if (!co_await to_agent(part, moved)) co_return Download::cut_short;
    left -= part.size();
    from_origin_.consume(part.size());
  }
  co_return Download::done;
}

Task<Exchange::Download> Exchange::download(const Order& order, std::uint64_t& moved) {
  const Download result = co_await hear_response(order, moved);
  download_ended_ = true;
  if (!upload_ended_) {
    // Answered or broken without the rest of the request: nobody wants it any more, neither from an
    // agent that waits with it (Expect: 100-continue) nor towards an origin that does not read it.
    end_both();
  }
  co_return result;
}

Task<Exchange::Download> Exchange::hear_response(const Order& order, std::uint64_t& moved) {
  std::size_t scanned = 0;
  for (bool anything = false;;) {
    const auto head = wire::parse_response_head(from_origin_.view(), {}, scanned);
    if (!head) {
      why_ = head.error().why;
      co_return Download::broken_head;
    }
    if (!*head) {
      if (!co_await more_from_origin()) {
        co_return anything || !from_origin_.empty() ? Download::broken_head
                                                    : Download::nothing_came;
      }
      continue;
    }
    anything = true;
    const Download passed = co_await pass_head(order, **head);
    from_origin_.consume((*head)->size);
    if (passed != Download::done) co_return passed;
    const bool interim = (*head)->status < 200;
    scanned = 0;
    if (interim) continue;
    const Download body = co_await pass_body(moved);
    response_ended_ = body == Download::done;
    co_return body;
  }
}

// --- both
// ------------------------------------------------------------------------------------------------

Task<bool> Exchange::refuse(Visit& visit, const Order& order, Trouble trouble) {
  drop_origin();
  const auto refusal = session_.gate.refuse(visit, trouble.reason, std::move(trouble.why));
  const wire::KeepAlive keep(order.keep_alive && order.body.framing == wire::Framing::none);
  const std::string reply =
      wire::http_refusal(refusal, order.as_json, keep, wire::ForHead(order.method == "HEAD"));
  if (keep) co_return co_await session_.say(reply);
  co_await session_.say_and_close(reply);
  co_return false;
}

// The address was judged when it was dialled; another policy is asked again.
bool Exchange::may_reuse_origin(const Visit& visit, const allowlists::Target& target) {
  if (!session_.connected || !session_.origin.is_open()) return false;
  Session::Connected& origin = *session_.connected;
  if (origin.target != target) return false;
  if (origin.judged_by.lock() == visit.policy) return true;
  if (!session_.gate.may_reuse(visit, origin.address)) return false;
  origin.judged_by = visit.policy;
  return true;
}

Task<std::optional<Exchange::Trouble>> Exchange::dial_origin(Visit& visit,
                                                             const allowlists::Target& target) {
  drop_origin();
  Dialled dialled = co_await session_.gate.dial(visit, target);
  if (!dialled.connected) co_return Trouble{dialled.reason, std::move(dialled.why)};
  // Nothing more is sent for an agent that went while the origin was dialled.
  if (session_.broken_off) co_return Trouble{Reason::unreachable, "the agent is gone"};
  session_.connect(std::move(dialled), visit);
  co_return std::nullopt;
}

// The connection is no longer HTTP: false, always.
Task<bool> Exchange::carry_on(Visit& visit) {
  co_await carry_upgraded(session_, visit, from_origin_);
  drop_origin();
  co_return false;
}

Task<bool> Exchange::converse(Visit& visit, const Order& order, const allowlists::Target& target) {
  if (session_.origin.is_open() && !origin_is_quiet()) drop_origin();
  const bool reused = may_reuse_origin(visit, target);
  if (!reused) {
    auto trouble = co_await dial_origin(visit, target);
    if (trouble) co_return co_await refuse(visit, order, std::move(*trouble));
  }
  why_.clear();
  response_began_ = response_ended_ = upload_ended_ = upload_sent_ = download_ended_ = false;
  agent_may_stay_ = origin_may_stay_ = false;
  session_.deadline.arm(session_.worker.shared.timeouts.idle);
  std::uint64_t up = 0;
  std::uint64_t down = 0;
  Upload sent = Upload::origin_gone;
  Download got = Download::nothing_came;
  if (co_await to_origin(order.head, up)) {
    std::tie(sent, got) = co_await (upload(order, up) && download(order, down));
  }
  session_.deadline.disarm();
  visit.line.bytes_up += up;
  visit.line.bytes_down += down;
  if (got == Download::switched) co_return co_await carry_on(visit);
  if (response_ended_) {
    session_.gate.close(visit);
    // Bytes behind the response answer nothing that was asked: not on this connection again.
    if (!origin_may_stay_ || sent != Upload::sent || !from_origin_.empty()) drop_origin();
    co_return agent_may_stay_&& sent == Upload::sent;
  }
  if (visit.spent && !response_began_) {
    Trouble trouble{*visit.spent, "the budget ran out while bytes flowed"};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  const bool nobody_heard = got == Download::nothing_came && !response_began_;
  if (reused && nobody_heard && is_idempotent(order.method) &&
      order.body.framing == wire::Framing::none && !session_.broken_off &&
      !session_.deadline.expired()) {
    // RFC 9112 9.3.1: a kept connection may have been closed as we wrote; once more on a fresh one.
    drop_origin();
    co_return co_await converse(visit, order, target);
  }
  if (sent == Upload::agent_broke_framing && !response_began_) {
    Trouble trouble{Reason::bad_request, why_};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  if (response_began_ || sent == Upload::agent_gone || session_.broken_off) {
    // The agent learns of a cut response by a cut connection: nothing else would be true.
    if (!visit.revoked && !visit.spent) visit.line.error = "the response was cut short";
    session_.gate.close(visit);
    session_.reset();
    co_return false;
  }
  Trouble trouble{Reason::unreachable, why_};
  if (session_.deadline.expired()) trouble = {Reason::connect_timeout, "the origin did not answer"};
  if (trouble.why.empty()) trouble.why = "the origin closed the connection without an answer";
  co_return co_await refuse(visit, order, std::move(trouble));
}

Task<bool> Exchange::run(Visit& visit, const wire::RequestHead& head,
                         const allowlists::Target& target, std::string_view origin_form) {
  Order order{.method = std::string(head.method),
              .minor = head.minor,
              .keep_alive = head.keeps_alive(),
              .as_json = wire::wants_json(head),
              .size = head.size};
  const auto body = wire::request_body(head);
  if (!body) {
    order.keep_alive = false;
    Trouble trouble{body.error().reason, body.error().why};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  order.body = *body;
  auto text = wire::offered_protocols(head, *body);
  if (text) {
    order.upgrade = std::move(*text);
    text = wire::forward_request_head({.head = head,
                                       .target = target,
                                       .origin_form = origin_form,
                                       .body = *body,
                                       .loop_token = session_.worker.shared.loop_token,
                                       .upgrade = order.upgrade});
  }
  if (!text) {
    order.keep_alive = false;
    Trouble trouble{text.error().reason, text.error().why};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  order.head = std::move(*text);
  session_.inbox.consume(order.size);
  co_return co_await converse(visit, order, target);
}

}  // namespace sluice::proxy
