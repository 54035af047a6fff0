// TLS to an explicit listener: what a client certificate says, and that nothing else is let in.
#include <gmock/gmock.h>

#include <thread>

#include "tests/loopback/listening.h"
#include "tests/loopback/tls_client.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

// An authority and the identities that it gave out.
struct Authority {
  explicit Authority(const std::string& name)
      : own(make_identity({.common_name = name, .alternative = "", .authority = true})) {}
  void issue(const std::string& common_name, const std::string& alternative = "") {
    issued[common_name] =
        make_identity({.common_name = common_name, .alternative = alternative, .issuer = &own});
  }

  const Identity own;
  std::map<std::string, Identity> issued;  // by common name
};

struct Talk {
  std::uint16_t port = 0;
  const Authority* authority = nullptr;
  std::string certificate;  // its common name; "": none
  std::string bytes;
  std::size_t enough = SIZE_MAX;  // closes when so many bytes were heard
};

// What it hears.
std::string talk_tls(const Talk& talk) {
  const Identity* const identity =
      talk.certificate.empty() ? nullptr : &talk.authority->issued.at(talk.certificate);
  TlsClient client(talk.port, identity);
  if (!client.shake_hands()) return "no handshake";
  client.say(talk.bytes);
  std::string heard;
  client.hear(heard, talk.enough);
  if (heard.empty()) return "refused";
  client.say_end();
  return heard;
}

class ListenTls : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ours = new Authority("ours");
    ours->issue("proxy", "DNS:proxy.test");
    ours->issue("agent", "DNS:coder-5,DNS:coder-6");
    ours->issue("coder-7");
    ours->issue("no agent name");
    theirs = new Authority("theirs");
    theirs->issue("agent", "DNS:coder-5");
    folder = new PemFolder;
    const Identity& proxy = ours->issued.at("proxy");
    certificate_file = folder->write_certificate("proxy.pem", proxy);
    key_file = folder->write_key("proxy.key", proxy);
    authority_file = folder->write_certificate("ca.pem", ours->own);
  }
  static void TearDownTestSuite() {
    delete ours;
    delete theirs;
    delete folder;
  }

  static Config::Listener::Tls files() {
    return {.cert = certificate_file, .key = key_file, .client_ca = authority_file};
  }
  static Config::Listener::Tls files_without_clients() {
    return {.cert = certificate_file, .key = key_file};
  }
  static Config::Listener by_certificate() {
    return {.tls = files(), .who = Config::Listener::ByCertificate()};
  }
  // The client's thread blocks; the bench runs meanwhile.
  static std::string talk(Listening& bench, Talk talk) {
    talk.port = bench.listening_port();
    if (talk.authority == nullptr) talk.authority = ours;
    std::string heard;
    std::atomic<bool> over{false};
    std::thread thread([&] {
      heard = talk_tls(talk);
      over = true;
    });
    bench.run_until([&] { return over.load(); });
    thread.join();
    return heard;
  }

  static inline Authority* ours = nullptr;
  static inline Authority* theirs = nullptr;
  static inline PemFolder* folder = nullptr;
  static inline std::string certificate_file;
  static inline std::string key_file;
  static inline std::string authority_file;
};

constexpr std::string_view http_ok = "HTTP/1.1 200 OK\r\n";

