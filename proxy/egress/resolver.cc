#include "proxy/egress/resolver.h"

#include <ares.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/intrusive/list.hpp>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/log.h"
#include "proxy/egress/happy_eyeballs.h"

namespace sluice::proxy {
namespace {

using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

constexpr std::size_t max_cached_names = 4096;
constexpr std::size_t max_addresses_per_name = 16;
// Seconds that an answer lives, whatever its TTL says.
constexpr int shortest_life = 1;
constexpr int longest_life = 300;
// RFC 2308 5 would take it from the SOA record, which c-ares does not show.
constexpr std::chrono::seconds life_of_absence{5};

// The resolver's own door: the only sockets that speak to a name server, opened and connected here.
ares_socket_t open_socket(int domain, int type, int protocol, void*) {
  return ::socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
}
int close_socket(ares_socket_t socket, void*) { return ::close(socket); }
int connect_socket(ares_socket_t socket, const sockaddr* address, ares_socklen_t size, void*) {
  return ::connect(socket, address, size);
}
ares_ssize_t receive(ares_socket_t socket, void* data, size_t size, int flags, sockaddr* from,
                     ares_socklen_t* from_size, void*) {
  return ::recvfrom(socket, data, size, flags, from, from_size);
}
ares_ssize_t send_vector(ares_socket_t socket, const iovec* parts, int count, void*) {
  return ::writev(socket, parts, count);
}
constexpr ares_socket_functions socket_functions = {open_socket, close_socket, connect_socket,
                                                    receive, send_vector};

IpAddress address_of(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    return IpAddress::v4(ntohl(reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr));
  }
  IpAddress::Bytes bytes;
  std::copy_n(reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr.s6_addr, 16, bytes.begin());
  return IpAddress::v6(bytes);
}

}  // namespace

class Resolver::Engine {
 public:
  Engine(asio::io_context& io, std::shared_ptr<const ResolverSettings> settings,
         metrics::PathCounts* counts)
      : io_(io), settings_(std::move(settings)), counts_(counts), timer_(io) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  Result<void> init();
  Task<Resolution> resolve(Question question);
  const std::vector<IpAddress>* known(const std::string& name) const noexcept;
  metrics::PathCounts* counts() const noexcept { return counts_; }

 private:
  // One coroutine that waits; when it goes, nobody calls it any more.
  struct Waiter : boost::intrusive::list_base_hook<
                      boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    explicit Waiter(asio::io_context& io) : wake(io, Clock::time_point::max()) {}
    void answer(const Resolution& answer) noexcept;
    Timer wake;
    std::optional<Resolution> resolution;
  };
  // One question on its way. c-ares cannot be told to forget it, so it counts until its end, also
  // when all its waiters are gone.
  struct Query {
    Engine& engine;
    std::string name;
    std::string agent;
    boost::intrusive::list<Waiter, boost::intrusive::constant_time_size<false>> waiters;
    Clock::time_point asked = Clock::now();
  };
  struct Cached {
    std::vector<IpAddress> addresses;  // none: there are none
    Clock::time_point until;
  };
  // c-ares's interest in one of its sockets. The descriptor is c-ares's: release it, never close
  // it.
  struct Watch {
    explicit Watch(asio::io_context& io) : descriptor(io) {}
    ~Watch() { (void)descriptor.release(); }
    Descriptor descriptor;
    bool reading = false;
    bool writing = false;
    bool wants_read = false;
    bool wants_write = false;
  };

  // Called by C code: nothing may be thrown through it.
  static void socket_changed(void* self, ares_socket_t fd, int readable, int writable) noexcept;
  static void answered(void* query, int status, int timeouts, ares_addrinfo* result) noexcept;
  void count_failure(metrics::ResolverFailure kind) const noexcept;
  std::optional<Resolution> over_bounds(const std::string& agent) const;
  void watch(int fd, int readable, int writable);
  void join(Question& question, Waiter& waiter);
  void finish(Query& query, const Resolution& resolution);
  void wait_for(const std::shared_ptr<Watch>& watch);
  void arm_timer();
  void remember(const std::string& name, const std::vector<IpAddress>& addresses,
                std::chrono::seconds life);

  asio::io_context& io_;
  std::shared_ptr<const ResolverSettings> settings_;
  metrics::PathCounts* const counts_;
  Timer timer_;
  bool timer_armed_ = false;
  ares_channel channel_ = nullptr;
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::unordered_map<std::string, Cached> cache_;
  std::unordered_map<std::string, std::unique_ptr<Query>> queries_;  // by name
  std::unordered_map<std::string, unsigned> asked_;  // how many of them, by agent; none with 0
};

