// What `sluiced --config FILE` says: read whole, refused whole, every error with its place.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "base/ip_address.h"
#include "base/log.h"
#include "metrics/audit_sink.h"

namespace sluice::proxy {

struct Endpoint {
  IpAddress address;
  std::uint16_t port = 0;
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// Paths are absolute, or relative to the working directory as the configuration file's path is.
struct Config {
  std::string policy;    // a file or a directory
  unsigned threads = 0;  // 0: one per core
  // Who may hand over agents, and which names they may take.
  struct Peer {
    enum class Kind : std::uint8_t { user, group };
    Kind kind = Kind::user;
    id_t id = 0;                      // uid or gid
    std::vector<std::string> agents;  // globs; `${user}` in them is the peer's user name
  };
  struct Handover {
    std::string socket = "/run/sluice/handover.sock";
    // None: sluiced's own user and root, any name. All lines that fit a peer count.
    std::optional<std::vector<Peer>> peers;
  } handover;
  struct Admin {
    std::string socket = "/run/sluice/admin.sock";
    mode_t mode = 0660;
    // Serves /metrics, /healthz and /readyz only. None with `address: ""`.
    std::optional<Endpoint> address = Endpoint{IpAddress::v4(0x7f000001), 9915};
  } admin;
  struct Resolver {
    std::vector<Endpoint> servers;  // none: those of resolv.conf
    std::string hosts_file = "/etc/hosts";
    std::chrono::milliseconds timeout{5000};
  } resolver;
  struct Timeouts {
    std::chrono::milliseconds first_byte{10'000};
    std::chrono::milliseconds headers{10'000};
    std::chrono::milliseconds connect{10'000};
    std::chrono::milliseconds idle{600'000};
    std::chrono::milliseconds lifetime{0};  // of one connection or tunnel of an agent; 0: none
    std::chrono::milliseconds drain{30'000};
  } timeouts;
  struct Limits {
    unsigned connections_per_agent = 0;   // 0: an eighth of the descriptor limit, at most 4096
    std::uint64_t header_bytes = 65'536;  // of one request head
    unsigned headers = 128;               // fields in it
  } limits;
  // Explicit listeners, for containers that cannot hand over sockets. Each speaks HTTP, CONNECT and
  // SOCKS5.
  struct Listener {
    Endpoint address;
    struct Tls {
      std::string cert;       // PEM chain, the server's own first
      std::string key;        // PEM
      std::string client_ca;  // PEM; "": clients need no certificate
    };
    std::optional<Tls> tls;
    // Who arrives here, one of:
    struct Fixed {
      std::string agent;
    };
    struct BySource {
      std::vector<std::pair<Cidr, std::string>> agents;  // the longest prefix decides
    };
    struct ByPassword {
      std::vector<std::pair<std::string, std::string>> users;  // agent, crypt(5) hash
    };
    // The agent is the certificate's first DNS name, or else its common name.
    struct ByCertificate {};
    std::variant<Fixed, BySource, ByPassword, ByCertificate> who;
  };
  std::vector<Listener> listen;
  // A proxy through which everything goes out, asked by CONNECT.
  struct UpstreamProxy {
    std::string host;  // a canonical name or an address
    std::uint16_t port = 0;
    std::string credentials_file;      // "user:password" in one line; "": none
    struct Except {                    // goes out directly
      std::vector<std::string> hosts;  // "example.com", ".example.com", "*.example.com"
      std::vector<Cidr> ranges;        // of literal and of resolved addresses
    } except;
    enum class Send : std::uint8_t { address, name };
    Send send = Send::address;
  };
  std::optional<UpstreamProxy> upstream_proxy;
  // How connections of some agents leave the machine; the first entry that fits decides.
  struct Egress {
    std::vector<std::string> agents;     // names, or globs with `*` only
    std::optional<IpAddress> source_v4;  // bound before connect(2)
    std::optional<IpAddress> source_v6;  // with only one of both, the other family is not dialled
    std::optional<std::uint32_t> mark;   // SO_MARK (socket(7)); needs CAP_NET_ADMIN
  };
  std::vector<Egress> egress;
  std::string state = "/var/lib/sluice";  // a directory, for what outlives a restart
  metrics::AuditTarget audit = metrics::AuditFile{"/var/log/sluice/audit.jsonl"};
  log::Level log_level = log::Level::info;
  std::vector<Error> warnings;  // what is obeyed, and an operator should know of
};

using Errors = std::vector<Error>;

// `path` names the file in errors, and its directory is where relative paths begin. All errors at
// once, in file order.
tl::expected<Config, Errors> parse_config(std::string_view text, const std::string& path);

// parse_config() of a file of at most 1 MiB.
tl::expected<Config, Errors> read_config(const std::string& path);

}  // namespace sluice::proxy
