#include "proxy/wire/dns_message.h"

#include <gtest/gtest.h>

#include "proxy/wire/wire_error.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;
using samples::dns_header;
using samples::dns_opt;
using samples::dns_question;

constexpr std::size_t recursion_desired = 0x0100;
constexpr auto udp = DnsTransport::udp;
constexpr auto tcp = DnsTransport::tcp;

const std::string question = dns_question({"wWw", "a", "TeSt"}, dns_type_a);
const std::string simple = dns_header(recursion_desired, {}) + question;
const std::string with_edns =
    dns_header(recursion_desired, {.additionals = 1}) + question + dns_opt(1400, 0, 0x8000);

auto parse(const std::string& bytes) { return parse_dns_query(as_octets(bytes)); }

std::size_t number(const std::string& bytes, std::size_t at) {
  return static_cast<unsigned char>(bytes.at(at)) * 256U +
         static_cast<unsigned char>(bytes.at(at + 1));
}
std::size_t rcode(const std::string& answer) { return number(answer, 2) & 15; }

TEST(DnsQuery, IsReadWithItsNameAsText) {
  const DnsQuery query = parse(simple).value();
  EXPECT_EQ(query.id, 0xbeef);
  EXPECT_TRUE(query.recursion_desired);
  EXPECT_EQ(query.name, "wWw.a.TeSt");
  EXPECT_EQ(query.type, dns_type_a);
  EXPECT_EQ(query.klass, dns_class_in);
  EXPECT_FALSE(query.edns);
  EXPECT_EQ(query.udp_size, 512);
  EXPECT_EQ(query.question, question);

  const DnsQuery edns = parse(with_edns).value();
  EXPECT_TRUE(edns.edns);
  EXPECT_TRUE(edns.dnssec_ok);
  EXPECT_EQ(edns.udp_size, 1400);
  EXPECT_EQ(parse(dns_header(0, {}) + dns_question({}, 2)).value().name, ".");
}

TEST(DnsQuery, SpellsOddBytesSoThatNoHostIsMadeOfThem) {
  struct Case {
    std::vector<std::string> labels;
    std::string_view name;
  };
  const Case cases[] = {{{"evil.a", "test"}, "evil\\046a.test"},
                        {{"evil\0"s, "test"}, "evil\\000.test"},
                        {{"a b", "test"}, "a\\032b.test"},
                        {{"\xe3\x80\x82", "test"}, "\\227\\128\\130.test"},
                        {{"back\\slash", "t"}, "back\\092slash.t"},
                        {{"_srv", "x-y"}, "_srv.x-y"}};
  for (const Case& odd : cases) {
    EXPECT_EQ(parse(dns_header(0, {}) + dns_question(odd.labels, 1)).value().name, odd.name);
  }
}

TEST(DnsQuery, ThatIsBrokenGetsAnAnswerOrNone) {
  const auto with_name = [](const std::string& name) {
    return dns_header(0, {}) + name + "\x00\x01\x00\x01"s;
  };
  std::vector<std::string> long_name(4, std::string(63, 'a'));
  const std::string cases[] = {
      dns_header(0, {.questions = 0}),
      dns_header(0, {.questions = 2}) + question + question,
      dns_header(0, {.answers = 1}) + question,
      dns_header(0, {.authorities = 1}) + question,
      dns_header(0x0200, {}) + question,
      with_name("\xc0\x0c"),
      with_name("\x01"s + "a\xc0\x0c"),
      with_name("\x40"s + std::string(64, 'a') + "\0"s),
      with_name(samples::dns_name(long_name)),
      dns_header(0, {}) + question.substr(0, question.size() - 1),
      dns_header(0, {}),
      simple + "x",
      dns_header(0, {.additionals = 1}) + question,
      dns_header(0, {.additionals = 2}) + question + dns_opt(512, 0, 0) + dns_opt(512, 0, 0),
      dns_header(0, {.additionals = 1}) + question + "\x01"s + "a" + dns_opt(512, 0, 0),
  };
  for (const std::string& bytes : cases) {
    const auto query = parse(bytes);
    ASSERT_FALSE(query) << bytes.size();
    ASSERT_EQ(query.error().reply.size(), 12U) << query.error().why;
    EXPECT_EQ(number(query.error().reply, 0), 0xbeefU);
    EXPECT_EQ(rcode(query.error().reply), 1U) << query.error().why;
    EXPECT_EQ(number(query.error().reply, 4), 0U);
  }
  for (const std::string& bytes : {""s, simple.substr(0, 11), dns_header(0x8000, {}) + question}) {
    EXPECT_EQ(parse(bytes).error().reply, "");
  }
  const auto update = parse(dns_header(5 << 11, {}) + question);
  EXPECT_EQ(rcode(update.error().reply), 4U);
  EXPECT_EQ(number(update.error().reply, 2) >> 11 & 15, 5U);
}

