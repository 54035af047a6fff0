// What it costs to read and to write the messages of each protocol, without sockets.
#include <string>
#include <string_view>

#include "bench/run.h"
#include "proxy/wire/basic_auth.h"
#include "proxy/wire/body.h"
#include "proxy/wire/chunked.h"
#include "proxy/wire/client_hello.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/reply.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view short_request =
    "GET http://api.example.com/v1/items?page=2 HTTP/1.1\r\n"
    "Host: api.example.com\r\n"
    "User-Agent: curl/7.88.1\r\n"
    "Accept: */*\r\n"
    "Proxy-Connection: Keep-Alive\r\n\r\n";

constexpr std::string_view long_request =
    "GET http://www.example.com/articles/2026/01/how-proxies-work.html?utm_source=feed HTTP/1.1\r\n"
    "Host: www.example.com\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:115.0) Gecko/20100101 Firefox/115.0\r\n"
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;"
    "q=0.8\r\n"
    "Accept-Language: en-US,en;q=0.5\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Referer: http://www.example.com/articles/2026/01/index.html\r\n"
    "DNT: 1\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef0123456789abcdef; theme=dark; "
    "consent=eyJ2IjoxLCJwIjpbImEiLCJiIiwiYyJdLCJ0IjoxNzY3MzIzMDQ1fQ; visitor=4f6d9c1e-0b7a-4c55;"
    " cart=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0\r\n"
    "Connection: keep-alive\r\n"
    "Upgrade-Insecure-Requests: 1\r\n"
    "Sec-Fetch-Dest: document\r\n"
    "Sec-Fetch-Mode: navigate\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-User: ?1\r\n"
    "If-None-Match: \"5f3c-61a1b2c3d4e5f\"\r\n"
    "Cache-Control: max-age=0\r\n\r\n";

constexpr std::string_view connect_request =
    "CONNECT api.example.com:443 HTTP/1.1\r\n"
    "Host: api.example.com:443\r\n"
    "User-Agent: curl/7.88.1\r\n"
    "Proxy-Connection: Keep-Alive\r\n\r\n";

constexpr std::string_view response =
    "HTTP/1.1 200 OK\r\n"
    "Server: nginx\r\n"
    "Date: Fri, 02 Jan 2026 03:04:05 GMT\r\n"
    "Content-Type: application/json; charset=utf-8\r\n"
    "Content-Length: 1234\r\n"
    "Connection: keep-alive\r\n"
    "ETag: W/\"4d2-9f86d081884c7d65\"\r\n"
    "Cache-Control: private, max-age=0, must-revalidate\r\n"
    "Vary: Accept-Encoding\r\n"
    "X-Request-Id: 7f8e9dac-1b2c-4d3e-8f90-a1b2c3d4e5f6\r\n"
    "Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\r\n";

RequestHead parse_request(std::string_view bytes) {
  std::size_t scanned = 0;
  auto head = parse_request_head(bytes, {}, scanned);
  benchmark::DoNotOptimize(head);
  return std::move(**head);
}

void read_short_request() { benchmark::DoNotOptimize(parse_request(short_request)); }
void read_long_request() { benchmark::DoNotOptimize(parse_request(long_request)); }
void read_connect_request() { benchmark::DoNotOptimize(parse_request(connect_request)); }

void forward(const RequestHead& head, const allowlists::Target& target) {
  const auto form = parse_absolute_form(head.target);
  const auto body = request_body(head);
  benchmark::DoNotOptimize(
      forward_request_head({head, target, form->path_and_query, *body, "4f6d9c1e"}));
}

allowlists::Target target(std::string_view authority) {
  return *allowlists::Target::parse(authority, 80);
}

void forward_short_request() {
  static const RequestHead head = parse_request(short_request);
  static const allowlists::Target to = target("api.example.com");
  forward(head, to);
}

void forward_long_request() {
  static const RequestHead head = parse_request(long_request);
  static const allowlists::Target to = target("www.example.com");
  forward(head, to);
}

void read_and_forward_response() {
  std::size_t scanned = 0;
  const auto head = parse_response_head(response, {}, scanned);
  const auto body = response_body("GET", **head);
  benchmark::DoNotOptimize(forward_response_head({**head, "GET", *body}, KeepAlive::yes));
}

std::string vector(std::size_t length_octets, std::string_view content) {
  std::string out;
  while (length_octets-- > 0) {
    out += static_cast<char>(content.size() >> (8 * length_octets) & 0xff);
  }
  return out.append(content);
}

std::string extension(unsigned type, std::string_view data) {
  return std::string{static_cast<char>(type >> 8), static_cast<char>(type)} + vector(2, data);
}

