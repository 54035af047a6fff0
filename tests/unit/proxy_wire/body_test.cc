#include "proxy/wire/body.h"

#include <gtest/gtest.h>

#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using Plan = WireResult<BodyPlan>;

Plan of_request(std::string_view fields, std::string_view version = "1.1",
                std::string_view method = "POST") {
  const std::string bytes = std::string(method) + " / HTTP/" + std::string(version) +
                            "\r\nHost: a\r\n" + std::string(fields) + "\r\n";
  return request_body(samples::request(bytes));
}

Plan of_response(std::string_view fields, std::string_view start = "HTTP/1.1 200 OK",
                 std::string_view method = "GET") {
  const std::string bytes = std::string(start) + "\r\n" + std::string(fields) + "\r\n";
  return response_body(method, samples::response(bytes));
}

constexpr BodyPlan none{Framing::none, 0};
constexpr BodyPlan five{Framing::length, 5};
constexpr BodyPlan chunked{Framing::chunked, 0};
constexpr BodyPlan until_close{Framing::until_close, 0};

TEST(RequestBody, EndsWhereOneFieldSaysSo) {
  EXPECT_EQ(of_request("").value(), none);
  EXPECT_EQ(of_request("Content-Length: 5\r\n").value(), five);
  EXPECT_EQ(of_request("Content-Length: 0005\r\n").value(), five);
  EXPECT_EQ(of_request("Content-Length: 18446744073709551615\r\n").value().length, UINT64_MAX);
  EXPECT_EQ(of_request("Transfer-Encoding: Chunked\r\n").value(), chunked);
  EXPECT_EQ(of_request("Content-Length: 0\r\n", "1.1", "CONNECT").value().length, 0U);
}

TEST(RequestBody, IsRefusedWhereTwoParsersCouldDisagree) {
  for (const std::string_view fields :
       {"Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: 18446744073709551616\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;a=b\r\n",
        "Transfer-Encoding: \vchunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"}) {
    const std::string bytes = "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
    std::size_t scanned = 0;
    const auto head = parse_request_head(bytes, {}, scanned);
    if (!head) continue;  // the head's own rules refused it already
    const auto plan = request_body(head->value());
    ASSERT_FALSE(plan) << fields;
    EXPECT_EQ(plan.error().reason, Reason::bad_request);
  }
  EXPECT_FALSE(of_request("Transfer-Encoding: chunked\r\n", "1.0"));
  EXPECT_FALSE(of_request("Content-Length: 5\r\n", "1.1", "CONNECT"));
  EXPECT_FALSE(of_request("Transfer-Encoding: chunked\r\n", "1.1", "CONNECT"));
  EXPECT_EQ(of_request("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n").error().why,
            "Transfer-Encoding and Content-Length stand together");
}

TEST(ResponseBody, EndsAsRfc9112Says) {
  EXPECT_EQ(of_response("").value(), until_close);
  EXPECT_EQ(of_response("Content-Length: 5\r\n").value(), five);
  EXPECT_EQ(of_response("Content-Length: 5, 5\r\nContent-Length: 5\r\n").value(), five);
  EXPECT_EQ(of_response("Transfer-Encoding: chunked\r\n").value(), chunked);
  EXPECT_EQ(of_response("Content-Length: 5\r\n", "HTTP/1.1 200 OK", "HEAD").value(), none);
  EXPECT_EQ(of_response("Content-Length: 5\r\n", "HTTP/1.1 304 Not Modified").value(), none);
  EXPECT_EQ(of_response("", "HTTP/1.1 204 No Content").value(), none);
  EXPECT_EQ(of_response("", "HTTP/1.1 100 Continue").value(), none);
  EXPECT_EQ(of_response("Content-Length: 5\r\n", "HTTP/1.1 200 OK", "CONNECT").value(), none);
  EXPECT_EQ(of_response("Content-Length: 5\r\n", "HTTP/1.1 403 No", "CONNECT").value(), five);
}

TEST(ResponseBody, WithoutACertainEndIsAFailureOfTheOrigin) {
  for (const std::string_view fields :
       {"Content-Length: 5, 6\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: x\r\n", "Content-Length:\r\n", "Content-Length: ,\r\n",
        "Content-Length: 5,\r\n", "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: gzip, chunked\r\n"}) {
    const auto plan = of_response(fields);
    ASSERT_FALSE(plan) << fields;
    EXPECT_EQ(plan.error().reason, Reason::unreachable);
  }
  EXPECT_FALSE(of_response("Transfer-Encoding: chunked\r\n", "HTTP/1.0 200 OK"));
}

}  // namespace
}  // namespace sluice::proxy::wire
