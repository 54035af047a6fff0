#include "proxy/wire/first_bytes.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy::wire {
namespace {

TEST(FirstBytes, TellProtocolsApart) {
  struct Case {
    std::string_view bytes;
    Speech speech;
  };
  for (const auto& [bytes, speech] : {
           Case{"", Speech::unknown_yet},
           {"G", Speech::unknown_yet},
           {"GET", Speech::unknown_yet},
           {"GET / HTTP/1.", Speech::unknown_yet},
           {"GET / HTTP/1.1\r\n", Speech::http},
           {"GET http://a.test/ HTTP/1.1\n", Speech::http},
           {"PRI * HTTP/2.0\r\n", Speech::http},
           {"GET key\r\n", Speech::other},
           {"get / HTTP/1.1\r\n", Speech::other},
           {"SSH-2.0-OpenSSH\r\n", Speech::other},
           {"EHLO a.test\r\n", Speech::other},
           {"*1\r\n$4\r\nPING\r\n", Speech::other},
           {"\x16", Speech::unknown_yet},
           {"\x16\x03", Speech::tls},
           {"\x16\x02", Speech::other},
           {std::string_view("\0\0\0\x08", 4), Speech::other},
       }) {
    EXPECT_EQ(classify(bytes), speech) << bytes;
  }
}

TEST(FirstBytes, OfAnEndlessRequestLineAreHttp) {
  const std::string line = "GET /" + std::string(9000, 'a');
  EXPECT_EQ(classify(line.substr(0, 5000)), Speech::unknown_yet);
  EXPECT_EQ(classify(line), Speech::http);
}

// A classification that is final must not depend on how the bytes were cut.
TEST(FirstBytes, AreJudgedAlikeHoweverTheyAreCut) {
  for (const std::string whole :
       {"GET /x HTTP/1.1\r\n", "GETX y\r\n", "OPTIONS * HTTP/1.1\r\n", "GET a b c\r\n"}) {
    const Speech last = classify(whole);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      const Speech so_far = classify(std::string_view(whole).substr(0, size));
      EXPECT_TRUE(so_far == Speech::unknown_yet || so_far == last) << whole << " cut at " << size;
    }
  }
}

}  // namespace
}  // namespace sluice::proxy::wire
