// Every parser on broken input: some thousand mutations of good messages from a fixed seed, fed
// whole and in pieces. What they promise of sizes must hold, and both ways must agree.
#include <gtest/gtest.h>

#include <random>

#include "proxy/wire/body.h"
#include "proxy/wire/chunked.h"
#include "proxy/wire/client_hello.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/first_bytes.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/reply.h"
#include "proxy/wire/socks.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;

constexpr int mutations = 20000;
constexpr std::uint32_t seed = 20260102;
// So many mutants at least must get past the parser, else the rest of a test looks at nothing.
constexpr int survivors = mutations / 50;

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> good) : good_(std::move(good)) {}

  std::size_t below(std::size_t limit) { return std::size_t{random_()} % limit; }

  std::string next() {
    std::string bytes = good_[below(good_.size())];
    for (std::size_t changes = 1 + below(4); changes > 0 && !bytes.empty(); --changes)
      change(bytes);
    return bytes;
  }

 private:
  void change(std::string& bytes) {
    static const std::string favourites = "\0\x01\x03\x05\x16\x3f\x40\xc0\xff\r\n\t :;,#@0f"s;
    const std::size_t at = below(bytes.size());
    switch (below(6)) {
      case 0:
        bytes[at] = static_cast<char>(below(256));
        break;
      case 1:
        bytes[at] = favourites[below(favourites.size())];
        break;
      case 2:
        bytes.insert(at, 1, favourites[below(favourites.size())]);
        break;
      case 3:
        bytes.erase(at, 1 + below(4));
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), below(20)));
        break;
      default:
        bytes.resize(at);
        break;
    }
  }

  std::vector<std::string> good_;
  std::mt19937 random_{seed};
};

const std::vector<std::string> requests = {
    "GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\nConnection: close, X\r\nX: y\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: [::1]:80\r\nContent-Length: 12\r\nVia: 1.1 x\r\n\r\nhello",
    "\r\nOPTIONS * HTTP/1.0\r\nTransfer-Encoding: chunked\r\nMax-Forwards: 3\r\n\r\n",
    "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\nAccept: application/json;q=0.1\r\n\r\n"};

TEST(Mutations, OfRequestsAreJudgedAlikeWholeAndInPieces) {
  Mutator mutator(requests);
  const auto target = *allowlists::Target::parse("a.test:80", std::nullopt);
  int accepted = 0;
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    std::size_t whole_scanned = 0;
    const auto whole = parse_request_head(bytes, {200, 8}, whole_scanned);
    std::size_t scanned = 0;
    const std::string part = bytes.substr(0, mutator.below(bytes.size() + 1));
    const auto early = parse_request_head(part, {200, 8}, scanned);
    ASSERT_LE(scanned, part.size());
    if (early && *early) {
      ASSERT_EQ((*early)->size, whole.value()->size);
    }
    if (early && !*early) {
      const auto late = parse_request_head(bytes, {200, 8}, scanned);
      ASSERT_EQ(late.has_value(), whole.has_value());
    }
    classify(bytes);
    if (!whole || !*whole) continue;
    const RequestHead& head = **whole;
    ASSERT_LE(head.size, bytes.size());
    wants_json(head);
    const auto form = parse_absolute_form(head.target);
    const auto body = request_body(head);
    if (!body) continue;
    const std::string path = form ? form->origin_form(head.method) : std::string(head.target);
    const auto out = forward_request_head({head, target, path, *body, "t"});
    if (!out) continue;
    // What we send must itself be one whole message of the same framing.
    const RequestHead again = samples::request(*out);
    ASSERT_EQ(again.size, out->size());
    ASSERT_EQ(request_body(again).value(), *body);
    ASSERT_EQ(again.find("host"), "a.test");
    ++accepted;
  }
  EXPECT_GT(accepted, survivors);
}

TEST(Mutations, OfResponsesStayWithinTheirBytes) {
  Mutator mutator({"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nConnection: x\r\nX: y\r\n\r\nhello",
                   "HTTP/1.0 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n",
                   "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nVia: 1.1 x\r\n\r\n"});
  int accepted = 0;
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    std::size_t scanned = 0;
    const auto head = parse_response_head(bytes, {200, 8}, scanned);
    if (!head || !*head) continue;
    ASSERT_LE((*head)->size, bytes.size());
    const auto body = response_body("GET", **head);
    if (!body) continue;
    const auto out = forward_response_head({**head, "GET", *body}, KeepAlive::yes);
    if (!out) continue;
    const ResponseHead again = samples::response(*out);
    ASSERT_EQ(again.size, out->size());
    ASSERT_EQ(response_body("GET", again).value(), *body);
    ++accepted;
  }
  EXPECT_GT(accepted, survivors);
}