Result<void> Resolver::Engine::init() {
  static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  if (library != ARES_SUCCESS) return fail(Errc::unavailable, "c-ares cannot be initialised");
  ares_options options{};
  options.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES;
  // c-ares asks every server once, then every server again with twice the patience.
  const auto patience =
      settings_->timeout / (3 * std::max<std::size_t>(settings_->servers.size(), 1));
  options.tries = 2;
  options.timeout = std::max(100, static_cast<int>(patience.count()));
  options.lookups = const_cast<char*>("b");  // DNS only: the hosts file is ours
  options.sock_state_cb = &Engine::socket_changed;
  options.sock_state_cb_data = this;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TRIES | ARES_OPT_TIMEOUTMS | ARES_OPT_LOOKUPS |
                   ARES_OPT_SOCK_STATE_CB;
  if (const int status = ares_init_options(&channel_, &options, mask); status != ARES_SUCCESS) {
    return fail(Errc::unavailable, fmt::format("c-ares: {}", ares_strerror(status)));
  }
  std::string servers;
  for (const auto& [address, port] : settings_->servers) {
    servers += fmt::format(fmt::runtime(address.is_v4() ? "{}{}:{}" : "{}[{}]:{}"),
                           servers.empty() ? "" : ",", address.to_string(), port);
  }
  if (const int status = ares_set_servers_ports_csv(channel_, servers.c_str());
      status != ARES_SUCCESS) {
    return fail(Errc::bad_config,
                fmt::format("name servers '{}': {}", servers, ares_strerror(status)));
  }
  ares_set_socket_functions(channel_, &socket_functions, this);
  return {};
}

// Without a watch the question ends by its timeout.
void Resolver::Engine::socket_changed(void* self, ares_socket_t fd, int readable,
                                      int writable) noexcept {
  auto& engine = *static_cast<Engine*>(self);
  try {
    engine.watch(fd, readable, writable);
  } catch (const std::exception& error) {
    engine.watches_.erase(fd);
    log::warning("cannot watch a socket of the resolver: {}", error.what());
  }
}

void Resolver::Engine::watch(int fd, int readable, int writable) {
  if (readable == 0 && writable == 0) {
    watches_.erase(fd);
    return;
  }
  auto& watch = watches_[fd];
  if (!watch) {
    watch = std::make_shared<Watch>(io_);
    watch->descriptor.assign(fd);  // throws when epoll has no room
  }
  watch->wants_read = readable != 0;
  watch->wants_write = writable != 0;
  wait_for(watch);
}

