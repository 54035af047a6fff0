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

Task<bool> Exchange::to_agent(std::string_view bytes) {
  return carry_bytes(metrics::Direction::down, bytes, moved_.down);
}

Task<Exchange::Download> Exchange::pass_head(const Order& order, const wire::ResponseHead& head) {
  const bool interim = head.status < 200;
  const auto body = wire::response_body(order.method, head);
  if (!body) {
    why_ = body.error().why;
    co_return Download::broken_head;
  }
  dechunk_ = order.minor == 0 && body->framing == wire::Framing::chunked;
  const wire::BodyPlan sent = dechunk_ ? wire::BodyPlan{wire::Framing::until_close, 0} : *body;
  origin_may_stay_ = head.keeps_alive() && body->framing != wire::Framing::until_close &&
                     !may_have_sent_content(head);
  // An answer that comes before the whole request did leaves bytes behind that are no request.
  agent_may_stay_ = order.keep_alive && upload_sent_ && sent.framing != wire::Framing::until_close;
  const std::string date =
      interim || head.count("date") != 0 ? "" : wire::http_date(std::chrono::system_clock::now());
  const auto text = wire::forward_response_head({head, order.method, sent, order.upgrade, date},
                                                wire::KeepAlive(interim || agent_may_stay_));
  if (!text) {
    why_ = text.error().why;
    co_return Download::broken_head;
  }
  response_body_ = *body;
  response_hop_names_.clear();
  if (body->framing == wire::Framing::chunked) response_hop_names_ = wire::hop_names(head);
  if (interim && order.minor == 0) co_return Download::done;  // RFC 9110 15.2: unknown to HTTP/1.0
  const bool switches = head.status == 101;  // by forward_response_head(): as was offered
  if (!interim || switches) response_began_ = true;
  const std::uint64_t before = moved_.down;
  const bool whole = co_await to_agent(*text);
  if (moved_.down > before && !whole) response_began_ = true;  // nothing else can be said behind it
  if (!whole) co_return Download::cut_short;
  co_return switches ? Download::switched : Download::done;
}

Task<Exchange::Download> Exchange::pass_chunked() {
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
        if (!co_await to_agent(chunk)) co_return Download::cut_short;
      }
      from_origin_.consume(step->consumed);
      if (!step->done) continue;
      if (!dechunk_) {
        const std::string end = wire::end_of_chunks(reader.trailers(), response_hop_names_);
        if (!co_await to_agent(end)) co_return Download::cut_short;
      }
      co_return Download::done;
    }
    const ErrorCode error = co_await from_origin_.more(session_.origin);
    if (error) co_return Download::cut_short;
  }
}

Task<Exchange::Download> Exchange::pass_body() {
  if (response_body_.framing == wire::Framing::none) co_return Download::done;
  if (response_body_.framing == wire::Framing::chunked) co_return co_await pass_chunked();
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
    if (!co_await to_agent(part)) co_return Download::cut_short;
    left -= part.size();
    from_origin_.consume(part.size());
  }
  co_return Download::done;
}

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

Task<Exchange::Download> Exchange::hear_response(const Order& order) {
  std::size_t scanned = 0;
  for (bool anything = false;;) {
    const auto head = wire::parse_response_head(from_origin_.view(), response_limits, scanned);
    if (!head) {
      why_ = head.error().why;
      co_return Download::broken_head;
    }
    if (!*head) {
      const ErrorCode error = co_await from_origin_.more(session_.origin);
      if (error) {
        const bool nothing = !anything && from_origin_.empty();
        co_return nothing ? Download::nothing_came : Download::broken_head;
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
    const Download body = co_await pass_body();
    response_ended_ = body == Download::done;
    co_return body;
  }
}

}  // namespace sluice::proxy
