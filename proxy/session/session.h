// One agent connection from accept to close: tells the protocol apart and hands it on.
#pragma once

#include <array>
#include <boost/intrusive/list.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "netns/handover.h"
#include "proxy/session/caller.h"
#include "proxy/session/gate.h"
#include "proxy/session/inbox.h"
#include "proxy/wheel.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// HTTP/1 requests, one after another, each judged anew. On the proxy port they name their target in
// absolute form; in a tunnel whose target is known they are in origin form and must name it.
struct HttpMode {
  metrics::Via via = metrics::Via::http;
  // Where the connection was going: a name that every request must name, or a port for hosts by
  // name.
  std::optional<allowlists::Target> fixed;
  std::optional<std::uint16_t> port;  // origin form is allowed when this is set
};

// Lives in the frame of serve() and never moves.
class Session : public boost::intrusive::list_base_hook<
                    boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Session(Worker& its_worker, std::shared_ptr<Agent> its_agent, Socket connection,
          Caller its_caller = {});
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Reads once into the inbox. False: the agent closed, broke off, or the deadline passed.
  Task<bool> more();
  // Writes all of it, within what is left of the deadline or else timeouts.idle. False: as above.
  Task<bool> say(std::string_view bytes);
  // Says the last word and closes so that it arrives: a close() with unread input would reset the
  // connection and could destroy the reply on its way. Reads and drops what still comes, bounded in
  // bytes and time; nothing of it is looked at.
  Task<void> say_and_close(std::string_view bytes);
  // The same when the last word was said already.
  Task<void> drain_and_close();
  // Ends the connection with a reset (SO_LINGER 0): for protocols without a word for refusal.
  void reset() noexcept;
  // From outside: the agent is gone or sluiced ends. Whatever waits wakes with an error.
  void break_off() noexcept;
  // From outside: the agent's policy may be another one. What it no longer allows ends with resets
  // and is in the account as policy_changed; the rest is not touched.
  void review() noexcept;

  // From now on the connection is `whom`'s. Nothing may be under way, and no connection to an
  // origin is kept: it is another agent's.
  void become(std::shared_ptr<Agent> whom) noexcept;

  // Takes what was dialled for `visit` as the origin.
  void connect(Dialled dialled, const Visit& visit);
  void drop_origin() noexcept;

  // Where an entrance let the agent in: what carry() goes on with, when the entrance's frames are
  // gone.
  std::unique_ptr<Visit> allowed;

  // What `origin` is connected to, for an open one.
  std::optional<Connected> connected;

  Worker& worker;
  std::shared_ptr<Agent> agent;  // changed by become() alone
  Gate gate;
  Caller caller;
  Socket socket;
  Socket origin;
  Inbox inbox;
  Deadline deadline;
  Visit* carrying = nullptr;   // whose bytes flow now, if any do: see Carrying
  std::uint64_t reviewed = 0;  // Worker::reviews_begun, when it was last reviewed
  bool broken_off = false;

  // Waits, or less long where wake() is called because one of the sockets is closed.
  Task<void> pause(Clock::duration wait, metrics::Direction direction);
  void wake() noexcept;
  // What wakes from now on, with those that pause; null: nothing.
  void waits_for_turn(metrics::Direction direction, Timer* timer) noexcept {
    pauses_[static_cast<std::size_t>(direction)] = timer;
  }

 private:
  void revoke() noexcept;
  void lose_agent() noexcept;
  std::array<Timer*, 2> pauses_{};  // by direction, of those that wait
};

// As long as it lives, the session's bytes are those of `visit`, and a review judges it. With null:
// of none.
class Carrying {
 public:
  Carrying(Session& session, Visit* visit) noexcept
      : session_(session), before_(std::exchange(session.carrying, visit)) {}
  ~Carrying() { session_.carrying = before_; }
  Carrying(const Carrying&) = delete;
  Carrying& operator=(const Carrying&) = delete;

 private:
  Session& session_;
  Visit* before_;
};

// Serves a connection that arrived on one of an agent's listeners, to its end.
Task<void> serve(Worker& worker, std::shared_ptr<Agent> agent, Socket socket, netns::Role role);

// Serves one that arrived on an explicit listener, where `agent` is who it is in the account of.
Task<void> serve_caller(Worker& worker, std::shared_ptr<Agent> agent, Socket socket, Caller caller);

// The entrances. Each returns when it has nothing more to do on the connection.
Task<void> serve_socks(Session& session);
Task<void> serve_connect(Session& session, const wire::RequestHead& head);
Task<void> serve_transparent(Session& session);

// A target by synthetic address becomes the name that address was given to; other targets stay as
// they are. False: an address of the synthetic ranges that no answer to this agent gave out.
bool resolve_synthetic(const Agent& agent, allowlists::Target& target);

// HTTP/1 requests as HttpMode has them.
// True: at least one of them, whole or broken, is in the account.
Task<bool> serve_http(Session& session, HttpMode mode);

// Session::allowed: checks what the agent says as the decision's tls mode asks, dials unless
// `origin` is already connected, relays, and closes the visit.
Task<void> carry(Session& session);

// What both sides say after the origin switched protocols (101): relayed to its end, which closes
// the visit; nothing of it is read as HTTP again. With `tls: match`, TLS inside must still name the
// host. `early` is what the origin said behind its 101.
Task<void> carry_upgraded(Session& session, Visit& visit, Inbox& early);

}  // namespace sluice::proxy
