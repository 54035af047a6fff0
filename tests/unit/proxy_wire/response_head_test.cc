#include "proxy/wire/response_head.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

TEST(ResponseHead, IsReadIntoStatusAndFields) {
  const std::string_view bytes = "HTTP/1.1 404 Not Found\r\nA: b\r\n\r\n";
  const ResponseHead head = samples::response(bytes);
  EXPECT_EQ(head.status, 404);
  EXPECT_EQ(head.reason, "Not Found");
  EXPECT_EQ(head.size, bytes.size());
  EXPECT_EQ(head.find("a"), "b");
  EXPECT_EQ(samples::response("HTTP/1.0 200 \r\n\r\n").reason, "");
  EXPECT_EQ(samples::response("HTTP/1.0 200\r\n\r\n").minor, 0);
}

TEST(ResponseHead, MayArriveInAnyPieces) {
  const std::string_view bytes = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
  std::size_t scanned = 0;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto head = parse_response_head(bytes.substr(0, size), {}, scanned);
    ASSERT_TRUE(head && !*head) << size;
  }
  EXPECT_TRUE(parse_response_head(bytes, {}, scanned).value());
}

TEST(ResponseHead, ThatIsBrokenIsAFailureOfTheOriginAndNoDenial) {
  for (const std::string_view bytes :
       {"HTTP/1.1 200 OK\nA: b\r\n\r\n", "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 2000\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n", "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 \x1b[31m\r\n\r\n", "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "\r\nHTTP/1.1 200 OK\r\n\r\n"}) {
    std::size_t scanned = 0;
    const auto head = parse_response_head(bytes, {}, scanned);
    ASSERT_FALSE(head) << bytes;
    EXPECT_EQ(head.error().reason, Reason::unreachable) << bytes;
    EXPECT_TRUE(head.error().why.starts_with("the origin did not answer in HTTP: "));
  }
  std::size_t scanned = 0;
  EXPECT_EQ(parse_response_head(std::string(70000, 'x'), {}, scanned).error().why,
            "the origin did not answer in HTTP: the header is larger than the limit");
}

}  // namespace
}  // namespace sluice::proxy::wire
