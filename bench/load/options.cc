#include "bench/load/options.h"

#include <arpa/inet.h>
#include <fmt/core.h>

#include <array>
#include <charconv>
#include <functional>
#include <string_view>

namespace sluice::bench {
namespace {

constexpr std::array<std::string_view, 8> modes = {"origin", "connect", "get",   "refused",
                                                   "bulk",   "idle",    "flood", "agents"};

Failure bad(std::string_view option, std::string_view value, std::string hint) {
  return fail(Errc::bad_config, fmt::format("--{} '{}' is not understood", option, value),
              std::move(hint));
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

bool read_endpoint(const std::string& text, sockaddr_in& out) {
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon == std::string::npos || !read_number(std::string_view(text).substr(colon + 1), port)) {
    return false;
  }
  if (::inet_pton(AF_INET, text.substr(0, colon).c_str(), &out.sin_addr) != 1) return false;
  out.sin_family = AF_INET;
  out.sin_port = htons(port);
  // Load is for this machine alone.
  return (ntohl(out.sin_addr.s_addr) >> 24U) == IN_LOOPBACKNET && port != 0;
}

bool read_bytes(std::string_view text, std::uint64_t& out) {
  unsigned shift = 0;
  if (!text.empty() && text.back() == 'M') shift = 20;
  if (!text.empty() && text.back() == 'G') shift = 30;
  if (shift != 0) text.remove_suffix(1);
  if (!read_number(text, out) || out == 0 || out > (std::uint64_t{1} << (44U - shift)))
    return false;
  out <<= shift;
  return true;
}

bool read_pids(std::string_view text, std::vector<pid_t>& out) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    pid_t pid = 0;
    if (!read_number(text.substr(0, comma), pid) || pid <= 0) return false;
    out.push_back(pid);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return !out.empty();
}

template <class Number>
bool read_within(std::string_view text, Number& out, Number least, Number most) {
  return read_number(text, out) && out >= least && out <= most;
}

bool read_via(std::string_view text, Via& out) {
  if (text == "connect") out = Via::connect;
  if (text == "sni") out = Via::sni;
  if (text == "direct") out = Via::direct;
  return text == "connect" || text == "sni" || text == "direct";
}

bool read_direction(std::string_view text, Direction& out) {
  out = text == "up" ? Direction::up : Direction::down;
  return text == "up" || text == "down";
}

bool read_yes_no(std::string_view text, bool& out) {
  out = text == "yes";
  return text == "yes" || text == "no";
}

struct Known {
  std::string_view name;
  std::string_view meaning;
  std::function<bool(Options&, const std::string&)> read;
};

const std::vector<Known>& known_options() {
  static const std::vector<Known> known = {
      {"via", "connect, sni or direct",
       [](Options& o, const std::string& v) { return read_via(v, o.via); }},
      {"proxy", "127.x.y.z:PORT",
       [](Options& o, const std::string& v) { return read_endpoint(v, o.proxy); }},
      {"flood-proxy", "127.x.y.z:PORT, where the flooding agent arrives",
       [](Options& o, const std::string& v) { return read_endpoint(v, o.flood_proxy); }},
      {"origin-port", "port of the origin, on every loopback address",
       [](Options& o, const std::string& v) { return read_number(v, o.origin_port); }},
      {"pid", "PID[,PID]: roots of the proxy's process trees",
       [](Options& o, const std::string& v) { return read_pids(v, o.pids); }},
      {"concurrency", "operations at a time, 1 to 4096",
       [](Options& o, const std::string& v) { return read_within(v, o.concurrency, 1U, 4096U); }},
      {"rate", "operations begun a second, latency from when each was due; 0: closed loop",
       [](Options& o, const std::string& v) { return read_within(v, o.rate, 0.0, 1e6); }},
      {"warmup", "seconds that are not measured",
       [](Options& o, const std::string& v) { return read_within(v, o.warmup, 0.0, 60.0); }},
      {"seconds", "measured seconds; origin: how long it lives",
       [](Options& o, const std::string& v) {
         return read_within(v, o.seconds, 0.1, max_seconds);
       }},
      {"operations", "ends after so many measured ones, if that is earlier",
       [](Options& o, const std::string& v) { return read_number(v, o.operations); }},
      {"hosts", "names asked for, 1 to 200",
       [](Options& o, const std::string& v) { return read_within(v, o.hosts, 1U, 200U); }},
      {"rotate", "get: yes for another host on every request",
       [](Options& o, const std::string& v) { return read_yes_no(v, o.rotate); }},
      {"keep", "refused: yes for GET on a kept connection, not CONNECT on a new one",
       [](Options& o, const std::string& v) { return read_yes_no(v, o.keep); }},
      {"bytes", "bulk: of each stream, N, NM or NG",
       [](Options& o, const std::string& v) { return read_bytes(v, o.bytes); }},
      {"streams", "bulk: tunnels, 1 to 64",
       [](Options& o, const std::string& v) { return read_within(v, o.streams, 1U, 64U); }},
      {"direction", "bulk: down or up",
       [](Options& o, const std::string& v) { return read_direction(v, o.direction); }},
      {"count", "idle: tunnels; flood: connections; agents: registrations",
       [](Options& o, const std::string& v) { return read_within(v, o.count, 1U, max_count); }},
      {"body", "origin: bytes of an HTTP answer, at most 65536",
       [](Options& o, const std::string& v) { return read_within(v, o.body, 1U, 65536U); }},
      {"socket", "agents: sluiced's handover socket",
       [](Options& o, const std::string& v) {
         o.socket = v;
         return !v.empty();
       }},
  };
  return known;
}

Result<void> read_option(Options& options, std::string_view word, const std::string& value) {
  if (word.substr(0, 2) == "--") word.remove_prefix(2);
  for (const Known& option : known_options()) {
    if (option.name != word) continue;
    if (!option.read(options, value)) return bad(word, value, std::string(option.meaning));
    return {};
  }
  return fail(Errc::bad_config, fmt::format("'--{}' is no option", word), "bench_load help");
}

Result<void> check(Options& options) {
  if (std::find(modes.begin(), modes.end(), options.mode) == modes.end()) {
    return fail(Errc::bad_config, fmt::format("'{}' is no mode", options.mode), "bench_load help");
  }
  if (options.flood_proxy.sin_port == 0) options.flood_proxy = options.proxy;
  if (options.mode == "agents") {
    if (options.socket.empty()) return fail(Errc::bad_config, "agents needs --socket");
    return {};
  }
  if (options.origin_port == 0) {
    return fail(Errc::bad_config, fmt::format("{} needs --origin-port", options.mode));
  }
  if (options.mode == "origin" || options.via == Via::direct) return {};
  if (options.proxy.sin_port == 0) {
    return fail(Errc::bad_config, fmt::format("{} needs --proxy or --via direct", options.mode));
  }
  return {};
}

}  // namespace

