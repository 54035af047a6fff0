// What becomes of a request: whose connection carries it, and what is said when that fails.
#include "proxy/session/exchange.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "proxy/wire/forward.h"
#include "proxy/wire/upgrade.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

using namespace std::chrono_literals;

// Servers close idle connections after 5 s or more. A request that cannot be sent again takes only
// one that is younger, with room for a slow way there: it would be lost on one that is just closed.
constexpr auto fresh = 2s;

// RFC 9110 9.2.2: a proxy must not send any other request a second time on its own.
bool is_idempotent(std::string_view method) noexcept {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

}  // namespace

bool Exchange::may_try_again(const Order& order) const noexcept {
  return is_idempotent(order.method) && order.body.framing == wire::Framing::none;
}

void Exchange::drop_origin() noexcept {
  session_.drop_origin();
  from_origin_.release();
}

// To the agent's pool. A policy that came meanwhile has had its review of the pool already.
void Exchange::leave_origin() {
  const bool judged =
      session_.connected &&
      (session_.connected->was_judged_by(session_.agent->rules()) ||
       session_.gate.may_keep(session_.connected->target, session_.connected->address));
  if (!judged || session_.broken_off) {
    drop_origin();
    return;
  }
  OriginPool::Kept kept{std::move(session_.origin), std::move(*session_.connected)};
  session_.connected.reset();
  session_.worker.origins.park(session_.agent, std::move(kept));
}

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

Task<bool> Exchange::answer_options(Visit& visit, const Order& order) {
  session_.gate.close(visit);
  const wire::KeepAlive keep(order.keep_alive && order.body.framing == wire::Framing::none);
  const std::string reply = wire::http_options_answer(keep);
  if (keep) co_return co_await session_.say(reply);
  co_await session_.say_and_close(reply);
  co_return false;
}

// The address was judged when it was dialled; another policy is asked again.
bool Exchange::may_reuse_origin(const Visit& visit, const allowlists::Target& target) {
  if (!session_.connected || !session_.origin.is_open()) return false;
  Connected& origin = *session_.connected;
  if (origin.target != target) return false;
  if (origin.was_judged_by(visit.rules)) return true;
  if (!session_.gate.may_reuse(visit, origin.address)) return false;
  origin.judged_by = visit.rules;
  return true;
}

