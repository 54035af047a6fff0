// The half of an exchange that comes from the origin.
#include <algorithm>
#include <limits>

#include "proxy/session/exchange.h"
#include "proxy/wire/date.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/response_head.h"

namespace sluice::proxy {
namespace {

// What an origin's head may be, whatever is configured for the heads of agents.
constexpr wire::HeadLimits response_limits{.bytes = 65536, .fields = 128};

// No content may follow these (RFC 9110 6.4.1), but the fields say that it might have been sent.
bool may_have_sent_content(const wire::ResponseHead& head) {
  if (head.status != 204) return false;
  return head.count("transfer-encoding") != 0 || wire::content_length(head).value_or(0) != 0;
}

}  // namespace

// What becomes of the body behind a head that was passed on.
void Exchange::plan_body(const wire::ResponseHead& head, wire::BodyPlan body) {
  response_body_ = body;
  response_hop_names_.clear();
  chunks_.reset();
  left_ = body.framing == wire::Framing::length ? body.length
                                                : std::numeric_limits<std::uint64_t>::max();
  if (body.framing != wire::Framing::chunked) return;
  response_hop_names_ = wire::hop_names(head);
  chunks_.emplace(Reason::unreachable);
}

// The head for the agent; nothing where it is told nothing.
std::optional<Exchange::Download> Exchange::write_head(const Order& order,
                                                       const wire::ResponseHead& head,
                                                       std::string& out) {
  const bool interim = head.status < 200;
  const auto body = wire::response_body(order.method, head);
  if (!body) {
    why_ = body.error().why;
    return Download::broken_head;
  }
  dechunk_ = order.minor == 0 && body->framing == wire::Framing::chunked;
  const wire::BodyPlan sent = dechunk_ ? wire::BodyPlan{wire::Framing::until_close, 0} : *body;
  origin_may_stay_ = head.keeps_alive() && body->framing != wire::Framing::until_close &&
                     !may_have_sent_content(head);
  // An answer that comes before the whole request did leaves bytes behind that are no request.
  agent_may_stay_ = order.keep_alive && upload_sent_ && sent.framing != wire::Framing::until_close;
  const std::string date =
      interim || head.count("date") != 0 ? "" : wire::http_date(std::chrono::system_clock::now());
  auto text = wire::forward_response_head({head, order.method, sent, order.upgrade, date},
                                          wire::KeepAlive(interim || agent_may_stay_));
  if (!text) {
    why_ = text.error().why;
    return Download::broken_head;
  }
  plan_body(head, *body);
  if (interim && order.minor == 0) return std::nullopt;  // RFC 9110 15.2: unknown to HTTP/1.0
  out = std::move(*text);
  const bool switches = head.status == 101;  // by forward_response_head(): as was offered
  if (!interim || switches) response_began_ = true;
  return std::nullopt;
}

Exchange::Taken Exchange::take_chunks(std::string& out) {
  while (!from_origin_.empty()) {
    const auto step = chunks_->feed(from_origin_.view());
    if (!step) return Taken::broken;
    if (dechunk_) {
      out.append(step->payload);
    } else {
      append_chunk(out, step->payload);
    }
    from_origin_.consume(step->consumed);
    if (!step->done) continue;
    if (!dechunk_) out.append(wire::end_of_chunks(chunks_->trailers(), response_hop_names_));
    return Taken::whole;
  }
  return Taken::part;
}

// What came of the body with the head, which leaves with it.
Exchange::Taken Exchange::take_body(std::string& out) {
  if (response_body_.framing == wire::Framing::none) return Taken::whole;
  if (response_body_.framing == wire::Framing::chunked) return take_chunks(out);
  const std::string_view held = from_origin_.view();
  const std::string_view part =
      held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, held.size())));
  out.append(part);
  left_ -= part.size();
  from_origin_.consume(part.size());
  return left_ == 0 ? Taken::whole : Taken::part;
}