// Two groups in key_share (RFC 8446 4.2.8): one of `first_share` bytes, and X25519.
std::string client_hello(std::size_t first_share, std::size_t padding) {
  const std::string share = std::string("\x11\xec", 2) + vector(2, std::string(first_share, 'm')) +
                            std::string("\x00\x1d", 2) + vector(2, std::string(32, 'x'));
  const std::string extensions =
      extension(0x0a0a, "") +
      extension(0, vector(2, std::string(1, '\0') + vector(2, "api.example.com"))) +
      extension(23, "") + extension(0xff01, "\0"sv) +
      extension(10, vector(2, "\x11\xec\x00\x1d\x00\x17\x00\x18"sv)) + extension(11, "\x01\x00"sv) +
      extension(35, "") + extension(16, vector(2, "\x02h2\x08http/1.1")) +
      extension(5, "\x01\x00\x00\x00\x00"sv) +
      extension(13, vector(2, "\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01")) +
      extension(18, "") + extension(51, vector(2, share)) + extension(45, "\x01\x01"sv) +
      extension(43, "\x04\x03\x04\x03\x03"sv) + extension(27, "\x02\x00\x02"sv) +
      extension(21, std::string(padding, '\0'));
  const std::string body = "\x03\x03" + std::string(32, 'r') + vector(1, std::string(32, 's')) +
                           vector(2, std::string(32, '\x13')) + vector(1, "\0"sv) +
                           vector(2, extensions);
  return "\x16\x03\x01" + vector(2, "\x01" + vector(3, body));
}

void read_hello(std::string_view bytes) {
  ClientHelloReader reader;
  benchmark::DoNotOptimize(reader.feed(as_octets(bytes)));
  benchmark::DoNotOptimize(reader.hello());
}

void read_client_hello() {
  static const std::string bytes = client_hello(32, 182);  // 517 bytes: as OpenSSL pads it
  read_hello(bytes);
}
void read_post_quantum_client_hello() {
  static const std::string bytes = client_hello(1216, 182);  // X25519MLKEM768: 1.7 KiB
  read_hello(bytes);
}

constexpr std::string_view dns_question =
    "\xbe\xef\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"
    "\x03"
    "api\x07"
    "example\x03"
    "com\x00\x00\x01\x00\x01"
    "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"sv;

void answer_dns() {
  const auto query = parse_dns_query(as_octets(dns_question));
  const IpAddress address = IpAddress::v4(0xc6120001);
  benchmark::DoNotOptimize(dns_addresses(*query, std::span(&address, 1), 60, DnsTransport::udp));
}

Refusal not_listed(std::string_view shown) {
  return {.reason = Reason::not_listed,
          .agent = "coder-1",
          .target = std::string(shown),
          .rule = "default",
          .detail = ""};
}

void refuse_dns() {
  const auto query = parse_dns_query(as_octets(dns_question));
  static const Refusal refusal = not_listed("api.example.com");
  benchmark::DoNotOptimize(dns_refusal(*query, refusal, DnsTransport::udp));
}

void word_refusal() {
  static const Refusal refusal = not_listed("other.example.com:443");
  benchmark::DoNotOptimize(sentence(refusal));
}

void refuse_in_text() {
  static const Refusal refusal = not_listed("other.example.com:443");
  benchmark::DoNotOptimize(http_refusal(refusal, AsJson::no, KeepAlive::yes));
}
void refuse_in_json() {
  static const Refusal refusal = not_listed("other.example.com:443");
  benchmark::DoNotOptimize(http_refusal(refusal, AsJson::yes, KeepAlive::yes));
}

void read_basic_auth() {
  static const RequestHead head = parse_request(
      "CONNECT api.example.com:443 HTTP/1.1\r\n"
      "Host: api.example.com:443\r\n"
      "Proxy-Authorization: Basic Y29kZXItMTpjb3JyZWN0LWhvcnNlLWJhdHRlcnktc3RhcGxl\r\n"
      "User-Agent: curl/7.88.1\r\n\r\n");
  benchmark::DoNotOptimize(read_proxy_authorization(head));
}

// Sixteen events of 120 bytes, each a chunk of its own, as a model's answer is streamed.
void read_chunked_body() {
  static const std::string body = [] {
    std::string out;
    for (int i = 0; i < 16; ++i) {
      out.append(chunk_header(120)).append(120, 'e').append(chunk_end);
    }
    return out.append(last_chunk);
  }();
  ChunkedReader reader(Reason::unreachable);
  std::string_view left = body;
  while (!left.empty()) {
    const auto step = reader.feed(left);
    benchmark::DoNotOptimize(step->payload);
    left.remove_prefix(step->consumed);
  }
}

void write_chunk_header() { benchmark::DoNotOptimize(chunk_header(1460)); }

constexpr bench::Operation operations[] = {
    {"read_short_request", read_short_request},
    {"read_long_request", read_long_request},
    {"read_connect_request", read_connect_request},
    {"forward_short_request", forward_short_request},
    {"forward_long_request", forward_long_request},
    {"read_and_forward_response", read_and_forward_response},
    {"read_client_hello", read_client_hello},
    {"read_post_quantum_client_hello", read_post_quantum_client_hello},
    {"answer_dns", answer_dns},
    {"refuse_dns", refuse_dns},
    {"word_refusal", word_refusal},
    {"refuse_in_text", refuse_in_text},
    {"refuse_in_json", refuse_in_json},
    {"read_basic_auth", read_basic_auth},
    {"read_chunked_body", read_chunked_body},
    {"write_chunk_header", write_chunk_header},
};

}  // namespace
}  // namespace sluice::proxy::wire

int main(int argc, char** argv) {
  return sluice::bench::run(sluice::proxy::wire::operations, argc, argv);
}