// One that nobody has to dial: the session's own, or one that the agent kept.
bool Exchange::have_origin(Visit& visit, const Order& order, const allowlists::Target& target) {
  if (!session_.origin.is_open() || !is_quiet(session_.origin)) {
    drop_origin();
    OriginPool& pool = session_.worker.origins;
    const auto at_most = may_try_again(order) ? pool.bounds().idle_life : fresh;
    auto kept = pool.take(*session_.agent, target, at_most);
    if (!kept) return false;
    session_.origin = std::move(kept->socket);
    session_.connected.emplace(std::move(kept->connected));
  }
  if (!may_reuse_origin(visit, target)) return false;
  const IpAddress& address = session_.connected->address;
  if (address != IpAddress()) visit.line.address = address.to_string();
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

void Exchange::begin_attempt() noexcept {
  why_.clear();
  moved_ = {};
  sent_ = Upload::origin_gone;
  got_ = Download::nothing_came;
  response_began_ = response_ended_ = upload_ended_ = upload_sent_ = download_ended_ = false;
  agent_may_stay_ = origin_may_stay_ = false;
  session_.deadline.arm(session_.worker.shared.timeouts.idle);
}

// Sends the request and hears what comes of it, on a connected origin. One coroutine where nothing
// of the request is left to read; an origin that took its head may have an answer to it, though it
// did not take the rest.
Task<void> Exchange::attempt(const Order& order) {
  const std::string_view rest = carry_at_once(metrics::Direction::up, order.head);
  bool sent = rest.empty();
  if (!sent) sent = co_await carry_bytes(metrics::Direction::up, rest);
  if (!order.whole) {
    if (sent) std::tie(sent_, got_) = co_await (upload(order) && download(order));
    co_return;
  }
  sent_ = sent ? Upload::sent : Upload::origin_gone;
  upload_ended_ = true;
  upload_sent_ = sent;
  if (moved_.up >= order.head_size) got_ = co_await hear_response(order);
}

void Exchange::end_attempt(Visit& visit) noexcept {
  session_.deadline.disarm();
  visit.line.bytes_up += moved_.up;
  visit.line.bytes_down += moved_.down;
}

// RFC 9112 9.3.1: a kept connection may have been closed as we wrote; once more on a fresh one.
bool Exchange::is_worth_another(const Visit& visit, const Order& order) const noexcept {
  const bool nobody_heard = got_ == Download::nothing_came && !response_began_ &&
                            sent_ != Upload::agent_gone && !visit.spent;
  return nobody_heard && may_try_again(order) && !session_.broken_off &&
         !session_.deadline.expired();
}

Exchange::Trouble Exchange::trouble_of_origin() const {
  if (Clock::now() >= session_.deadline.end()) {
    return {Reason::connect_timeout, "the connection reached the end of its life"};
  }
  if (session_.deadline.expired()) return {Reason::connect_timeout, "the origin did not answer"};
  if (!why_.empty()) return {Reason::unreachable, why_};
  return {Reason::unreachable, "the origin closed the connection without an answer"};
}

// The response is over. True: the agent may ask for more.
bool Exchange::finish(Visit& visit) {
  session_.gate.close(visit);
  // Bytes behind the response answer nothing that was asked: not on this connection again.
  const bool clean = sent_ == Upload::sent && from_origin_.empty();
  if (clean && origin_may_stay_) {
    leave_origin();
  } else {
    drop_origin();
  }
  from_origin_.release();
  return agent_may_stay_ && sent_ == Upload::sent;
}

Task<bool> Exchange::conclude(Visit& visit, const Order& order) {
  if (got_ == Download::switched) co_return co_await carry_on(visit);
  if (visit.spent && !response_began_) {
    Trouble trouble{*visit.spent, "the budget ran out while bytes flowed"};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  if (sent_ == Upload::agent_broke_framing && !response_began_) {
    Trouble trouble{Reason::bad_request, why_};
    co_return co_await refuse(visit, order, std::move(trouble));
  }
  if (response_began_ || sent_ == Upload::agent_gone || session_.broken_off) {
    // The agent learns of a cut response by a cut connection: nothing else would be true.
    if (!visit.revoked && !visit.spent) {
      visit.line.error = Clock::now() >= session_.deadline.end()
                             ? "the connection reached the end of its life"
                             : "the response was cut short";
    }
    session_.gate.close(visit);
    session_.reset();
    co_return false;
  }
  Trouble trouble = trouble_of_origin();
  co_return co_await refuse(visit, order, std::move(trouble));
}

std::optional<Exchange::Trouble> Exchange::read_order(const wire::RequestHead& head, Order& order) {
  order.method = head.method;
  order.minor = head.minor;
  order.as_json = wire::wants_json(head);
  const auto body = wire::request_body(head);
  if (!body) return Trouble{body.error().reason, body.error().why};
  order.body = *body;
  if (body->framing == wire::Framing::chunked) order.hop_names = wire::hop_names(head);
  auto protocols = wire::offered_protocols(head, *body);
  if (!protocols) return Trouble{protocols.error().reason, protocols.error().why};
  order.upgrade = std::move(*protocols);
  order.keep_alive = head.keeps_alive();
  return std::nullopt;
}

std::optional<Exchange::Trouble> Exchange::plan(const wire::RequestHead& head,
                                                const allowlists::Target& target,
                                                std::string_view origin_form, Order& order) {
  if (auto trouble = read_order(head, order)) return trouble;
  const auto hops = wire::max_forwards(head);
  order.is_for_us = hops && *hops && **hops == 0;
  if (!order.is_for_us) {
    auto text = wire::forward_request_head({.head = head,
                                            .target = target,
                                            .origin_form = origin_form,
                                            .body = order.body,
                                            .loop_token = session_.worker.shared.loop_token,
                                            .upgrade = order.upgrade});
    if (!text) {
      order.keep_alive = false;
      return Trouble{text.error().reason, text.error().why};
    }
    order.head = std::move(*text);
  }
  session_.inbox.consume(head.size);
  if (!order.is_for_us) take_whole_body(order);
  return std::nullopt;
}

Task<bool> Exchange::run(Visit& visit, const wire::RequestHead& head,
                         const allowlists::Target& target, std::string_view origin_form) {
  Order order;
  if (auto trouble = plan(head, target, origin_form, order)) {
    co_return co_await refuse(visit, order, std::move(*trouble));
  }
  if (order.is_for_us) co_return co_await answer_options(visit, order);
  for (bool kept = have_origin(visit, order, target);; kept = false) {
    if (!kept) {
      auto trouble = co_await dial_origin(visit, target);
      if (trouble) co_return co_await refuse(visit, order, std::move(*trouble));
    }
    begin_attempt();
    co_await attempt(order);
    end_attempt(visit);
    if (!kept || !is_worth_another(visit, order)) break;
  }
  if (response_ended_) co_return finish(visit);
  co_return co_await conclude(visit, order);
}

}  // namespace sluice::proxy