std::string usage() {
  std::string text =
      "usage: bench_load MODE [--OPTION VALUE]...\n"
      "  origin   HTTP, echo, source and sink, by the first byte; on loopback, for --seconds\n"
      "  connect  a tunnel, 32 bytes there and back, close; a new connection each time\n"
      "  get      GET over kept connections\n"
      "  refused  requests that must be refused\n"
      "  bulk     one direction of --streams tunnels at full speed; every byte is counted\n"
      "  idle     --count tunnels held open: the proxy's memory for each\n"
      "  flood    one agent opens --count tunnels: what another agent notices\n"
      "  agents   --count agents registered over the handover socket: sluiced's memory for each\n"
      "Prints one JSON line; exit status 1 when anything went wrong on the way.\n";
  for (const Known& option : known_options()) {
    text += fmt::format("  --{:12} {}\n", option.name, option.meaning);
  }
  return text;
}

Result<Options> parse_options(const std::vector<std::string>& words) {
  Options options;
  if (words.empty()) return fail(Errc::bad_config, "no mode is named", "bench_load help");
  options.mode = words.front();
  for (std::size_t i = 1; i < words.size(); i += 2) {
    if (i + 1 == words.size()) {
      return fail(Errc::bad_config, fmt::format("'{}' needs a value", words[i]));
    }
    if (auto read = read_option(options, words[i], words[i + 1]); !read) {
      return Failure(read.error());
    }
  }
  if (auto checked = check(options); !checked) return Failure(checked.error());
  return options;
}

}  // namespace sluice::bench
