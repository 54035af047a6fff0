#include "proxy/daemon/peer.h"

#include <fmt/core.h>

#include <algorithm>

#include "proxy/daemon/rare_log.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// All names of an agent are 82 messages: they pass at once.
constexpr Clock::duration message_step = 10ms;
constexpr int messages_at_once = 256;

RareLog refusals{1s};

}  // namespace

Peer::Peer(Agents& agents, std::shared_ptr<const Fd> connection, uid_t its_uid, Grant its_grant)
    : socket(std::move(connection)), uid(its_uid), grant(std::move(its_grant)), agents_(agents) {}

Peer::~Peer() {
  if (dismissed) agents_.note_end(*dismissed, AgentEnd::released);
  if (!registration) return;
  agents_.note_end(*registration, AgentEnd::lost);
  agents_.remove(*registration);
}

bool Peer::say(const netns::Answer& answer) {
  return netns::send_packet(socket->get(), netns::encode(answer)).has_value();
}

bool Peer::refuse(const Error& error) {
  const std::string text =
      error.hint.empty() ? error.what : fmt::format("{} ({})", error.what, error.hint);
  refusals.warn(fmt::format("a peer of user {} was refused: {}", uid, text));
  return say(netns::Refused{text});
}

void Peer::ask_ports(std::string agent) {
  asked_ports_ = std::move(agent);
  told_ports_.reset();
}

bool Peer::tell_ports() {
  static_assert(allowlists::OpenPorts::most == netns::max_ports);
  if (asked_ports_.empty()) return true;
  const allowlists::OpenPorts& open = agents_.policy()->for_agent(asked_ports_).open_ports();
  if (told_ports_ == open) return true;
  if (!say(netns::Ports{open.any, open.ports})) return false;
  told_ports_ = open;
  return true;
}

std::shared_ptr<Registration> Peer::subject() const {
  auto found = registration ? registration : leased.lock();
  return found && agents_.is_live(*found) ? found : nullptr;
}

std::shared_ptr<Registration> Peer::last_subject() const {
  if (auto live = subject()) return live;
  return registration ? registration : dismissed;
}

Clock::time_point Peer::next_message(Clock::time_point now) noexcept {
  messages_due_ = std::max(messages_due_, now - messages_at_once * message_step) + message_step;
  return messages_due_;
}

}  // namespace sluice::proxy
