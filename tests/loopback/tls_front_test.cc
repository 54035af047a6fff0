#include "proxy/session/tls_front.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "tests/loopback/tls_bench.h"

namespace sluice::proxy {
namespace {

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::StartsWith;

std::string pattern(std::size_t size, std::uint32_t seed) {
  std::string out(size, '\0');
  for (char& byte : out) byte = static_cast<char>((seed = seed * 1664525 + 1013904223) >> 24);
  return out;
}

TEST_F(Front, CarriesTenMebibytesEachWayAtOnceInOrder) {
  const std::string up = pattern(10U << 20, 1);
  const std::string down = pattern(10U << 20, 2);
  std::string heard_inside;
  std::string heard_outside;
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    co_await (say(accepted.inside, down) && hear(accepted.inside, heard_inside));
  };
  run([&] {
    TlsClient client(port());
    ASSERT_TRUE(client.shake_hands());
    std::string_view left = up;
    std::array<char, 16384> chunk;
    while (!left.empty() || heard_outside.size() < down.size()) {
      const int sent =
          left.empty() ? 0
                       : ::SSL_write(client.ssl(), left.data(),
                                     static_cast<int>(std::min<std::size_t>(left.size(), 16384)));
      if (sent > 0) left.remove_prefix(static_cast<std::size_t>(sent));
      const int came = ::SSL_read(client.ssl(), chunk.data(), static_cast<int>(chunk.size()));
      if (came > 0) heard_outside.append(chunk.data(), static_cast<std::size_t>(came));
      if (sent > 0 || came > 0) continue;
      ASSERT_TRUE(client.wait(left.empty() ? POLLIN : POLLIN | POLLOUT));
      ASSERT_EQ(::SSL_get_error(client.ssl(), came), SSL_ERROR_WANT_READ);
    }
    client.say_end();
    std::string rest;
    EXPECT_EQ(client.hear(rest), SSL_ERROR_ZERO_RETURN);
    EXPECT_EQ(rest, "");
  });
  EXPECT_TRUE(heard_inside == up);
  EXPECT_TRUE(heard_outside == down);
  EXPECT_EQ(broken_, 0);
}

TEST_F(Front, PassesOnTheEndOfWhatAClientSays) {
  std::string question;
  ErrorCode how;
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    how = co_await hear(accepted.inside, question);
    co_await say(accepted.inside, "answer");
  };
  run([&] {
    TlsClient client(port());
    ASSERT_TRUE(client.shake_hands());
    EXPECT_TRUE(client.say("question"));
    client.say_end();
    std::string heard;
    EXPECT_EQ(client.hear(heard), SSL_ERROR_ZERO_RETURN);
    EXPECT_EQ(heard, "answer");
  });
  EXPECT_EQ(how, asio::error::eof);
  EXPECT_EQ(question, "question");
  EXPECT_EQ(broken_, 0);
}

TEST_F(Front, PassesOnTheEndOfWhatASessionSays) {
  std::string late;
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    co_await say(accepted.inside, "all");
    accepted.inside.shutdown(Socket::shutdown_send);
    co_await hear(accepted.inside, late);
  };
  run([&] {
    TlsClient client(port());
    ASSERT_TRUE(client.shake_hands());
    std::string heard;
    EXPECT_EQ(client.hear(heard), SSL_ERROR_ZERO_RETURN);
    EXPECT_EQ(heard, "all");
    EXPECT_TRUE(client.say("late"));
    client.say_end();
  });
  EXPECT_EQ(late, "late");
  EXPECT_EQ(broken_, 0);
}

TEST_F(Front, NamesTheAgentByTheFirstDnsNameOfItsCertificateOrElseByItsCommonName) {
  struct Case {
    std::string common_name, alternative, agent;
  };
  const Case cases[] = {
      {"ignored", "DNS:coder-3,DNS:coder-4", "coder-3"},
      {"ignored", "email:someone@example.com,DNS:coder-4", "coder-4"},
      {"coder-5", "", "coder-5"},
      {"coder-6", "IP:192.0.2.1", "coder-6"},
      {"", "IP:192.0.2.1", ""},
  };
  for (const Case& c : cases) {
    const Identity identity = client_named(c.common_name, c.alternative);
    run(
        [&] {
          TlsClient client(port(), &identity);
          ASSERT_TRUE(client.shake_hands());
          client.say_end();
          std::string heard;
          EXPECT_EQ(client.hear(heard), SSL_ERROR_ZERO_RETURN);
        },
        true);
    EXPECT_EQ(agent_, c.agent) << c.common_name << " " << c.alternative;
  }
  EXPECT_EQ(accepted_, 5);
}

