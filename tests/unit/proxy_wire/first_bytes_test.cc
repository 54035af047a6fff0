#include "proxy/wire/first_bytes.h"

#include <gtest/gtest.h>

#include <string>

namespace sluice::proxy::wire {
namespace {

TEST(FirstBytes, TellTlsHttpAndTheRestApart) {
  struct Case {
    std::string bytes;
    Speech speech;
  };
  const Case cases[] = {
      {"", Speech::unknown_yet},
      {"\x16", Speech::unknown_yet},
      {"\x16\x03", Speech::tls},
      {"\x16\x02", Speech::other},
      {"G", Speech::unknown_yet},
      {"GET", Speech::unknown_yet},
      {"GET /", Speech::unknown_yet},
      {"GET / HTTP/1.1\r\n", Speech::http},
      {"GET / HTTP/1.1\n", Speech::http},
      {"GET /\r\n", Speech::other},
      {"GET " + std::string(9000, 'x'), Speech::http},
      {"PRI * HTTP/2.0\r\n", Speech::http},
      {"SSH-2.0-x\r\n", Speech::other},
      {"get / HTTP/1.1\r\n", Speech::other},
      {"\x05\x01", Speech::other},
  };
  for (const Case& c : cases) EXPECT_EQ(classify(c.bytes), c.speech) << c.bytes;
}

TEST(FirstBytes, DoNotHideARequestBehindMoreBlanksThanAreWaitedFor) {
  const std::string blanks(8194, '\n');
  EXPECT_EQ(classify(blanks.substr(0, 8192)), Speech::unknown_yet);
  EXPECT_EQ(classify(blanks), Speech::http);
  EXPECT_EQ(classify(blanks + "GET / HTTP/1.1\r\n"), Speech::http);
}

}  // namespace
}  // namespace sluice::proxy::wire
