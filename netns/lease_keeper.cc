#include "netns/lease_keeper.h"

#include <fmt/core.h>

#include <utility>

#include "netns/remake.h"

namespace sluice::netns {
namespace {

constexpr std::chrono::milliseconds retry_pause{250};
constexpr std::chrono::milliseconds slow_retry_pause{1000};
constexpr std::chrono::seconds retry_time{30};

}  // namespace

LeaseKeeper::LeaseKeeper(Connect connect, std::string agent, AfterDeath after_death)
    : connect_(std::move(connect)), after_death_(after_death), link_(std::move(agent)) {}

Result<void> LeaseKeeper::open() {
  auto connected = connect_();
  if (!connected) return Failure(connected.error());
  waiting_ = std::move(*connected);
  return {};
}

Result<void> LeaseKeeper::hand_over(Listeners listeners) {
  listeners_ = std::move(listeners);
  return link_.register_over(std::move(waiting_), listeners_);
}

Result<void> LeaseKeeper::report(const netns::Event& event) {
  if (!is_registered()) return fail(Errc::unavailable, "no sluiced is there");
  return link_.report(event);
}

Result<void> LeaseKeeper::report_encoded(const std::string& event) {
  if (!is_registered()) return fail(Errc::unavailable, "no sluiced is there");
  return link_.report_encoded(event);
}

void LeaseKeeper::part_with(const netns::Event& event) {
  if (link_.fd() >= 0) (void)link_.report_last(event);
}

Result<void> LeaseKeeper::unregister() {
  was_registered_ = false;
  return link_.unregister();
}

void LeaseKeeper::disconnect() {
  link_.disconnect();
  waiting_.reset();
}

std::vector<LeaseKeeper::Event> LeaseKeeper::receive(Clock::time_point now) {
  std::vector<Event> events;
  if (waiting_) {
    // Nothing was asked, so only its end can have made it readable.
    waiting_.reset();
    events.emplace_back(Gone{"it has ended"});
    return events;
  }
  for (ProxyLink::Event& event : link_.receive()) take(std::move(event), now, events);
  return events;
}

void LeaseKeeper::take(ProxyLink::Event event, Clock::time_point now, std::vector<Event>& events) {
  if (std::holds_alternative<Registered>(event)) {
    if (was_registered_) ++replacements_;
    was_registered_ = true;
  } else if (const auto* gone = std::get_if<Gone>(&event);
             gone != nullptr && was_registered_ && after_death_ == AfterDeath::wait) {
    events.emplace_back(
        Notice{fmt::format("sluiced is gone ({}): waiting {} s for it, connections stand still",
                           gone->why, retry_time.count())});
    retry_until_ = now + retry_time;
    retry_at_ = now + retry_pause;
    return;
  } else if (const auto* refused = std::get_if<Refused>(&event);
             refused != nullptr && was_registered_) {
    link_.disconnect();
    events.emplace_back(give_up(refused->error));
    return;
  } else if (const auto* impossible = std::get_if<Impossible>(&event);
             impossible != nullptr && was_registered_) {
    if (link_.is_registered()) {
      events.emplace_back(Notice{impossible->error.what});
    } else {  // of a sluiced that came back with another policy: nobody would ever serve them
      link_.disconnect();
      events.emplace_back(give_up(impossible->error.what));
    }
    return;
  }
  std::visit([&](auto& value) { events.emplace_back(std::move(value)); }, event);
}

Result<void> LeaseKeeper::begin_again() {
  auto begun = open();
  if (begun) begun = link_.register_over(std::move(waiting_), listeners_);
  if (!begun) disconnect();
  return begun;
}

void LeaseKeeper::close_all() {
  close_listeners(listeners_);
  link_.close_ports();
}

LeaseKeeper::Notice LeaseKeeper::give_up(const std::string& why) {
  retry_at_.reset();
  close_all();
  return {
      fmt::format("{}: the agent's network is closed, every connection is refused until the "
                  "run is started again",
                  why)};
}

// The agent's connections wait no longer; a sluiced that comes back gets new listeners.
void LeaseKeeper::stand_down(const std::string& why, Clock::time_point now,
                             std::vector<Event>& events) {
  auto kept = namespace_of(listeners_[static_cast<std::size_t>(Role::dns_tcp)].get());
  if (!kept) {
    events.emplace_back(give_up(why));
    return;
  }
  namespace_ = std::move(*kept);
  close_all();
  retry_at_ = now + slow_retry_pause;
  events.emplace_back(Notice{fmt::format(
      "{}: the agent's network is closed, every connection is refused until sluiced is back",
      why)});
}

Result<void> LeaseKeeper::remake_listeners() {
  if (!namespace_) return {};
  auto sockets = open_listeners_in(namespace_.get());
  if (!sockets) return Failure(sockets.error());
  for (RoleSocket& socket : *sockets) {
    listeners_[static_cast<std::size_t>(socket.role)] = std::move(socket.fd);
  }
  namespace_.reset();
  return {};
}

std::vector<LeaseKeeper::Event> LeaseKeeper::tick(Clock::time_point now) {
  std::vector<Event> events;
  if (!retry_at_ || now < *retry_at_) return events;
  retry_at_ = now + (namespace_ ? slow_retry_pause : retry_pause);
  auto opened = open();
  if (opened) opened = remake_listeners();
  if (opened) opened = link_.register_over(std::move(waiting_), listeners_);
  if (opened) {
    retry_at_.reset();
    events.emplace_back(Notice{"sluiced is back"});
    return events;
  }
  disconnect();
  if (!namespace_ && now >= retry_until_) stand_down(opened.error().what, now, events);
  return events;
}

}  // namespace sluice::netns
