#include "bench/load/wire.h"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <charconv>

namespace sluice::bench {
namespace {

constexpr std::uint32_t first_host = 0x7f010001;

std::string two_bytes(std::size_t value) {
  return {static_cast<char>(value >> 8U), static_cast<char>(value)};
}

// The value of a field of a head, "" when it has none.
std::string_view field(std::string_view head, std::string_view name) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  for (std::size_t line = head.find("\r\n"); line != std::string_view::npos;
       line = head.find("\r\n", line + 2)) {
    std::string_view rest = head.substr(line + 2);
    if (rest.size() <= name.size() || rest[name.size()] != ':') continue;
    if (!std::equal(name.begin(), name.end(), rest.begin(), same)) continue;
    rest = rest.substr(name.size() + 1, rest.find("\r\n") - name.size() - 1);
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    return rest;
  }
  return {};
}

Judged judge_echo(std::string_view in, Ended ended) {
  if (in == ping) return {.progress = Progress::whole};
  const bool may_grow = in.size() < ping.size() && ping.substr(0, in.size()) == in;
  return {.progress = may_grow && ended == Ended::no ? Progress::more : Progress::wrong};
}

// What is known of an HTTP answer once its head is there.
struct Answer {
  Judged judged;
  std::string_view body;
  std::optional<std::size_t> length;
};

Answer judge_head(std::string_view in, Ended ended) {
  Answer answer;
  const std::size_t end = in.find("\r\n\r\n");
  if (end == std::string_view::npos) {
    if (ended == Ended::yes) answer.judged.progress = Progress::wrong;
    return answer;
  }
  const std::string_view head = in.substr(0, end + 2);
  if (head.substr(0, 7) != "HTTP/1." || head.size() < 14) {
    answer.judged.progress = Progress::wrong;
    return answer;
  }
  std::from_chars(head.data() + 9, head.data() + 12, answer.judged.status);
  answer.judged.closes = field(head, "connection") == "close" || head[7] == '0';
  answer.body = in.substr(end + 4);
  const std::string_view length = field(head, "content-length");
  std::size_t value = 0;
  if (!length.empty()) {
    std::from_chars(length.data(), length.data() + length.size(), value);
    answer.length = value;
  }
  return answer;
}

Judged judge_body(const Answer& answer, Expect expect, Ended ended) {
  Judged judged = answer.judged;
  const unsigned wanted = expect == Expect::refusal ? 403 : 200;
  const bool all_x = expect == Expect::refusal ||
                     answer.body.find_first_not_of(body_byte) == std::string_view::npos;
  if (judged.status != wanted || !all_x) {
    judged.progress = Progress::wrong;
  } else if (answer.length) {
    if (answer.body.size() == *answer.length) judged.progress = Progress::whole;
    if (answer.body.size() > *answer.length) judged.progress = Progress::wrong;
    if (answer.body.size() < *answer.length && ended == Ended::yes) {
      judged.progress = Progress::wrong;
    }
  } else if (ended == Ended::yes) {
    judged.progress = Progress::whole;
    judged.closes = true;
  }
  return judged;
}

Judged judge_tunnel(const Answer& answer) {
  Judged judged = answer.judged;
  if (judged.status == 0) return judged;
  const bool right = judged.status / 100 == 2 && answer.body.empty();
  judged.progress = right ? Progress::whole : Progress::wrong;
  judged.closes = false;
  return judged;
}

}  // namespace

std::string host_name(Target target, unsigned index) {
  return target == Target::allowed ? fmt::format("api.svc{:03}.bench.test", index)
                                   : fmt::format("no.svc{:03}.refused.test", index);
}

in_addr host_address(unsigned index) noexcept { return {htonl(first_host + index)}; }

std::string order(char what, std::uint64_t length) {
  std::string bytes(1, what);
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(length >> shift);
  return bytes;
}

std::uint64_t order_length(std::string_view order) noexcept {
  std::uint64_t length = 0;
  for (const char byte : order.substr(1, 8)) {
    length = length << 8U | static_cast<unsigned char>(byte);
  }
  return length;
}

std::string connect_head(const std::string& host, std::uint16_t port) {
  return fmt::format("CONNECT {0}:{1} HTTP/1.1\r\nHost: {0}:{1}\r\n\r\n", host, port);
}

std::string get_head(const std::string& host, std::uint16_t port, Via via) {
  const std::string authority = fmt::format("{}:{}", host, port);
  const std::string form = via == Via::connect ? "http://" + authority + "/" : "/";
  return fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n",
                     form, authority);
}

std::string client_hello(const std::string& host) {
  const std::string name = std::string(1, 0) + two_bytes(host.size()) + host;
  const std::string list = two_bytes(name.size()) + name;
  const std::string extension = two_bytes(0) + two_bytes(list.size()) + list;
  std::string body = "\x03\x03" + std::string(32, 'r') + std::string(1, 0);  // version, random, id
  body += two_bytes(2) + "\x13\x01" + std::string("\x01\x00", 2);  // TLS_AES_128_GCM_SHA256, null
  body += two_bytes(extension.size()) + extension;
  const std::string message = std::string("\x01\x00", 2) + two_bytes(body.size()) + body;
  return "\x16\x03\x01" + two_bytes(message.size()) + message;
}

Judged judge(Expect expect, std::string_view in, Ended ended) {
  switch (expect) {
    case Expect::echo:
      return judge_echo(in, ended);
    case Expect::ready:
      if (in == "D" || in == "U") return {.progress = Progress::whole};
      return {.progress = in.empty() && ended == Ended::no ? Progress::more : Progress::wrong};
    case Expect::closed:
      if (!in.empty()) return {.progress = Progress::wrong};
      return {.progress = ended == Ended::yes ? Progress::whole : Progress::more};
    case Expect::tunnel:
      return judge_tunnel(judge_head(in, ended));
    default: {
      const Answer answer = judge_head(in, ended);
      return answer.judged.status == 0 ? answer.judged : judge_body(answer, expect, ended);
    }
  }
}

std::vector<Way> ways(const Options& options) {
  std::vector<Way> all(options.hosts);
  for (unsigned i = 0; i < options.hosts; ++i) {
    const std::string host = host_name(Target::allowed, i);
    if (options.via == Via::connect) {
      all[i].open = {{connect_head(host, options.origin_port), Expect::tunnel}};
    }
    if (options.via == Via::sni) all[i].prefix = client_hello(host);
  }
  return all;
}

}  // namespace sluice::bench