TEST_F(Front, RefusesClientsWithoutAGoodCertificate) {
  const Identity other_ca = make_identity({.common_name = "Test CA", .authority = true});
  const Identity strange = make_identity({.common_name = "coder-3", .issuer = &other_ca});
  const Identity own = make_identity({.common_name = "coder-3"});
  const Identity expired = make_identity(
      {.common_name = "coder-3", .issuer = &authority(), .from = -7200, .until = -3600});
  struct Case {
    const Identity* identity;
    std::string_view why;
  };
  const Case cases[] = {{nullptr, "peer did not return a certificate"},
                        {&strange, "certificate signature failure"},
                        {&own, "self-signed certificate"},
                        {&expired, "certificate has expired"}};
  for (const Case& c : cases) {
    run(
        [&] {
          TlsClient client(port(), c.identity);
          client.shake_hands();  // TLS 1.3 has the client believe that it succeeded
          std::string heard;
          EXPECT_EQ(client.hear(heard), SSL_ERROR_SSL) << "an alert";
        },
        true);
    EXPECT_THAT(why_, HasSubstr(c.why));
  }
  EXPECT_EQ(accepted_, 0);
}

TEST_F(Front, SpeaksHttp1OnlyAndWithClientsThatSayNothingOfIt) {
  struct Case {
    std::string_view offered;
    bool accepted;
  };
  const Case cases[] = {{"\x08http/1.1", true},
                        {"\x02h2\x08http/1.1", true},
                        {"\x02h2", false},
                        {"\x08http/1.0", false},
                        {"\x09http/1.1x", false}};
  for (const Case& c : cases) {
    run([&] {
      TlsClient client(port());
      ::SSL_set_alpn_protos(client.ssl(), reinterpret_cast<const unsigned char*>(c.offered.data()),
                            static_cast<unsigned>(c.offered.size()));
      EXPECT_EQ(client.shake_hands(), c.accepted) << c.offered;
      const unsigned char* chosen = nullptr;
      unsigned size = 0;
      ::SSL_get0_alpn_selected(client.ssl(), &chosen, &size);
      EXPECT_EQ(size, c.accepted ? 8U : 0U);
      client.say_end();
    });
  }
}

TEST_F(Front, EndsASlowHandshakeAtItsDeadline) {
  shared_.timeouts.headers = 200ms;
  for (const std::string_view said : {"", "\x16\x03\x01\x02", "\x16"}) {
    why_.clear();
    run([&] {
      TlsClient client(port());
      ::send(client.fd(), said.data(), said.size(), MSG_NOSIGNAL);
      EXPECT_LE(client.read_plain(), 0);
    });
    EXPECT_EQ(why_, "the TLS handshake did not end in time");
  }
}

TEST_F(Front, RefusesPlainHttp) {
  run([&] {
    TlsClient client(port());
    constexpr std::string_view request = "GET / HTTP/1.1\r\n\r\n";
    ::send(client.fd(), request.data(), request.size(), MSG_NOSIGNAL);
    while (client.read_plain() > 0) {
    }
  });
  EXPECT_EQ(why_, "http request");
}

TEST_F(Front, TellsTheSessionOfAResetAndOfATruncation) {
  ErrorCode how;
  int told = 0;
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    // The connection may be broken already: then this is called at once.
    accepted.link->on_broken([&] {
      ++told;
      accepted.inside.close();
    });
    std::string heard;
    how = co_await hear(accepted.inside, heard);
  };
  for (const bool reset : {true, false}) {
    how = {};
    run([&] {
      TlsClient client(port());
      ASSERT_TRUE(client.shake_hands());
      EXPECT_TRUE(client.say("half of what there w"));
      if (reset) {
        client.reset_connection();
      } else {
        client.close();
      }
    });
    EXPECT_TRUE(how);
    EXPECT_NE(how, asio::error::eof);
  }
  EXPECT_EQ(told, 2);
}

