// How often each message asks for memory: a request more would be paid by every connection.
#include "tests/unit/allowlists/allocations.h"

#include <gtest/gtest.h>

#include <utility>

#include "proxy/wire/body.h"
#include "proxy/wire/chunked.h"
#include "proxy/wire/client_hello.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/reply.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

// How often `work` takes memory, and whoever takes its answer with it.
template <class Work>
std::size_t taken_by(Work work) {
  const std::size_t before = allocations();
  [[maybe_unused]] const auto answer = work();
  return allocations() - before;
}

std::string request_with(std::size_t fields) {
  std::string bytes = "GET http://api.example.com/v1/items HTTP/1.1\r\nHost: api.example.com\r\n";
  for (std::size_t i = 1; i < fields; ++i) {
    bytes += "X-Field-" + std::to_string(i) + ": some value that no short string holds\r\n";
  }
  return bytes + "\r\n";
}

const std::string response =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 12345\r\n"
    "ETag: \"0123456789abcdef0123456789abcdef\"\r\nCache-Control: private, max-age=0\r\n\r\n";

Refusal not_listed() {
  return {.reason = Reason::not_listed,
          .agent = "coder-1",
          .target = "other.example.com:8443",
          .rule = "default"};
}

TEST(RequestHead, TakesMemoryOnlyForTheListOfItsFields) {
  for (const auto& [fields, times] : {std::pair{1U, 1U}, {16U, 1U}, {17U, 2U}, {100U, 4U}}) {
    const std::string bytes = request_with(fields);
    std::size_t scanned = 0;
    const std::size_t taken = taken_by([&] { return parse_request_head(bytes, {}, scanned); });
    EXPECT_EQ(taken, times) << fields << " fields";
  }
}

TEST(ForwardedRequest, TakesMemoryOnlyForItself) {
  const auto target = allowlists::Target::parse("api.example.com:8080", {}).value();
  const std::string bytes = request_with(40);
  const RequestHead head = samples::request(bytes);
  const AbsoluteForm form = parse_absolute_form(head.target).value();
  EXPECT_EQ(taken_by([&] { return parse_absolute_form(head.target); }), 0U);
  EXPECT_EQ(taken_by([&] { return request_body(head); }), 0U);
  const std::size_t taken = taken_by([&] {
    return forward_request_head({head, target, form.path_and_query, BodyPlan{}, "0123456789ab"});
  });
  EXPECT_EQ(taken, 1U);
}

TEST(ForwardedResponse, TakesMemoryOnlyForItsFieldsAndItself) {
  std::size_t scanned = 0;
  const std::size_t read = taken_by([&] { return parse_response_head(response, {}, scanned); });
  EXPECT_EQ(read, 1U);
  const ResponseHead head = samples::response(response);
  const std::size_t forwarded = taken_by([&] {
    return forward_response_head({head, "GET", response_body("GET", head).value()}, KeepAlive::yes);
  });
  EXPECT_EQ(forwarded, 1U);
}

TEST(ClientHello, TakesMemoryOnceForItselfAndOnceForALongName) {
  std::string extensions;
  for (std::size_t type = 1; type < 24; ++type) extensions += samples::extension(type, "some data");
  const auto taken = [&](const std::string& name) {
    const std::string bytes =
        samples::record(samples::client_hello(samples::server_name(name) + extensions));
    return taken_by([&] {
      ClientHelloReader reader;
      EXPECT_EQ(reader.feed(as_octets(bytes)), ClientHelloReader::Status::done);
      return reader.hello().ech_offered;
    });
  };
  EXPECT_EQ(taken("a.test"), 1U);
  EXPECT_EQ(taken("a-longer-name.example.com"), 2U);
}

TEST(ChunkedBody, TakesNoMemoryBeforeItsEnd) {
  std::string body;
  for (int i = 0; i < 100; ++i) body += "2a;x=y\r\n" + std::string(0x2a, 'e') + "\r\n";
  ChunkedReader reader(Reason::unreachable);
  const std::size_t taken = taken_by([&] {
    std::size_t payload = 0;
    for (std::string_view left = body; !left.empty();) {
      const auto step = reader.feed(left);
      payload += step->payload.size();
      left.remove_prefix(step->consumed);
    }
    return payload;
  });
  EXPECT_EQ(taken, 0U);
  EXPECT_EQ(taken_by([] { return chunk_header(0xffff); }), 0U);
}

TEST(Sentence, TakesMemoryOnlyForItself) {
  const Refusal refusal = not_listed();
  EXPECT_EQ(taken_by([&] { return sentence(refusal); }), 1U);
}

TEST(HttpRefusal, TakesMemoryForItsBodyAndItself) {
  const Refusal refusal = not_listed();
  EXPECT_EQ(taken_by([&] { return http_refusal(refusal, AsJson::no, KeepAlive::yes); }), 2U);
  // In JSON the sentence is put into the body afterwards.
  EXPECT_EQ(taken_by([&] { return http_refusal(refusal, AsJson::yes, KeepAlive::yes); }), 3U);
}

TEST(DnsAnswer, TakesMemoryForTheNameTheQuestionTheRecordsAndItself) {
  const std::string bytes = samples::dns_header(0x0100, {.additionals = 1}) +
                            samples::dns_question({"a-longer-name", "example", "com"}, 1) +
                            samples::dns_opt(1232, 0, 0);
  const DnsQuery query = parse_dns_query(as_octets(bytes)).value();
  const IpAddress address = IpAddress::v4(0xc6120001);
  EXPECT_EQ(taken_by([&] { return parse_dns_query(as_octets(bytes)); }), 2U);
  const std::size_t answered =
      taken_by([&] { return dns_addresses(query, std::span(&address, 1), 60, DnsTransport::udp); });
  EXPECT_EQ(answered, 2U);
}

}  // namespace
}  // namespace sluice::proxy::wire
