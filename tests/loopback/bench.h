// A worker with an agent and an origin on loopback: what a session sees, without a namespace or a
// process.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "proxy/session/session.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {

// One thread, one io_context. Runs until the conversation is over or the patience is. No deadline
// ends anything but those that a test sets.
class Bench {
 public:
  // The policy's `allow:` list for the agent "coder-1"; names resolve by `hosts`.
  explicit Bench(std::string_view allow,
                 std::string_view hosts = "127.0.0.1 allowed.test other.test\n");

  // An origin on 127.0.0.1 that answers each connection by what `answer` makes of all bytes so far:
  // nothing while it wants more. Closes after the answer when `closes`. Answers its port.
  using AnswerTo = std::function<std::optional<std::string>(const std::string& so_far)>;
  std::uint16_t origin(AnswerTo answer, bool closes = false) {
    return origin_on(0, std::move(answer), closes);
  }
  std::uint16_t origin_on(std::uint16_t port, AnswerTo answer, bool closes);

  // Sends `bytes` in pieces of `piece` to a listener of `role` and reads until sluice closes, or
  // until `enough` holds for what came.
  using Enough = std::function<bool(const std::string& so_far)>;
  std::string talk(netns::Role role, std::string_view bytes, std::size_t piece = SIZE_MAX,
                   Enough enough = nullptr);

  // What the origin received on all its connections together.
  const std::string& origin_heard() const { return origin_heard_; }
  int origin_connections() const { return origin_connections_; }
  metrics::Totals totals() const { return agent->metrics->totals(); }

  metrics::Registry registry;
  Shared shared{.timeouts = {.first_byte = far_away,
                             .headers = far_away,
                             .connect = far_away,
                             .idle = far_away},
                .own_listeners = {},
                .loop_token = "b00b",
                .registry = registry};
  std::unique_ptr<Worker> worker;
  std::shared_ptr<Agent> agent;

 private:
  Task<void> serve_origin(std::shared_ptr<Acceptor> acceptor, AnswerTo answer, bool closes);
  Task<void> serve_origin_connection(Socket socket, AnswerTo answer, bool closes);

  Fd peer_;
  std::string origin_heard_;
  int origin_connections_ = 0;
};

}  // namespace sluice::proxy