TEST_F(Front, ShowsTheClientThatASessionBrokeOff) {
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    std::array<char, 8> first;
    co_await accepted.inside.async_read_some(asio::buffer(first));
    accepted.link->reset();
    accepted.inside.close();
  };
  run([&] {
    TlsClient client(port());
    ASSERT_TRUE(client.shake_hands());
    EXPECT_TRUE(client.say("x"));
    std::string heard;
    EXPECT_EQ(client.hear(heard), SSL_ERROR_SYSCALL) << "no close_notify";
    EXPECT_EQ(errno, ECONNRESET);
  });
  EXPECT_EQ(broken_, 0);
}

TEST_F(Front, DoesNotWaitForEverForAClientThatDoesNotRead) {
  shared_.timeouts.idle = 300ms;
  const std::string much = pattern(64U << 20, 3);
  ErrorCode how;
  inside_ = [&](TlsFront::Accepted& accepted) -> Task<void> {
    how = co_await say(accepted.inside, much);
  };
  std::optional<TlsClient> client;
  run([&] {
    client.emplace(port());
    ASSERT_TRUE(client->shake_hands());
  });
  EXPECT_TRUE(how) << "the session's write ends";
  EXPECT_EQ(broken_, 1);
}

TEST_F(Front, LeavesNoDescriptorAfterAThousandAbortedConnections) {
  run([&] { TlsClient(port()).close(); });
  const auto before = open_descriptors();
  run([&] {
    for (int i = 0; i < 1000; ++i) {
      TlsClient client(port());
      if (i % 4 == 1) ::send(client.fd(), "\x16\x03\x01\x02", 4, MSG_NOSIGNAL);
      if (i % 4 >= 2) client.shake_hands();
      if (i % 4 == 3) client.say("a part");
      if (i % 8 >= 4) {
        client.reset_connection();
      } else {
        client.close();
      }
    }
  });
  run_until(worker_->io, [&] { return open_descriptors() <= before; });
  EXPECT_LE(open_descriptors(), before);
  // A reset may come before the end of the handshake was read.
  EXPECT_GE(accepted_, 250);
  EXPECT_LE(accepted_, 500);
}

TEST_F(Front, IsNotMadeOfFilesThatDoNotFitAndSaysWhichAndWhy) {
  const Config::Listener::Tls good = files(true);
  const Identity expired = make_identity({.common_name = "a", .from = -7200, .until = -3600});
  const Identity early = make_identity({.common_name = "a", .from = 1800, .until = 3600});
  const auto error = [&](std::string Config::Listener::Tls::*which, const std::string& path) {
    Config::Listener::Tls wrong = good;
    wrong.*which = path;
    const auto made = TlsFront::create(wrong);
    return made ? "" : made.error().what;
  };
  using Tls = Config::Listener::Tls;
  const std::string text = folder_.write("text", "hello\n");
  const std::string broken =
      folder_.write("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
  const std::string old = folder_.write_certificate("old", expired);
  const std::string soon = folder_.write_certificate("soon", early);
  const std::string other_key = folder_.write_key("other", expired);
  const std::string locked = folder_.write_key("locked", server_, "passphrase");
  for (const auto which : {&Tls::cert, &Tls::client_ca}) {
    EXPECT_EQ(error(which, text), fmt::format("'{}' has no certificate in PEM format", text));
    EXPECT_THAT(error(which, broken),
                StartsWith(fmt::format("'{}' has a certificate that cannot be read: ", broken)));
    EXPECT_THAT(error(which, old),
                StartsWith(fmt::format("'{}' has a certificate that expired on ", old)));
    EXPECT_THAT(error(which, soon),
                StartsWith(fmt::format("'{}' has a certificate that is not valid before ", soon)));
  }
  for (const auto which : {&Tls::cert, &Tls::key, &Tls::client_ca}) {
    EXPECT_THAT(error(which, "/nonexistent/file.pem"), HasSubstr("/nonexistent/file.pem"));
  }
  EXPECT_EQ(error(&Tls::key, text), fmt::format("'{}' has no private key in PEM format", text));
  EXPECT_EQ(error(&Tls::key, locked), fmt::format("'{}' has a key that is encrypted", locked));
  EXPECT_EQ(
      error(&Tls::key, other_key),
      fmt::format("'{}' is not the key of the first certificate in '{}'", other_key, good.cert));
  EXPECT_EQ(error(&Tls::client_ca, ""), "") << "no client needs a certificate then";
}

}  // namespace
}  // namespace sluice::proxy