TEST_F(ListenTls, KnowsAnAgentByItsCertificateInEveryProtocol) {
  Listening bench(by_certificate());
  const auto agent = bench.agents.visit("coder-5");
  ASSERT_TRUE(agent);
  const std::string http = bench.get("Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.certificate = "agent", .bytes = http}), StartsWith(http_ok));
  const std::string tunnel = bench.connect() + "\x01hello";
  EXPECT_THAT(talk(bench, {.certificate = "agent", .bytes = tunnel, .enough = 45}),
              testing::EndsWith("\r\n\r\n\x01hello"));
  std::string socks(
      "\x05\x01\x00\x05\x01\x00\x03\x0c"
      "allowed.test",
      20);
  socks += {static_cast<char>(bench.port >> 8), static_cast<char>(bench.port & 0xff)};
  EXPECT_THAT(talk(bench, {.certificate = "agent", .bytes = socks + "\x01hello", .enough = 18}),
              testing::EndsWith("\x01hello"));
  bench.settle();
  EXPECT_EQ((*agent)->metrics->totals().allowed, 3U);
}

TEST_F(ListenTls, TakesTheCommonNameOfACertificateWithoutDnsNames) {
  Listening bench(by_certificate());
  const auto agent = bench.agents.visit("coder-7");
  const std::string http = bench.get("Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.certificate = "coder-7", .bytes = http}), StartsWith(http_ok));
  bench.settle();
  EXPECT_EQ((*agent)->metrics->totals().allowed, 1U);
}

TEST_F(ListenTls, RefusesACertificateThatNamesNoAgentAndANameThatIsRegistered) {
  Listening bench(by_certificate());
  EXPECT_THAT(talk(bench, {.certificate = "no agent name", .bytes = bench.get()}),
              testing::AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("details=\"unknown_agent\""),
                             HasSubstr("'no agent name' in the certificate is no agent name")));
  ASSERT_TRUE(bench.agents.reserve("coder-7"));
  EXPECT_THAT(talk(bench, {.certificate = "coder-7", .bytes = bench.get()}),
              testing::AllOf(StartsWith("HTTP/1.1 403 "), HasSubstr("'coder-7' is taken")));
  bench.settle();
  EXPECT_EQ(bench.origin_connections(), 0);
}

TEST_F(ListenTls, FailsTheHandshakeWithoutACertificateOfItsAuthorityAndCountsIt) {
  Listening bench(by_certificate());
  for (const Talk& one :
       {Talk{.bytes = bench.get()},
        Talk{.authority = theirs, .certificate = "agent", .bytes = bench.get()}}) {
    const std::string heard = talk(bench, one);
    EXPECT_TRUE(heard == "refused" || heard == "no handshake") << heard;
  }
  EXPECT_EQ(bench.talk(bench.get()).find("HTTP/1.1"), std::string::npos) << "plain bytes";
  bench.run_until([&] { return bench.denied_to_nobody(Reason::auth_required) == 3; });
  EXPECT_EQ(bench.origin_connections(), 0);
  for (const auto& line : bench.audit_lines()) {
    EXPECT_EQ(line["agent"], "(unidentified)");
    EXPECT_THAT(line["error"].get<std::string>(), StartsWith("TLS with 127.0.0.1 on 0.0.0.0:0 "));
  }
}

TEST_F(ListenTls, HidesPasswordsWhereClientsNeedNoCertificate) {
  Config::Listener listener = by_password();
  listener.tls = files_without_clients();
  Listening bench(listener);
  const std::string right = bench.get(basic("coder-3:right") + "Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.bytes = right}), StartsWith(http_ok));
  EXPECT_THAT(talk(bench, {.bytes = bench.get(basic("coder-3:wrong")) + right}),
              testing::AllOf(StartsWith("HTTP/1.1 407 "), testing::Not(HasSubstr(http_ok))));
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-3").allowed, 1U);
}

TEST_F(ListenTls, AsksForACertificateAlsoWhereTheAgentIsKnownWithoutIt) {
  Config::Listener listener = for_one();
  listener.tls = files();
  Listening bench(listener);
  const std::string http = bench.get("Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.certificate = "no agent name", .bytes = http}), StartsWith(http_ok));
  EXPECT_THAT(talk(bench, {.bytes = http}), testing::AnyOf("refused", "no handshake"));
  bench.settle();
  EXPECT_EQ(bench.totals_of("coder-1").allowed, 1U);
}

TEST_F(ListenTls, GivesAHandshakeOnlyItsTimeAndItsPlaces) {
  Config::Listener listener = for_one();
  listener.tls = files_without_clients();
  Listening bench(listener, {.connections_per_agent = 8});
  auto first = bench.say("\x16\x03");
  auto second = bench.say("");
  EXPECT_EQ(bench.talk(""), "") << "more than a quarter of the places are not for one source";
  EXPECT_EQ(bench.denied_to_nobody(Reason::connection_limit), 1U);
  first->socket.close();
  second->socket.close();
  bench.run_until([&] { return bench.denied_to_nobody(Reason::auth_required) == 2; });
  bench.shared.timeouts.headers = 500ms;
  first = bench.say("\x16\x03");
  second = bench.say("");
  bench.run_until([&] { return first->ended && second->ended; });
  bench.run_until([&] { return bench.denied_to_nobody(Reason::auth_required) == 4; });
  bench.shared.timeouts.headers = far_away;
  const std::string http = bench.get("Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.bytes = http}), StartsWith(http_ok));
  bench.settle();
}

TEST_F(ListenTls, LeavesNothingBehindWhenItEndsWithConnectionsInEveryState) {
  const auto before = open_descriptors();
  std::thread thread;
  {
    Listening bench(by_certificate());
    const auto silent = bench.say("");
    const auto begun = bench.say("\x16\x03\x01\x02");
    const Talk begins{.port = bench.listening_port(),
                      .authority = ours,
                      .certificate = "agent",
                      .bytes = "GET http://allowed.test/"};
    thread = std::thread([begins] { talk_tls(begins); });
    bench.run_until([&] { return bench.door->fronts() == 1 && bench.agents.sessions() == 1; });
  }
  thread.join();
  EXPECT_EQ(open_descriptors(), before);
}

TEST_F(ListenTls, ServesNobodyByCertificateWhoHasShownNone) {
  Listening bench({.who = Config::Listener::ByCertificate()});  // configurations cannot say so
  bench.agents.set_policy(
      policy_of(fmt::format("version: 1\nagents:\n  \"*\":\n    allow:\n{}{}",
                            allow_host("allowed.test", bench.port), allow_loopback(bench.port))));
  EXPECT_THAT(bench.talk(bench.get("Connection: close\r\n")),
              HasSubstr("details=\"unknown_agent\""));
  EXPECT_EQ(bench.origin_connections(), 0);
}

}  // namespace
}  // namespace sluice::proxy
