#include "proxy/egress/resolver.h"

#include <ares.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/any_completion_handler.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <map>
#include <unordered_map>

namespace sluice::proxy {
namespace {

using Descriptor = Token::as_default_on_t<asio::posix::basic_stream_descriptor<Executor>>;

constexpr std::size_t max_cached_names = 4096;
constexpr std::size_t max_addresses_per_name = 16;

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

// RFC 8305 4: families alternate, IPv6 first, each in the order of the answer.
std::vector<IpAddress> interleave(const std::vector<IpAddress>& v6,
                                  const std::vector<IpAddress>& v4) {
  std::vector<IpAddress> mixed;
  for (std::size_t i = 0; i < std::max(v6.size(), v4.size()); ++i) {
    if (i < v6.size()) mixed.push_back(v6[i]);
    if (i < v4.size()) mixed.push_back(v4[i]);
  }
  if (mixed.size() > max_addresses_per_name) mixed.resize(max_addresses_per_name);
  return mixed;
}

}  // namespace

class Resolver::Engine {
 public:
  Engine(asio::io_context& io, std::shared_ptr<const ResolverSettings> settings)
      : io_(io), settings_(std::move(settings)), timer_(io) {}
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() {
    if (channel_ != nullptr) ares_destroy(channel_);
  }

  Result<void> init();
  Task<Resolution> resolve(std::string name);

 private:
  using Handler = asio::any_completion_handler<void(Resolution)>;
  struct Query {
    Engine& engine;
    std::string name;
    Handler handler;
  };
  struct Cached {
    std::vector<IpAddress> addresses;
    Clock::time_point until;
  };
  // c-ares's interest in one of its sockets. The descriptor is c-ares's: release it, never close
  // it.
  struct Watch {
    explicit Watch(asio::io_context& io, int fd) : descriptor(io, fd) {}
    ~Watch() { (void)descriptor.release(); }
    Descriptor descriptor;
    bool reading = false;
    bool writing = false;
    bool wants_read = false;
    bool wants_write = false;
  };

  static void socket_changed(void* self, ares_socket_t fd, int readable, int writable);
  static void answered(void* query, int status, int timeouts, ares_addrinfo* result);
  void start(std::string name, Handler handler);
  void wait_for(const std::shared_ptr<Watch>& watch);
  void arm_timer();
  void remember(const std::string& name, const std::vector<IpAddress>& addresses, int ttl);

  asio::io_context& io_;
  std::shared_ptr<const ResolverSettings> settings_;
  Timer timer_;
  bool timer_armed_ = false;
  ares_channel channel_ = nullptr;
  std::map<int, std::shared_ptr<Watch>> watches_;
  std::unordered_map<std::string, Cached> cache_;
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

void Resolver::Engine::socket_changed(void* self, ares_socket_t fd, int readable, int writable) {
  auto& engine = *static_cast<Engine*>(self);
  if (!readable && !writable) {
    engine.watches_.erase(fd);
    return;
  }
  auto& watch = engine.watches_[fd];
  if (!watch) watch = std::make_shared<Watch>(engine.io_, fd);
  watch->wants_read = readable != 0;
  watch->wants_write = writable != 0;
  engine.wait_for(watch);
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
                                int ttl) {
  const Clock::time_point now = Clock::now();
  if (cache_.size() >= max_cached_names) {
    std::erase_if(cache_, [now](const auto& entry) { return entry.second.until <= now; });
    if (cache_.size() >= max_cached_names) cache_.clear();
  }
  cache_[name] = {addresses, now + std::chrono::seconds(std::clamp(ttl, 1, 300))};
}

void Resolver::Engine::answered(void* query_pointer, int status, int, ares_addrinfo* result) {
  const std::unique_ptr<Query> query(static_cast<Query*>(query_pointer));
  Resolution resolution;
  std::vector<IpAddress> v4;
  std::vector<IpAddress> v6;
  int ttl = 300;
  if (status == ARES_SUCCESS) {
    for (const ares_addrinfo_node* node = result->nodes; node != nullptr; node = node->ai_next) {
      const IpAddress address = address_of(node->ai_addr);
      (address.is_v4() ? v4 : v6).push_back(address);
      ttl = std::min(ttl, node->ai_ttl);
    }
    resolution.addresses = interleave(v6, v4);
  }
  if (result != nullptr) ares_freeaddrinfo(result);
  if (status == ARES_ETIMEOUT) resolution.failure = Reason::dns_timeout;
  if (status == ARES_EDESTRUCTION) return;  // the thread is ending and nobody waits any more
  if (!resolution.addresses.empty()) {
    query->engine.remember(query->name, resolution.addresses, ttl);
  }
  asio::post(query->engine.io_,
             [handler = std::move(query->handler), resolution = std::move(resolution)]() mutable {
               std::move(handler)(std::move(resolution));
             });
}

void Resolver::Engine::start(std::string name, Handler handler) {
  ares_addrinfo_hints hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_flags = ARES_AI_NOSORT;  // sorting would open sockets of its own
  auto* query = new Query{*this, std::move(name), std::move(handler)};
  ares_getaddrinfo(channel_, query->name.c_str(), nullptr, &hints, &Engine::answered, query);
  arm_timer();
}

Task<Resolution> Resolver::Engine::resolve(std::string name) {
  if (const auto& listed = settings_->hosts.find(name); !listed.empty()) {
    co_return Resolution{listed, Reason::dns_failed};
  }
  if (const auto cached = cache_.find(name);
      cached != cache_.end() && cached->second.until > Clock::now()) {
    co_return Resolution{cached->second.addresses, Reason::dns_failed};
  }
  co_return co_await asio::async_initiate<const asio::use_awaitable_t<Executor>&, void(Resolution)>(
      [this](auto handler, std::string asked) {
        start(std::move(asked), Handler(std::move(handler)));
      },
      asio::use_awaitable_t<Executor>(), std::move(name));
}

Resolver::Resolver(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}
Resolver::~Resolver() = default;

Result<std::unique_ptr<Resolver>> Resolver::create(
    asio::io_context& io, std::shared_ptr<const ResolverSettings> settings) {
  auto engine = std::make_unique<Engine>(io, std::move(settings));
  if (auto ready = engine->init(); !ready) return Failure(ready.error());
  return std::unique_ptr<Resolver>(new Resolver(std::move(engine)));
}

Task<Resolution> Resolver::resolve(std::string name) { return engine_->resolve(std::move(name)); }

}  // namespace sluice::proxy