void Resolver::Engine::wait_for(const std::shared_ptr<Watch>& watch) {
  const int fd = watch->descriptor.native_handle();
  // A watch that was replaced or released meanwhile is no longer in the map under its number.
  const auto still_watched = [this, fd](const std::weak_ptr<Watch>& weak) {
    const auto found = watches_.find(fd);
    const auto held = weak.lock();
    return held && found != watches_.end() && found->second == held ? held : nullptr;
  };
  if (watch->wants_read && !watch->reading) {
    watch->reading = true;
    watch->descriptor.async_wait(
        Descriptor::wait_read,
        [this, fd, still_watched, weak = std::weak_ptr(watch)](ErrorCode error) {
          const auto held = still_watched(weak);
          if (!held) return;
          held->reading = false;
          if (error) return;
          ares_process_fd(channel_, fd, ARES_SOCKET_BAD);
          if (still_watched(weak)) wait_for(held);
        });
  }
  if (watch->wants_write && !watch->writing) {
    watch->writing = true;
    watch->descriptor.async_wait(
        Descriptor::wait_write,
        [this, fd, still_watched, weak = std::weak_ptr(watch)](ErrorCode error) {
          const auto held = still_watched(weak);
          if (!held) return;
          held->writing = false;
          if (error) return;
          ares_process_fd(channel_, ARES_SOCKET_BAD, fd);
          if (still_watched(weak)) wait_for(held);
        });
  }
}

void Resolver::Engine::arm_timer() {
  timeval next{};
  if (timer_armed_ || ares_timeout(channel_, nullptr, &next) == nullptr) return;
  timer_armed_ = true;
  timer_.expires_after(std::chrono::seconds(next.tv_sec) + std::chrono::microseconds(next.tv_usec));
  timer_.async_wait([this](ErrorCode error) {
    timer_armed_ = false;
    if (error) return;
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer();
  });
}

void Resolver::Engine::remember(const std::string& name, const std::vector<IpAddress>& addresses,
                                std::chrono::seconds life) {
  const Clock::time_point now = Clock::now();
  if (cache_.size() >= max_cached_names) {
    std::erase_if(cache_, [now](const auto& entry) { return entry.second.until <= now; });
    if (cache_.size() >= max_cached_names) cache_.clear();
  }
  cache_[name] = {addresses, now + life};
}

// Without memory for the addresses there are none.
void Resolver::Engine::Waiter::answer(const Resolution& answer) noexcept {
  resolution.emplace();
  try {
    resolution = answer;
  } catch (const std::bad_alloc&) {
    resolution->addresses.clear();
  }
  wake.cancel();
}

void Resolver::Engine::finish(Query& query, const Resolution& resolution) {
  for (Waiter& waiter : query.waiters) waiter.answer(resolution);
  query.waiters.clear();
  if (const auto count = asked_.find(query.agent); count != asked_.end() && --count->second == 0) {
    asked_.erase(count);
  }
  queries_.erase(queries_.find(query.name));  // and `query` with it
}

void Resolver::Engine::answered(void* query_pointer, int status, int,
                                ares_addrinfo* result) noexcept {
  const std::unique_ptr<ares_addrinfo, decltype(&ares_freeaddrinfo)> held(result,
                                                                          &ares_freeaddrinfo);
  Query& query = *static_cast<Query*>(query_pointer);
  Engine& engine = query.engine;
  if (status == ARES_EDESTRUCTION) return;  // the thread is ending and nobody waits any more
  if (engine.counts_ != nullptr) engine.counts_->resolved_in(Clock::now() - query.asked);
  Resolution resolution;
  try {
    int ttl = longest_life;
    for (const auto* node = result != nullptr ? result->nodes : nullptr; node != nullptr;
         node = node->ai_next) {
      resolution.addresses.push_back(address_of(node->ai_addr));
      ttl = std::min(ttl, node->ai_ttl);
    }
    resolution.addresses = in_turn(resolution.addresses);
    if (resolution.addresses.size() > max_addresses_per_name) {
      resolution.addresses.resize(max_addresses_per_name);
    }
    const bool is_none = status == ARES_ENOTFOUND || status == ARES_ENODATA;
    if (!resolution.addresses.empty()) {
      engine.remember(query.name, resolution.addresses,
                      std::chrono::seconds(std::clamp(ttl, shortest_life, longest_life)));
    } else if (is_none) {
      engine.remember(query.name, {}, life_of_absence);
    }
    resolution.failure = status == ARES_ETIMEOUT ? Reason::dns_timeout : Reason::dns_failed;
    if (status == ARES_ETIMEOUT) {
      engine.count_failure(metrics::ResolverFailure::timeout);
    } else if (resolution.addresses.empty()) {
      engine.count_failure(is_none ? metrics::ResolverFailure::no_address
                                   : metrics::ResolverFailure::server);
    }
    const bool is_told = status == ARES_SUCCESS || is_none || status == ARES_ETIMEOUT;
    if (!is_told) resolution.why = fmt::format("name servers: {}", ares_strerror(status));
  } catch (const std::exception& error) {
    log::error("an answer of a name server was lost: {}", error.what());
  }
  engine.finish(query, resolution);
}

