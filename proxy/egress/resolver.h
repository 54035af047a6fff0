// Names to addresses, over c-ares: cached, bounded, and only ever for a name that is about to be
// dialled.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/reason.h"
#include "proxy/egress/hosts_file.h"
#include "proxy/net.h"

struct ares_channeldata;

namespace sluice::proxy {

struct NameServer {
  IpAddress address;
  std::uint16_t port = 53;
};

struct ResolverSettings {
  std::vector<NameServer> servers;
  HostsFile hosts;
  std::chrono::milliseconds timeout{5000};  // for one name, all servers and tries together
};

// Addresses in the order they should be tried, or why there are none: dns_failed or dns_timeout.
struct Resolution {
  std::vector<IpAddress> addresses;
  Reason failure = Reason::dns_failed;
};

// One per thread. Construct before sluiced encloses itself: c-ares seeds its query ids from the
// system.
class Resolver {
 public:
  static Result<std::unique_ptr<Resolver>> create(asio::io_context& io,
                                                  std::shared_ptr<const ResolverSettings> settings);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // hosts file first, then A and AAAA together; CNAME chains are followed by c-ares, search domains
  // are off. `name` is canonical. Answers live in the cache for their TTL, between 1 s and 300 s.
  Task<Resolution> resolve(std::string name);

 private:
  class Engine;
  explicit Resolver(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace sluice::proxy