Task<Exchange::Download> Exchange::pass_chunked() {
  for (;;) {
    const auto [error, size] = co_await session_.origin.async_read_some(from_origin_.room());
    from_origin_.add(size);
    if (error) co_return Download::cut_short;
    std::string out;
    const Taken taken = take_chunks(out);
    const std::string_view rest = carry_at_once(metrics::Direction::down, out);
    bool sent = rest.empty();
    if (!sent) sent = co_await carry_bytes(metrics::Direction::down, rest);
    if (!sent || taken == Taken::broken) co_return Download::cut_short;
    if (taken == Taken::whole) co_return Download::done;
  }
}

// `left_` bytes from the origin to the agent: the only place where a body moves as it is.
Task<Exchange::Download> Exchange::pass_bytes() {
  const bool bounded = response_body_.framing == wire::Framing::length;
  while (left_ > 0) {
    const auto [error, size] = co_await session_.origin.async_read_some(from_origin_.room());
    from_origin_.add(size);
    if (error == asio::error::eof && !bounded) co_return Download::done;
    if (error) co_return Download::cut_short;
    const std::string_view held = from_origin_.view();
    const std::string_view part =
        held.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, held.size())));
    const std::string_view rest = carry_at_once(metrics::Direction::down, part);
    bool sent = rest.empty();
    if (!sent) sent = co_await carry_bytes(metrics::Direction::down, rest);
    if (!sent) co_return Download::cut_short;
    left_ -= part.size();
    from_origin_.consume(part.size());
  }
  co_return Download::done;
}

Task<Exchange::Download> Exchange::pass_body() { return chunks_ ? pass_chunked() : pass_bytes(); }

Task<Exchange::Download> Exchange::download(const Order& order) {
  const Download result = co_await hear_response(order);
  download_ended_ = true;
  if (!upload_ended_) {
    // Answered or broken without the rest of the request: nobody wants it any more, neither from an
    // agent that waits with it (Expect: 100-continue) nor towards an origin that does not read it.
    end_both();
  }
  co_return result;
}

// A head, when it is whole, and what came with it.
std::optional<Exchange::Download> Exchange::take_head(const Order& order, std::size_t& scanned,
                                                      Reply& reply) {
  const auto head = wire::parse_response_head(from_origin_.view(), response_limits, scanned);
  if (!head) {
    why_ = head.error().why;
    return Download::broken_head;
  }
  if (!*head) return std::nullopt;
  scanned = 0;
  if (const auto failed = write_head(order, **head, reply.text)) return failed;
  reply.status = (*head)->status;
  from_origin_.consume((*head)->size);
  if (reply.status >= 200) reply.taken = take_body(reply.text);
  return std::nullopt;
}

Task<Exchange::Download> Exchange::hear_response(const Order& order) {
  std::size_t scanned = 0;
  for (bool anything = false;;) {
    Reply reply;
    const auto failed = take_head(order, scanned, reply);
    if (failed) co_return *failed;
    if (reply.status == 0) {
      const auto [error, size] = co_await session_.origin.async_read_some(from_origin_.room());
      from_origin_.add(size);
      if (!error) continue;
      const bool nothing = !anything && from_origin_.empty();
      co_return nothing ? Download::nothing_came : Download::broken_head;
    }
    anything = true;
    const std::uint64_t before = moved_.down;
    const std::string_view rest = carry_at_once(metrics::Direction::down, reply.text);
    bool sent = rest.empty();
    if (!sent) sent = co_await carry_bytes(metrics::Direction::down, rest);
    // Nothing else can be said behind a part of it.
    if (!sent && moved_.down > before) response_began_ = true;
    if (!sent) co_return Download::cut_short;
    if (reply.text.empty()) continue;
    if (reply.status == 101) co_return Download::switched;
    if (reply.status < 200) continue;
    Download end = reply.taken == Taken::whole ? Download::done : Download::cut_short;
    if (reply.taken == Taken::part) end = co_await pass_body();
    response_ended_ = end == Download::done;
    co_return end;
  }
}

}  // namespace sluice::proxy
