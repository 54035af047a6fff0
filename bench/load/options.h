// What a run is asked for: read from the command line, checked whole, loopback only.
#pragma once

#include <netinet/in.h>
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice::bench {

// How the client reaches the origin.
enum class Via : std::uint8_t {
  connect,  // through a proxy: CONNECT for tunnels, absolute-form for GET
  sni,      // through a proxy that reads the name from a TLS ClientHello and passes all on
  direct,   // no proxy: the reference
};

enum class Direction : std::uint8_t { down, up };

// A target that must be let through, or one that must be refused.
enum class Target : std::uint8_t { allowed, refused };

struct Options {
  std::string mode;
  Via via = Via::connect;
  sockaddr_in proxy{};        // 127.0.0.0/8
  sockaddr_in flood_proxy{};  // flood: where the flooding agent arrives; default: `proxy`
  std::uint16_t origin_port = 0;
  std::vector<pid_t> pids;       // roots of the proxy's process trees
  unsigned concurrency = 64;     // operations at a time
  double rate = 0;               // operations begun a second (open loop); 0: closed loop
  double warmup = 0.5;           // seconds
  double seconds = 2;            // measured; origin: how long it lives
  std::uint64_t operations = 0;  // ends earlier, after so many; 0: by the clock alone
  unsigned hosts = 200;          // names asked for, see names.h
  bool rotate = false;           // get: another host on every request
  bool keep = false;             // refused: GET on a kept connection, not CONNECT on a new one
  std::uint64_t bytes = std::uint64_t{1} << 30;  // bulk: of each stream
  unsigned streams = 1;                          // bulk: tunnels
  Direction direction = Direction::down;
  unsigned count = 1000;  // idle: tunnels; flood: connections; agents: registrations
  unsigned body = 1024;   // origin: bytes of an HTTP answer
  std::string socket;     // agents: the handover socket
};

inline constexpr double max_seconds = 3600;
inline constexpr unsigned max_count = 100'000;

std::string usage();

// The words after the program's name. An address that is not loopback is an error.
Result<Options> parse_options(const std::vector<std::string>& words);

}  // namespace sluice::bench