// The body and how the reading ended: 'd'one, 'e'rror or 'm'ore.
std::pair<std::string, char> read_chunked(std::string_view bytes, std::size_t piece) {
  ChunkedReader reader(Reason::bad_request);
  std::string body;
  while (!bytes.empty()) {
    std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    while (!now.empty()) {
      const auto step = reader.feed(now);
      if (!step) return {body, 'e'};
      EXPECT_LE(step->consumed, now.size());
      body += step->payload;
      if (step->done) return {body, 'd'};
      EXPECT_GT(step->consumed, 0U);
      now.remove_prefix(step->consumed);
    }
  }
  return {body, 'm'};
}

TEST(Mutations, OfChunkedBodiesAreReadAlikeWholeAndByteByByte) {
  Mutator mutator(
      {"5\r\nhello\r\n00a ;name=\"v\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nHost: h\r\n\r\n",
       "1\r\nx\r\n0\r\n\r\n"});
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    ASSERT_EQ(read_chunked(bytes, bytes.size() + 1), read_chunked(bytes, 1)) << bytes;
  }
}

TEST(Mutations, OfClientHellosAreJudgedAlikeWholeAndByteByByte) {
  const std::string hello =
      samples::client_hello(samples::extension(0x0a0a, "") + samples::server_name("a.test") +
                            samples::extension(0xfe0d, "x"));
  Mutator mutator(
      {samples::record(hello), samples::records(hello, 20), samples::records(hello, 1)});
  int accepted = 0;
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    ClientHelloReader whole;
    const auto status = whole.feed(as_octets(bytes));
    ClientHelloReader slow;
    for (const std::uint8_t& octet : as_octets(bytes)) slow.feed({&octet, 1});
    ASSERT_EQ(slow.feed({}), status);
    ASSERT_EQ(slow.why(), whole.why());
    ASSERT_EQ(slow.hello().server_name, whole.hello().server_name);
    if (whole.hello().server_name) {
      ASSERT_LE(whole.hello().server_name->size(), 253U);
      ++accepted;
    }
  }
  EXPECT_GT(accepted, survivors);
}

TEST(Mutations, OfSocksMessagesStayWithinTheirBytes) {
  Mutator mutator({"\x05\x02\x00\x02"s, "\x05\x01\x00\x03\x06"s + "a.test" + "\x01\xbb",
                   "\x05\x01\x00\x01\xc0\x00\x02\x01\x00\x50"s,
                   "\x05\x01\x00\x04"s + std::string(16, 'x') + "\x00\x50"s});
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    const auto greeting = parse_socks_greeting(bytes);
    if (greeting && *greeting) {
      ASSERT_LE((*greeting)->size, bytes.size());
    }
    const auto request = parse_socks_request(bytes);
    if (!request || !*request) continue;
    ASSERT_LE((*request)->size, bytes.size());
    // One byte less is not enough: nothing behind the message was read.
    const auto shorter =
        parse_socks_request(std::string_view(bytes).substr(0, (*request)->size - 1));
    ASSERT_TRUE(shorter && !*shorter);
  }
}

TEST(Mutations, OfDnsQueriesGetAnAnswerToTheirOwnQuestionOrNone) {
  Mutator mutator({samples::dns_header(0x0100, {}) + samples::dns_question({"a", "test"}, 1),
                   samples::dns_header(0x0100, {.additionals = 1}) +
                       samples::dns_question({"www", "a", "test"}, 28) +
                       samples::dns_opt(1232, 0, 0)});
  const IpAddress addresses[] = {IpAddress::v4(0xc6120001)};
  int accepted = 0;
  for (int i = 0; i < mutations; ++i) {
    const std::string bytes = mutator.next();
    const auto query = parse_dns_query(as_octets(bytes));
    if (!query) {
      ASSERT_TRUE(query.error().reply.empty() || query.error().reply.size() >= 12);
      ASSERT_TRUE(query.error().reply.empty() || bytes.size() >= 12);
      continue;
    }
    ++accepted;
    ASSERT_EQ(bytes.substr(12, query->question.size()), query->question);
    for (const std::string& answer :
         {dns_addresses(*query, addresses, 60, DnsTransport::udp),
          dns_name_error(*query, std::string(600, 's'), DnsTransport::udp),
          dns_no_data(*query, DnsTransport::udp)}) {
      ASSERT_LE(answer.size(), query->udp_size);
      ASSERT_EQ(answer.substr(0, 2), bytes.substr(0, 2));
      ASSERT_EQ(answer.substr(12, query->question.size()), query->question);
    }
  }
  EXPECT_GT(accepted, survivors);
}

}  // namespace
}  // namespace sluice::proxy::wire
