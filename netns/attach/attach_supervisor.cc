#include "netns/attach/attach_supervisor.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/signals.h"
#include "base/text.h"
#include "netns/named/lease.h"
#include "netns/network.h"
#include "netns/summary.h"

namespace sluice::netns {
namespace {

constexpr std::chrono::seconds registering_time{10};
constexpr std::chrono::seconds ending_time{10};  // more than sluiced takes for its farewell
constexpr std::chrono::seconds path_pause{1};
constexpr int failed_status = 125;

Listeners to_listeners(std::vector<RoleSocket>& sockets) {
  Listeners listeners;
  for (RoleSocket& socket : sockets) {
    listeners[static_cast<std::size_t>(socket.role)] = std::move(socket.fd);
  }
  return listeners;
}

Result<Target> find_target(const AttachOrder& order) {
  return order.path.empty() ? Target::of_process(order.pid) : Target::at_path(order.path);
}

const std::string& state_id(const AttachOrder& order) {
  return order.id.empty() ? order.agent : order.id;
}

}  // namespace

AttachSupervisor::AttachSupervisor(AttachOrder order, Say say)
    : order_(std::move(order)),
      say_(std::move(say)),
      lease_([proxy = order_.proxy] { return connect_proxy(proxy); }, order_.agent,
             LeaseKeeper::AfterDeath::wait) {}

Result<void> AttachSupervisor::start() {
  if (!is_valid_name(order_.agent)) {
    return fail(Errc::bad_config, fmt::format("'{}' is no name", text::printable(order_.agent)),
                "use at most 63 letters, digits, '.', '_' and '-', a letter or a digit first");
  }
  // From here on, so that one that comes before run() is not lost.
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  signals_ = std::move(*signals);
  auto target = find_target(order_);
  if (!target) return Failure(target.error());
  target_ = std::move(*target);
  if (auto opened = lease_.open(); !opened) return opened;
  auto network = make_attached_network(*target_, order_);
  if (!network) return Failure(network.error());
  auto watch = WayOutWatch::adopt(std::move(network->watch[0]), std::move(network->watch[1]));
  if (!watch) return Failure(watch.error());
  watch_ = std::move(*watch);
  withdrawn_ = std::move(network->withdrawn);
  cookie_ = network->cookie;
  if (network->refused_udp) {
    auto counting = datagrams_.start(std::move(network->refused_udp), Clock::now());
    if (!counting) return counting;
  }
  const bool is_captured = netns::is_captured(network->sockets);
  return lease_.hand_over(to_listeners(network->sockets))
      .and_then([&] { return await_registration(); })
      .and_then([&] {
        if (!is_captured) say_(without_rules(lease_.ports()));
        return write_state();
      });
}

Result<void> AttachSupervisor::await_registration() {
  const auto until = Clock::now() + registering_time;
  while (!lease_.is_registered()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd wait{lease_.fd(), POLLIN, 0};
    if (left <= 0 || ::poll(&wait, 1, static_cast<int>(left)) == 0) {
      return fail(Errc::unavailable, "sluiced does not answer", "look at its log");
    }
    for (const LeaseKeeper::Event& event : lease_.receive(Clock::now())) {
      if (const auto* refused = std::get_if<Refused>(&event)) {
        return fail(Errc::not_permitted,
                    fmt::format("sluiced refuses the agent: {}", text::printable(refused->error)),
                    "'handover: peers' of its configuration says who may take which names; "
                    "'sluice-netns list' shows whose are taken");
      }
      if (const auto* gone = std::get_if<LeaseKeeper::Gone>(&event)) {
        return fail(Errc::unavailable, fmt::format("sluiced does not serve: {}", gone->why));
      }
      if (const auto* impossible = std::get_if<LeaseKeeper::Impossible>(&event)) {
        return Failure(impossible->error);
      }
    }
  }
  return {};
}

Result<void> AttachSupervisor::write_state() const {
  if (::geteuid() != 0) return {};
  LeaseState state;
  state.kind = order_.kind;
  state.id = state_id(order_);
  state.agent = order_.agent;
  state.netns = order_.path;
  state.proxy = order_.proxy;
  state.netns_cookie = cookie_;
  state.complete = true;
  state.supervisor = ::getpid();
  state.supervisor_born = start_time_of(::getpid()).value_or(0);
  state.withdrawn = withdrawn_;
  return StateFolder::open().and_then([&](const StateFolder& folder) {
    return folder.lock().and_then([&](const Fd&) { return folder.write(state); });
  });
}

void AttachSupervisor::remove_state() const {
  if (::geteuid() != 0) return;
  const auto folder = StateFolder::open();
  const auto lock = folder ? folder->lock() : Result<Fd>();
  if (!folder || !lock) return;
  const auto state = folder->read(order_.kind, state_id(order_));
  // Another may have the name by now.
  if (!state || !*state || (*state)->supervisor != ::getpid()) return;
  (void)folder->remove(order_.kind, state_id(order_));
}

int AttachSupervisor::run() {
  if (!target_->path().empty()) look_at_path_ = Clock::now();
  on_news();  // what came between start() and now
  while (!done_) {
    std::array<pollfd, 4> waits{{{signals_.get(), POLLIN, 0},
                                 {lease_.fd(), POLLIN, 0},
                                 {ending_ ? -1 : watch_->fd(), POLLIN, 0},
                                 {ending_ ? -1 : target_->process(), POLLIN, 0}}};
    if (::poll(waits.data(), waits.size(), poll_timeout()) < 0 && errno != EINTR) break;
    if (waits[0].revents != 0) on_signals();
    if (waits[2].revents != 0) on_news();
    if (waits[1].revents != 0) on_lease(lease_.receive(Clock::now()));
    if (waits[3].revents != 0) end(0);
    on_time();
  }
  remove_state();
  tell_end();
  return status_;
}

int AttachSupervisor::poll_timeout() const {
  std::optional<Clock::time_point> first;
  for (const auto& time : {end_until_, look_at_path_, datagrams_.next(), lease_.next_tick()}) {
    if (time && (!first || *time < *first)) first = time;
  }
  if (!first) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(*first - Clock::now()).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void AttachSupervisor::on_time() {
  const auto now = Clock::now();
  if (!ending_) on_lease(lease_.tick(now));
  if (datagrams_.next() && now >= *datagrams_.next()) count_datagrams();
  if (end_until_ && now >= *end_until_) done_ = true;
  if (!look_at_path_ || now < *look_at_path_) return;
  look_at_path_ = now + path_pause;
  if (target_->has_ended()) end(0);
}

void AttachSupervisor::on_signals() {
  for (const int number : read_signals(signals_.get())) {
    if (number == SIGCHLD || number == SIGWINCH) continue;
    if (ending_) done_ = true;  // asked twice
    end(0);
  }
}

void AttachSupervisor::on_news() {
  if (ending_ || std::count(order_.despite.begin(), order_.despite.end(), Weakness::link) > 0) {
    return;
  }
  const auto found = watch_->look();
  const std::string why = !found ? found.error().what : *found ? **found : std::string();
  if (why.empty()) return;
  say_(fmt::format("{}: {} is no longer served", why, order_.agent));
  (void)lease_.report({netns::Event::Kind::way_out, 0, why});
  end(failed_status);
}

void AttachSupervisor::on_lease(std::vector<LeaseKeeper::Event> events) {
  for (LeaseKeeper::Event& event : events) {
    if (const auto* notice = std::get_if<LeaseKeeper::Notice>(&event)) say_(notice->text);
    if (auto* totals = std::get_if<Totals>(&event)) {
      totals_ = std::move(*totals);
      done_ = true;
    }
    // Only while ending: else the keeper waits for the next one.
    if (std::holds_alternative<LeaseKeeper::Gone>(event)) done_ = true;
  }
}

void AttachSupervisor::count_datagrams() {
  const auto report = [this](const netns::Event& event) { return lease_.report(event); };
  if (auto told = datagrams_.tell(report, Clock::now()); !told) say_(told.error().what);
}

void AttachSupervisor::end(int status) {
  if (ending_) return;
  count_datagrams();
  ending_ = true;
  status_ = status;
  look_at_path_.reset();
  if (!lease_.is_registered() || !lease_.unregister()) {
    done_ = true;
    return;
  }
  end_until_ = Clock::now() + ending_time;
}

void AttachSupervisor::tell_end() const {
  say_(end_line(order_.agent, {totals_, datagrams_.total(), lease_.replacements()}));
}

}  // namespace sluice::netns
