#include "netns/named/resident.h"

#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <set>
#include <utility>

#include "base/signals.h"
#include "base/text.h"
#include "netns/inside.h"
#include "netns/named/kept.h"
#include "netns/named/lease.h"
#include "netns/refused_udp.h"

namespace sluice::netns {
namespace {

constexpr std::chrono::milliseconds visit_pause{250};
constexpr std::chrono::seconds count_pause{10};
constexpr std::chrono::seconds second_look_pause{2};

std::string key_of(const LeaseState& state) {
  return fmt::format("{}-{}", kind_name(state.kind), state.id);
}

bool is_served(const LeaseState& state) {
  return is_explicit(state.kind) && state.complete && !state.facts.contains(way_out_fact);
}

// A network with an interface of its own has rules that close every other link as well.
bool is_watched(const LeaseState& state) { return !state.facts.contains("interface"); }

// The socket of the counter, then those of the watch.
Result<Brought> open_inside(const LeaseState& state) {
  const auto cookie = own_netns_cookie();
  if (!cookie) return Failure(cookie.error());
  if (*cookie != state.netns_cookie) {
    return fail(Errc::unavailable, "the namespace is another one now");
  }
  auto counter = RefusedUdp::open_socket();
  if (!counter) return Failure(counter.error());
  Brought brought;
  brought.fds.push_back(std::move(*counter));
  if (!is_watched(state)) return brought;
  auto sockets = WayOutWatch::open_sockets();
  if (!sockets) return Failure(sockets.error());
  std::move(sockets->begin(), sockets->end(), std::back_inserter(brought.fds));
  return brought;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Result<void> Resident::start() {
  raise_descriptor_limit();
  auto signals = watch_signals();
  if (!signals) return Failure(signals.error());
  signals_ = std::move(*signals);
  changes_.reset(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!changes_ || ::inotify_add_watch(changes_.get(), folder_.path().c_str(),
                                       IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) < 0) {
    return fail_errno(Errc::unavailable, fmt::format("cannot watch '{}'", folder_.path()));
  }
  next_count_ = Clock::now() + count_pause;
  return {};
}

Result<void> Resident::run() {
  if (auto started = start(); !started) return started;
  while (!done_) {
    if (std::exchange(folder_is_unread_, false)) read_folder();
    if (Clock::now() >= next_visit_) visit_proxies();
    if (second_look_ && Clock::now() >= *second_look_) look_again();
    if (Clock::now() >= next_count_) count_datagrams();
    wait();
  }
  return {};
}

int Resident::poll_timeout() const {
  const bool one_is_away = std::any_of(proxies_.begin(), proxies_.end(),
                                       [](const auto& proxy) { return !proxy.second; });
  auto first = one_is_away ? std::min(next_visit_, next_count_) : next_count_;
  if (second_look_) first = std::min(first, *second_look_);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(first - Clock::now()).count();
  return static_cast<int>(std::max<std::int64_t>(left, 0));
}

void Resident::wait() {
  std::vector<pollfd> waits{{signals_.get(), POLLIN, 0}, {changes_.get(), POLLIN, 0}};
  std::vector<std::string> proxies;
  std::vector<std::string> keys;
  for (const auto& [socket, connection] : proxies_) {
    waits.push_back({connection.get(), POLLIN, 0});
    proxies.push_back(socket);
  }
  for (const auto& [key, kept] : kept_) {
    if (!kept.watch) continue;
    waits.push_back({kept.watch->fd(), POLLIN, 0});
    keys.push_back(key);
  }
  if (::poll(waits.data(), waits.size(), poll_timeout()) <= 0) return;
  if (waits[0].revents != 0) done_ = is_asked_to_end();
  if (waits[1].revents != 0) read_changes();
  for (std::size_t i = 0; i < proxies.size(); ++i) {
    if (waits[2 + i].revents == 0) continue;
    const auto packet = receive_packet(proxies_[proxies[i]].get());
    if (packet && (!*packet || !(*packet)->closed)) continue;
    say_(
        fmt::format("sluiced at '{}' is gone: its agents' connections are refused until it is back",
                    text::printable(proxies[i])));
    proxies_[proxies[i]].reset();
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (waits[2 + proxies.size() + i].revents != 0) on_news(keys[i]);
  }
}

bool Resident::is_asked_to_end() {
  const auto numbers = read_signals(signals_.get());
  return std::any_of(numbers.begin(), numbers.end(),
                     [](int number) { return number != SIGCHLD && number != SIGWINCH; });
}

void Resident::read_changes() {
  alignas(inotify_event) std::array<char, 65536> room;
  std::set<std::string> files;
  ssize_t size = 0;
  while ((size = ::read(changes_.get(), room.data(), room.size())) > 0) {
    for (const char* at = room.data(); at < room.data() + size;) {
      const auto& event = *reinterpret_cast<const inotify_event*>(at);
      if ((event.mask & IN_Q_OVERFLOW) != 0) folder_is_unread_ = true;
      if (event.len > 0) files.insert(event.name);  // ends with a zero byte
      at += sizeof(inotify_event) + event.len;
    }
  }
  for (const std::string& file : files) read_state(file);
}

void Resident::read_folder() {
  const auto listing = folder_.list();
  if (!listing) return say_(to_string(listing.error()));
  std::set<std::string> there;
  for (const LeaseState& state : listing->states) there.insert(key_of(state));
  std::erase_if(kept_, [&](const auto& one) { return !there.contains(one.first); });
  for (const LeaseState& state : listing->states) consider(state);
}

void Resident::read_state(const std::string& file) {
  constexpr std::string_view suffix = ".json";
  if (!file.ends_with(suffix)) return;  // what a killed write has left is no state
  const auto state = folder_.read_file(file);
  if (state && *state) return consider(**state);
  kept_.erase(file.substr(0, file.size() - suffix.size()));  // as key_of() makes it
}

void Resident::consider(const LeaseState& state) {
  if (!is_explicit(state.kind)) return;
  if (state.complete) proxies_.try_emplace(state.proxy);
  const auto found = kept_.find(key_of(state));
  const bool is_kept = found != kept_.end() && is_served(state) &&
                       found->second.state.netns_cookie == state.netns_cookie;
  if (is_kept) return;
  // First what is gone: the sockets of a watch keep its namespace alive.
  if (found != kept_.end()) kept_.erase(found);
  if (is_served(state)) adopt(state);
}

void Resident::adopt(const LeaseState& state) {
  const auto complain = [&](const Error& error) {
    say_(fmt::format("cannot watch '{}': {}", text::printable(state.id), error.what));
  };
  const auto network = open_network_namespace(state.netns);
  if (!network) return complain(network.error());
  auto brought = do_inside(network->get(), [&] { return open_inside(state); });
  if (!brought) return complain(brought.error());
  Kept kept{state, {}, {}};
  if (auto counting = kept.datagrams.start(std::move(brought->fds[0]), Clock::now()); !counting) {
    return complain(counting.error());
  }
  if (is_watched(state)) {
    auto watch = WayOutWatch::adopt(std::move(brought->fds[1]), std::move(brought->fds[2]));
    if (!watch) return complain(watch.error());
    kept.watch = std::move(*watch);
  }
  const std::string key = key_of(state);
  kept_.emplace(key, std::move(kept));
  on_news(key);  // what is there already
}

void Resident::visit_proxies() {
  next_visit_ = Clock::now() + visit_pause;
  for (const auto& [socket, connection] : proxies_) {
    if (!connection) visit(socket);
  }
}

void Resident::visit(const std::string& proxy) {
  auto connected = connect_proxy(proxy);
  if (!connected || !restore(proxy)) return;
  proxies_[proxy] = std::move(*connected);
  second_look_ = Clock::now() + second_look_pause;
}

bool Resident::restore(const std::string& proxy) {
  const auto restored = restore_all(folder_, proxy);
  if (!restored) {
    say_(to_string(restored.error()));
    return false;
  }
  for (const std::string& line : restored->again) say_(line);
  for (const Error& error : restored->failed) say_(to_string(error));
  return true;
}

// At the first look the dying sluiced may have held some listeners still.
void Resident::look_again() {
  second_look_.reset();
  for (const auto& [socket, connection] : proxies_) {
    if (connection) (void)restore(socket);
  }
}

void Resident::on_news(const std::string& key) {
  const auto found = kept_.find(key);
  if (found == kept_.end() || !found->second.watch) return;
  const auto seen = found->second.watch->look();
  if (seen && !*seen) return;
  withdraw(found->second, seen ? **seen : seen.error().what);
  kept_.erase(found);
}

void Resident::withdraw(Kept& kept, const std::string& why) {
  say_(fmt::format("'{}': {}: agent '{}' is no longer served", text::printable(kept.state.id), why,
                   text::printable(kept.state.agent)));
  // The file first: whatever happens next, it is not served again.
  const auto lock = folder_.lock();
  auto state = lock ? folder_.read(kept.state.kind, kept.state.id)
                    : Result<std::optional<LeaseState>>(std::nullopt);
  if (state && *state && (*state)->netns_cookie == kept.state.netns_cookie) {
    (*state)->facts[way_out_fact] = why;
    if (auto written = folder_.write(**state); !written) say_(to_string(written.error()));
  }
  Event event;
  event.kind = Event::Kind::way_out;
  event.text = why;
  event.agent = kept.state.agent;
  event.netns_cookie = kept.state.netns_cookie;
  const auto connected = connect_proxy(kept.state.proxy);
  const auto told = connected.and_then(
      [&](const Fd& connection) { return send_packet(connection.get(), encode(Request(event))); });
  if (!told) say_(to_string(told.error()));
}

void Resident::count_datagrams() {
  const auto now = Clock::now();
  next_count_ = now + count_pause;
  for (auto& [key, kept] : kept_) {
    const Fd& proxy = proxies_[kept.state.proxy];
    const auto report = [&](Event event) -> Result<void> {
      if (!proxy) return fail(Errc::unavailable, "no sluiced is there");
      event.agent = kept.state.agent;
      event.netns_cookie = kept.state.netns_cookie;
      return send_packet(proxy.get(), encode(Request(event)));
    };
    if (auto told = kept.datagrams.tell(report, now); !told) say_(told.error().what);
  }
}

}  // namespace sluice::netns