TEST(DnsQuery, MayHaveANameOf255Bytes) {
  const std::vector<std::string> longest = {std::string(63, 'a'), std::string(63, 'b'),
                                            std::string(63, 'c'), std::string(61, 'd')};
  EXPECT_EQ(parse(dns_header(0, {}) + dns_question(longest, 1)).value().name.size(), 253U);
  auto longer = longest;
  longer[3] += 'd';
  EXPECT_FALSE(parse(dns_header(0, {}) + dns_question(longer, 1)));
}

TEST(DnsQuery, OfAnotherEdnsVersionGetsBadvers) {
  const auto query = parse(dns_header(0, {.additionals = 1}) + question + dns_opt(512, 1, 0));
  ASSERT_FALSE(query);
  EXPECT_EQ(rcode(query.error().reply), 0U);
  EXPECT_EQ(query.error().reply.substr(12 + question.size()),
            "\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00"s);
}

TEST(DnsAnswer, RepeatsTheQuestionByteForByte) {
  const IpAddress addresses[] = {IpAddress::v4(0xc6120001)};
  const std::string answer = dns_addresses(parse(simple).value(), addresses, 60, udp);
  EXPECT_EQ(answer, "\xbe\xef\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"s + question +
                        "\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc6\x12\x00\x01"s);
  const IpAddress v6[] = {*IpAddress::parse("fd73:6c75:6963::1")};
  const std::string six = dns_addresses(parse(with_edns).value(), v6, 60, udp);
  EXPECT_EQ(six.substr(12 + question.size()),
            "\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\xfd\x73\x6c\x75\x69\x63"s +
                std::string(9, '\0') + "\x01" + "\x00\x00\x29\x04\xd0\x00\x00\x80\x00\x00\x00"s);
}

TEST(DnsAnswer, ThatIsNegativeMayBeRememberedForSeconds) {
  const std::string answer = dns_no_data(parse(simple).value(), udp);
  EXPECT_EQ(rcode(answer), 0U);
  EXPECT_EQ(number(answer, 6), 0U);
  EXPECT_EQ(number(answer, 8), 1U);
  const std::string soa = answer.substr(12 + question.size());
  EXPECT_EQ(soa.substr(0, 12), "\xc0\x0c\x00\x06\x00\x01\x00\x00\x00\x05\x00\x16"s);
  EXPECT_EQ(soa.size(), 12U + 22U);
  EXPECT_EQ(soa.substr(30), "\x00\x00\x00\x05"s);
}

TEST(DnsAnswer, CarriesTheSentenceOnlyToWhoSpeaksEdns) {
  const std::string plain = dns_name_error(parse(simple).value(), "because", udp);
  EXPECT_EQ(rcode(plain), 3U);
  EXPECT_EQ(plain.find("because"), std::string::npos);
  EXPECT_EQ(number(plain, 10), 0U);
  const std::string edns = dns_name_error(parse(with_edns).value(), "because", udp);
  EXPECT_EQ(rcode(edns), 3U);
  EXPECT_TRUE(edns.ends_with("\x00\x0d\x00\x0f\x00\x09\x00\x11"s + "because"));
  const std::string failure = dns_server_failure(parse(with_edns).value(), "why", udp);
  EXPECT_EQ(rcode(failure), 2U);
  EXPECT_TRUE(failure.ends_with("\x00\x0f\x00\x05\x00\x00"s + "why"));
  EXPECT_EQ(rcode(dns_format_error(parse(simple).value(), udp)), 1U);
  EXPECT_EQ(rcode(dns_not_implemented(parse(simple).value(), udp)), 4U);
}

TEST(DnsAnswer, FitsWhatTheClientCanTake) {
  const DnsQuery query = parse(simple).value();
  const std::vector<IpAddress> many(100, IpAddress::v4(0xc6120001));
  const std::string cut = dns_addresses(query, many, 60, udp);
  EXPECT_EQ(cut.size(), 12 + question.size());
  EXPECT_EQ(number(cut, 2) & 0x0200, 0x0200U);
  EXPECT_EQ(number(cut, 6), 0U);
  EXPECT_EQ(number(dns_addresses(query, many, 60, tcp), 6), 100U);
  const std::vector<IpAddress> flood(10000, IpAddress::v4(0xc6120001));
  EXPECT_EQ(number(dns_addresses(query, flood, 60, tcp), 2) & 0x0200, 0x0200U);

  // A sentence is left out before an answer is cut off; a long one is shortened first.
  const std::vector<std::string> longest = {std::string(63, 'a'), std::string(63, 'b'),
                                            std::string(63, 'c'), std::string(61, 'd')};
  const DnsQuery small =
      parse(dns_header(0, {.additionals = 1}) + dns_question(longest, 1) + dns_opt(512, 0, 0))
          .value();
  const std::string bare = dns_name_error(small, std::string(300, 's'), udp);
  EXPECT_EQ(number(bare, 2) & 0x0200, 0U);
  EXPECT_EQ(bare.find("sss"), std::string::npos);
  EXPECT_LE(dns_name_error(small, std::string(99999, 's'), tcp).size(), 1024U);
}

}  // namespace
}  // namespace sluice::proxy::wire
