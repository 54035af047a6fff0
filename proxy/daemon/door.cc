#include "proxy/daemon/door.h"

#include <fmt/core.h>

#include "proxy/daemon/spawn.h"
#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

// Of a listener, where limits.connections_per_agent says nothing.
constexpr unsigned waiting_without_limit = 1024;

WaitingRoom::Limits waiting(const Config::Limits& limits) {
  const unsigned all =
      limits.connections_per_agent == 0 ? waiting_without_limit : limits.connections_per_agent;
  return {.all = all, .per_source = std::max(all / 4, 1U)};
}

bool has_all(const Worker& worker, const Agent& agent) noexcept {
  const unsigned most = worker.shared.limits.connections_per_agent;
  return most != 0 && std::cmp_greater_equal(agent.sessions.load(), most);
}

// In the account, with nothing answered: there is no protocol yet to say it in.
void note_denial(Worker& worker, const std::shared_ptr<Agent>& nobody, Reason reason,
                 std::string why) {
  const Gate gate(worker, nobody);
  Visit visit = gate.malformed(metrics::Via::http, "", reason);
  gate.refuse(visit, reason, std::move(why));
}

}  // namespace

Result<std::shared_ptr<Door>> Door::create(const Config::Listener& listener,
                                           std::shared_ptr<const TlsFront> tls,
                                           ListenerAgents& agents, const Config::Limits& limits) {
  std::shared_ptr<Door> door(new Door);
  const std::string address = listener.address.address.to_string();
  door->name_ = fmt::format(fmt::runtime(listener.address.address.is_v4() ? "{}:{}" : "[{}]:{}"),
                            address, listener.address.port);
  door->tls_ = std::move(tls);
  door->room_ = std::make_shared<WaitingRoom>(waiting(limits));
  door->nobody_ = agents.nobody();
  if (auto known = door->know_agents(listener, agents); !known) return Failure(known.error());
  return door;
}

Result<void> Door::know_agents(const Config::Listener& listener, ListenerAgents& agents) {
  using Listener = Config::Listener;
  if (const auto* fixed = std::get_if<Listener::Fixed>(&listener.who)) {
    fixed_ = agents.keep(fixed->agent);
  } else if (const auto* sources = std::get_if<Listener::BySource>(&listener.who)) {
    sources_.emplace();
    for (const auto& [range, name] : sources->agents) sources_->add(range, agents.keep(name));
  } else if (const auto* shown = std::get_if<Listener::ByPassword>(&listener.who)) {
    auto verifier = PasswordVerifier::create(shown->users);
    if (!verifier) return Failure(verifier.error());
    verifier_ = std::move(*verifier);
    auto passwords = std::make_shared<Passwords>();
    for (const auto& [name, hash] : shown->users)
      passwords->agents.emplace(name, agents.keep(name));
    passwords->verifier = verifier_.get();
    passwords->nobody = nobody_;
    passwords_ = std::move(passwords);
  } else {
    by_certificate_ = &agents;
  }
  return {};
}

bool Door::is_full(const Worker& worker) const noexcept {
  return fixed_ != nullptr && has_all(worker, *fixed_);
}

Door::Found Door::found(const Worker& worker, std::shared_ptr<Agent> agent) const {
  Found whom{std::move(agent), std::nullopt};
  if (has_all(worker, *whom.agent)) {
    whom.refused = {Reason::connection_limit, "limits.connections_per_agent is reached"};
  }
  return whom;
}

// Nobody, without a refusal: known later, by password or certificate.
Door::Found Door::find_at(const Worker& worker, const IpAddress& from) const {
  if (fixed_) return {fixed_, std::nullopt};
  if (!sources_) return {nobody_, std::nullopt};
  if (auto agent = sources_->find(from)) return found(worker, std::move(agent));
  return {nobody_, Caller::Refused{Reason::unknown_agent,
                                   fmt::format("no agent has the address {}", from.to_string())}};
}

Door::Found Door::find_by_certificate(const Worker& worker, const std::string& name) const {
  auto agent = by_certificate_->visit(name);
  if (agent) return found(worker, std::move(*agent));
  const Reason reason =
      agent.error().code == Errc::unavailable ? Reason::connection_limit : Reason::unknown_agent;
  return {nobody_, Caller::Refused{reason, std::move(agent.error().what)}};
}

void Door::receive(Worker& worker, Socket socket, const IpAddress& from) {
  if (fixed_ && !tls_) {
    Caller known{.from = from};
    spawn(worker.io, serve_caller(worker, fixed_, std::move(socket), std::move(known)));
    return;
  }
  Found whom = find_at(worker, from);
  Caller caller{.from = from, .refused = std::move(whom.refused), .passwords = passwords_};
  if (tls_ || !caller.is_settled()) {
    auto place = room_->enter(from);
    if (!place) {
      turn_out(worker, std::move(socket), from);
      return;
    }
    caller.place = std::move(*place);
  }
  if (!tls_) {
    spawn(worker.io, serve_caller(worker, whom.agent, std::move(socket), std::move(caller)));
    return;
  }
  Arrival arrival{std::move(socket), std::move(whom), std::move(caller)};
  spawn(worker.io, serve_tls(shared_from_this(), worker, std::move(arrival)));
}

void Door::turn_out(Worker& worker, Socket socket, const IpAddress& from) {
  ErrorCode ignored;
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  socket.close(ignored);
  const std::string why = fmt::format(
      "{} has too many connections on {} that do not show whose they are", from.to_string(), name_);
  note_denial(worker, nobody_, Reason::connection_limit, why);
  turned_out_.warn(why);
}

void Door::note_failed_handshake(Worker& worker, const IpAddress& from, const std::string& why) {
  const std::string sentence =
      fmt::format("TLS with {} on {} failed: {}", from.to_string(), name_, why);
  note_denial(worker, nobody_, Reason::auth_required, sentence);
  failed_handshakes_.warn(sentence);
}

Task<void> Door::serve_tls(std::shared_ptr<Door> self, Worker& worker, Arrival arrival) {
  Caller& caller = arrival.caller;
  auto accepted = co_await self->tls_->accept(worker, std::move(arrival.socket));
  if (!accepted) {
    self->note_failed_handshake(worker, caller.from, accepted.error());
    co_return;
  }
  if (self->by_certificate_ != nullptr) {
    arrival.whom = self->find_by_certificate(worker, accepted->agent);
    caller.refused = arrival.whom.refused;
  }
  caller.link = accepted->link;
  if (caller.is_settled()) caller.place.leave();
  // The session first: it must hear of it when the client's connection breaks.
  spawn(worker.io, serve_caller(worker, std::move(arrival.whom.agent), std::move(accepted->inside),
                                std::move(caller)));
  spawn(worker.io, pump(self, std::move(accepted->pumps)));
}

Task<void> Door::pump(std::shared_ptr<Door> self, Task<void> pumps) {
  ++self->fronts_;
  co_await std::move(pumps);
  --self->fronts_;
}

}  // namespace sluice::proxy
