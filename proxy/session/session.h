// One agent connection from accept to close: tells the protocol apart and hands it on.
#pragma once

#include <boost/intrusive/list.hpp>
#include <memory>
#include <optional>
#include <string>

#include "netns/handover.h"
#include "proxy/session/gate.h"
#include "proxy/session/inbox.h"
#include "proxy/wheel.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// Lives in the frame of serve() and never moves.
class Session : public boost::intrusive::list_base_hook<
                    boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  Session(Worker& its_worker, std::shared_ptr<Agent> its_agent, Socket connection);
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

  Worker& worker;
  const std::shared_ptr<Agent> agent;
  Gate gate;
  Socket socket;
  Socket origin;
  Inbox inbox;
  Deadline deadline;
  bool broken_off = false;
};

// Serves a connection that arrived on one of an agent's listeners, to its end.
Task<void> serve(Worker& worker, std::shared_ptr<Agent> agent, Socket socket, netns::Role role);

// The entrances. Each returns when it has nothing more to do on the connection.
Task<void> serve_socks(Session& session);
Task<void> serve_connect(Session& session, const wire::RequestHead& head);
Task<void> serve_transparent(Session& session);

// A target by synthetic address becomes the name that address was given to; other targets stay as
// they are. Nothing: an address of the synthetic ranges that no answer to this agent gave out.
std::optional<allowlists::Target> resolve_synthetic(const Agent& agent,
                                                    const allowlists::Target& target);

// HTTP/1 requests, one after another, each judged anew. On the proxy port they name their target in
// absolute form; in a tunnel whose target is known they are in origin form and must name it.
struct HttpMode {
  metrics::Via via = metrics::Via::http;
  // Where the connection was going: a name that every request must name, or a port for hosts by
  // name.
  std::optional<allowlists::Target> fixed;
  std::optional<std::uint16_t> port;  // origin form is allowed when this is set
};
Task<void> serve_http(Session& session, HttpMode mode);

// What the agent then says on a connection to an allowed target: checks it as the decision's tls
// mode asks, dials unless `origin` is already connected, relays, and closes the visit.
struct Carry {
  Visit& visit;
  allowlists::Target target;
  HttpMode http;  // for plain HTTP inside
};
Task<void> carry(Session& session, Carry what);

}  // namespace sluice::proxy
