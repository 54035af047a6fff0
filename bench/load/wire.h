// What the load says to a proxy and to the origin, and how far an answer has come.
#pragma once

#include <netinet/in.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/options.h"

namespace sluice::bench {

// Host n of 200: allowed ones are api.svcNNN.bench.test and live at 127.1.0.(n+1); refused ones are
// no.svcNNN.refused.test.
std::string host_name(Target target, unsigned index);
in_addr host_address(unsigned index) noexcept;

// The origin's orders: the first byte, and for bulk a length of eight bytes in network order, which
// is answered with the first byte. After the last payload byte the connection echoes.
inline constexpr char order_source = 'D';  // so many bytes of Payload, once `source_go` has come
inline constexpr char source_go = 'g';
inline constexpr char order_sink = 'U';  // so many come; answered with `sink_done` when right
inline constexpr char sink_done = 'K';
inline constexpr char tls_record = 0x16;  // a TLS record (RFC 8446 5.1): skipped
inline constexpr std::size_t order_size = 9;
std::string order(char what, std::uint64_t length);
std::uint64_t order_length(std::string_view order) noexcept;

// The body of every answer of the origin is this byte.
inline constexpr char body_byte = 'x';
// What a tunnel is tried with: 32 bytes that the origin sends back.
inline constexpr std::string_view ping = "ping 0123456789 abcdefghijklmno\n";

std::string connect_head(const std::string& host, std::uint16_t port);
std::string get_head(const std::string& host, std::uint16_t port, Via via);
// A TLS 1.3 ClientHello in one record (RFC 8446 4.1.2) whose only extension is the server's name.
std::string client_hello(const std::string& host);

// What must come back.
enum class Expect : std::uint8_t {
  tunnel,   // a head of 2xx and not a byte more
  echo,     // exactly `ping`
  ready,    // the origin's word that an order stands
  answer,   // 200 and a body of `body_byte`
  refusal,  // 403 with its body, as HTTP counts it
  closed,   // nothing, and the end
};

// How far what came is; `wrong`: it can never be right.
enum class Progress : std::uint8_t { more, whole, wrong };
struct Judged {
  Progress progress = Progress::more;
  bool closes = false;  // the other side will close (RFC 9112 9.3)
  unsigned status = 0;  // of an HTTP answer
};
// `in` is what came since the request; `ended` that no more will.
enum class Ended : std::uint8_t { no, yes };
Judged judge(Expect expect, std::string_view in, Ended ended);

struct Exchange {
  std::string out;
  Expect expect = Expect::echo;
};
using Script = std::vector<Exchange>;

// How a tunnel to one host is opened: exchanges, and what goes before the first bytes said in it.
struct Way {
  Script open;
  std::string prefix;
};
// For each host of the run.
std::vector<Way> ways(const Options& options);

}  // namespace sluice::bench
