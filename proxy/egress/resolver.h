// Names to addresses, over c-ares: cached, bounded, and only ever for a name that is about to be
// dialled.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/reason.h"
#include "metrics/path_counts.h"
#include "proxy/egress/give_up.h"
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

// Addresses in the order they should be tried, or why there are none: dns_failed, dns_timeout, or
// rate_limit for an agent that asks for too many names at once.
struct Resolution {
  std::vector<IpAddress> addresses;
  Reason failure = Reason::dns_failed;
  std::string why;  // one sentence for the audit line; may be empty
};

struct Question {
  std::string name;           // canonical
  std::string agent;          // on whose behalf; "": sluiced's own
  GiveUp* give_up = nullptr;  // outlives the wait
};

// One per thread. Construct before sluiced encloses itself: c-ares seeds its query ids from the
// system.
class Resolver {
 public:
  // `counts` outlive it; null: nobody asks.
  static Result<std::unique_ptr<Resolver>> create(asio::io_context& io,
                                                  std::shared_ptr<const ResolverSettings> settings,
                                                  metrics::PathCounts* counts = nullptr);
  ~Resolver();
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Names that one agent may have asked for without an answer yet, and all agents together; on one
  // thread. A name that is being asked for already is not asked for again: all wait for one answer.
  static constexpr unsigned most_of_agent = 64;
  static constexpr unsigned most_of_all = 1024;

  // The addresses of a canonical name where no question is needed, in the order they should be
  // tried: of the hosts file, or of an answer that still lives (none: that there are none). Null:
  // resolve() would ask. Until the next call of either.
  const std::vector<IpAddress>* known(const std::string& name) const noexcept;

  // Where this thread's way out is counted, names and connections; null: nobody asks.
  metrics::PathCounts* counts() const noexcept;

  // hosts file first, then A and AAAA together; CNAME chains are followed by c-ares, search domains
  // are off. Answers live in the cache for their TTL, between 1 s and 300 s; that there is no such
  // name, or none with an address (RFC 2308), for 5 s; a name server that fails or is silent, not
  // at all. Ends early when it is cancelled or given up.
  Task<Resolution> resolve(Question question);

 private:
  class Engine;
  explicit Resolver(std::unique_ptr<Engine> engine);
  std::unique_ptr<Engine> engine_;
};

}  // namespace sluice::proxy