const std::vector<IpAddress>* Resolver::Engine::known(const std::string& name) const noexcept {
  const auto& listed = settings_->hosts.find(name);
  if (!listed.empty()) return &listed;
  const auto cached = cache_.find(name);
  if (cached == cache_.end() || cached->second.until <= Clock::now()) return nullptr;
  return &cached->second.addresses;
}

void Resolver::Engine::count_failure(metrics::ResolverFailure kind) const noexcept {
  if (counts_ != nullptr) counts_->resolving_failed(kind);
}

// One more question for the agent would be too many.
std::optional<Resolution> Resolver::Engine::over_bounds(const std::string& agent) const {
  Resolution refused;
  const auto count = asked_.find(agent);
  if (!agent.empty() && count != asked_.end() && count->second >= most_of_agent) {
    refused.failure = Reason::rate_limit;
    refused.why = fmt::format("{} other names of this agent are being resolved", count->second);
    return refused;
  }
  if (queries_.size() >= most_of_all) {
    refused.why = "too many names are being resolved";
    return refused;
  }
  return {};
}

// The answer may be there when this returns.
void Resolver::Engine::join(Question& question, Waiter& waiter) {
  if (const auto found = queries_.find(question.name); found != queries_.end()) {
    found->second->waiters.push_back(waiter);
    return;
  }
  if (auto refused = over_bounds(question.agent)) {
    count_failure(metrics::ResolverFailure::bounded);
    waiter.resolution = std::move(refused);
    return;
  }
  auto& slot = queries_[question.name];
  slot.reset(new Query{*this, question.name, question.agent, {}});
  Query* const query = slot.get();
  query->waiters.push_back(waiter);
  ++asked_[question.agent];
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_flags = ARES_AI_NOSORT;  // sorting would open sockets of its own
  ares_getaddrinfo(channel_, question.name.c_str(), nullptr, &hints, &Engine::answered, query);
  arm_timer();
}

Task<Resolution> Resolver::Engine::resolve(Question question) {
  if (const auto* found = known(question.name)) {
    Resolution resolution;
    resolution.addresses = *found;
    co_return resolution;
  }
  Waiter waiter(io_);
  const WaitsFor waits(waiter.wake, question.give_up);
  if (!waits.is_over()) {
    join(question, waiter);
    if (!waiter.resolution) co_await waiter.wake.async_wait();
  }
  if (waiter.resolution) co_return std::move(*waiter.resolution);
  co_return Resolution();  // cancelled or given up
}

Resolver::Resolver(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Resolver::~Resolver() = default;

Result<std::unique_ptr<Resolver>> Resolver::create(asio::io_context& io,
                                                   std::shared_ptr<const ResolverSettings> settings,
                                                   metrics::PathCounts* counts) {
  auto engine = std::make_unique<Engine>(io, std::move(settings), counts);
  if (auto ready = engine->init(); !ready) return Failure(ready.error());
  return std::unique_ptr<Resolver>(new Resolver(std::move(engine)));
}

const std::vector<IpAddress>* Resolver::known(const std::string& name) const noexcept {
  return engine_->known(name);
}

metrics::PathCounts* Resolver::counts() const noexcept { return engine_->counts(); }

Task<Resolution> Resolver::resolve(Question question) {
  return engine_->resolve(std::move(question));
}

}  // namespace sluice::proxy
