// TLS to an explicit listener: what a client certificate says, and that nothing else is let in.
#include <gmock/gmock.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/socket.h>

#include <filesystem>
#include <thread>

#include "tests/loopback/certificates.h"
#include "tests/loopback/listening.h"

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

struct TlsClient {
  std::uint16_t port = 0;
  const Authority* authority = nullptr;
  std::string certificate;  // its common name; "": none
  std::string bytes;
  std::size_t enough = SIZE_MAX;  // closes when so many bytes were heard
};

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in to{.sin_family = AF_INET,
                       .sin_port = htons(port),
                       .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  const timeval patience{.tv_sec = 15};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  return fd;
}

// What it hears.
std::string talk_tls(const TlsClient& client) {
  const Fd fd(connect_to(client.port));
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(::SSL_CTX_new(::TLS_client_method()),
                                                             &::SSL_CTX_free);
  if (!client.certificate.empty()) {
    const Identity& identity = client.authority->issued.at(client.certificate);
    ::SSL_CTX_use_certificate(context.get(), identity.certificate.get());
    ::SSL_CTX_use_PrivateKey(context.get(), identity.key.get());
  }
  const std::unique_ptr<SSL, void (*)(SSL*)> tls(::SSL_new(context.get()), &::SSL_free);
  ::SSL_set_fd(tls.get(), fd.get());
  if (::SSL_connect(tls.get()) != 1) return "no handshake";
  ::SSL_write(tls.get(), client.bytes.data(), static_cast<int>(client.bytes.size()));
  std::string heard;
  std::array<char, 4096> chunk;
  while (heard.size() < client.enough) {
    const int size = ::SSL_read(tls.get(), chunk.data(), chunk.size());
    if (size <= 0) return heard.empty() ? "refused" : heard;
    heard.append(chunk.data(), static_cast<std::size_t>(size));
  }
  ::SSL_shutdown(tls.get());
  return heard;
}

class ListenTls : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::signal(SIGPIPE, SIG_IGN);  // as sluiced does
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
  static std::string talk(Listening& bench, TlsClient client) {
    client.port = bench.listening_port();
    if (client.authority == nullptr) client.authority = ours;
    std::string heard;
    std::atomic<bool> over{false};
    std::thread thread([&] {
      heard = talk_tls(client);
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
  for (const TlsClient& client :
       {TlsClient{.bytes = bench.get()},
        TlsClient{.authority = theirs, .certificate = "agent", .bytes = bench.get()}}) {
    const std::string heard = talk(bench, client);
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
  bench.shared.timeouts.headers = 500ms;
  const auto first = bench.say("\x16\x03");
  const auto second = bench.say("");
  EXPECT_EQ(bench.talk(""), "") << "more than a quarter of the places are not for one source";
  EXPECT_EQ(bench.denied_to_nobody(Reason::connection_limit), 1U);
  bench.run_until([&] { return first->ended && second->ended; });
  EXPECT_EQ(bench.denied_to_nobody(Reason::auth_required), 2U);
  const std::string http = bench.get("Connection: close\r\n");
  EXPECT_THAT(talk(bench, {.bytes = http}), StartsWith(http_ok));
  bench.settle();
}

TEST_F(ListenTls, LeavesNothingBehindWhenItEndsWithConnectionsInEveryState) {
  const auto open_descriptors = [] {
    const std::filesystem::directory_iterator entries("/proc/self/fd");
    return std::distance(begin(entries), end(entries));
  };
  const auto before = open_descriptors();
  std::thread thread;
  {
    Listening bench(by_certificate());
    const auto silent = bench.say("");
    const auto begun = bench.say("\x16\x03\x01\x02");
    const TlsClient client{.port = bench.listening_port(),
                           .authority = ours,
                           .certificate = "agent",
                           .bytes = "GET http://allowed.test/"};
    thread = std::thread([client] { talk_tls(client); });
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
