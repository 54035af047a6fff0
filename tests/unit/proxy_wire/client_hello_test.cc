#include "proxy/wire/client_hello.h"

#include <gtest/gtest.h>

#include "proxy/wire/wire_error.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using Status = ClientHelloReader::Status;
using namespace std::string_literals;
using samples::client_hello;
using samples::extension;
using samples::record;
using samples::records;
using samples::server_name;

const std::string hello =
    client_hello(extension(0x0a0a, "") + server_name("a.test") + extension(43, "\x02\x03\x04"));

TEST(ClientHello, TellsTheServerName) {
  ClientHelloReader reader;
  ASSERT_EQ(reader.feed(as_octets(record(hello))), Status::done) << reader.why();
  EXPECT_EQ(reader.hello().server_name, "a.test");
  EXPECT_FALSE(reader.hello().ech_offered);
}

TEST(ClientHello, MayNameNoServer) {
  ClientHelloReader reader;
  ASSERT_EQ(reader.feed(as_octets(record(client_hello("")))), Status::done);
  EXPECT_EQ(reader.hello().server_name, std::nullopt);
}

TEST(ClientHello, MayEndBeforeItsExtensions) {
  std::string message = client_hello("");
  message.resize(message.size() - 2);
  message[3] = static_cast<char>(message[3] - 2);
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(as_octets(record(message))), Status::done) << reader.why();
}

TEST(ClientHello, IsSeenToOfferEncryptedClientHelloRealOrGrease) {
  for (const std::size_t type : {0xfe0d, 0xffce}) {
    ClientHelloReader reader;
    const std::string bytes = record(client_hello(server_name("a.test") + extension(type, "x")));
    ASSERT_EQ(reader.feed(as_octets(bytes)), Status::done);
    EXPECT_TRUE(reader.hello().ech_offered);
  }
}

TEST(ClientHello, MayBeCutAtAnyPlaceAndSpreadOverRecords) {
  for (const std::size_t record_size : {hello.size(), hello.size() / 8 + 1, std::size_t{1}}) {
    const std::string bytes = records(hello, record_size);
    for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
      ClientHelloReader reader;
      const Status early = reader.feed(as_octets(bytes).first(cut));
      ASSERT_EQ(early, cut < bytes.size() ? Status::need_more : Status::done) << reader.why();
      ASSERT_EQ(reader.feed(as_octets(bytes).subspan(cut)), Status::done);
      EXPECT_EQ(reader.hello().server_name, "a.test");
    }
    ClientHelloReader reader;
    for (std::size_t at = 0; at + 1 < bytes.size(); ++at) {
      ASSERT_EQ(reader.feed(as_octets(bytes).subspan(at, 1)), Status::need_more);
    }
    ASSERT_EQ(reader.feed(as_octets(bytes).last(1)), Status::done);
  }
}

TEST(ClientHello, IsFollowedByRecordsThatAreNotLookedAt) {
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(as_octets(record(hello) + "\x14\x03\x03\x00\x01\x01"s)), Status::done);
}

TEST(ClientHello, MayHaveHundredsOfExtensionsButNoneTwice) {
  constexpr std::size_t count = 300;
  std::string extensions = server_name("a.test");
  for (std::size_t type = 100; type < 100 + count; ++type) extensions += extension(type, "");
  ClientHelloReader distinct;
  EXPECT_EQ(distinct.feed(as_octets(record(client_hello(extensions)))), Status::done);
  EXPECT_EQ(distinct.hello().server_name, "a.test");
  for (const std::size_t type : {std::size_t{0}, std::size_t{100}, std::size_t{131}, 99 + count}) {
    ClientHelloReader twice;
    EXPECT_EQ(twice.feed(as_octets(record(client_hello(extensions + extension(type, ""))))),
              Status::bad);
    EXPECT_EQ(twice.why(), "an extension stands twice") << type;
  }
}

TEST(ClientHello, MayBe64KiBLongAndNoLonger) {
  // One extension holds at most 65535 bytes, so two share the padding.
  const std::size_t least = client_hello(extension(21, "") + extension(22, "")).size() - 4;
  const auto of_size = [&](std::size_t body) {
    const std::size_t padding = body - least;
    return client_hello(extension(21, std::string(padding / 2, '\0')) +
                        extension(22, std::string(padding - padding / 2, '\0')));
  };
  ASSERT_EQ(of_size(65536).size(), 65536U + 4);
  ClientHelloReader fits;
  EXPECT_EQ(fits.feed(as_octets(records(of_size(65536), 16384))), Status::done) << fits.why();
  ClientHelloReader too_long;
  EXPECT_EQ(too_long.feed(as_octets(records(of_size(65537), 16384))), Status::bad);
  EXPECT_EQ(too_long.why(), "the ClientHello is too long");
}

TEST(ClientHello, IsRefusedWhenItsNameCouldBeReadTwoWays) {
  const std::string two_names =
      extension(0, samples::vector(2, "\0"s + samples::vector(2, "a.test") + "\0"s +
                                          samples::vector(2, "evil.test")));
  struct Case {
    std::string bytes;
    std::string_view why;
  };
  const Case cases[] = {
      {record(client_hello(two_names)), "there is more than one server name"},
      {record(client_hello(server_name("a.test") + server_name("b.test"))),
       "an extension stands twice"},
      {record(client_hello(server_name("a.test") + extension(5, "") + extension(5, ""))),
       "an extension stands twice"},
      {record(client_hello(server_name(std::string(300, 'a')))),
       "the server name is empty or too long"},
      {record(client_hello(server_name(""))), "the server name is empty or too long"},
      {record(client_hello(extension(0, ""))), "the server name extension is broken"},
      {record(client_hello(extension(0, samples::vector(2, "")))),
       "the server name extension is broken"},
      {record(client_hello(extension(0, samples::vector(2, "\x01"s + samples::vector(2, "a"))))),
       "the server name is of an unknown type"},
      {record(
           client_hello(extension(0, samples::vector(2, "\0"s + samples::vector(2, "a")) + "x"))),
       "the server name extension is broken"},
      {record(hello + "x"), "bytes follow the ClientHello in its record"},
      {record(hello + hello), "bytes follow the ClientHello in its record"},
      {record(client_hello("\x00\x00\xff"s)), "an extension is cut off"},
      {record("\x02" + hello.substr(1)), "the first handshake message is not a ClientHello"},
      {record("\x01\x00\x00\x00"s), "the ClientHello is cut off"},
      {record("\x01\xff\xff\xff"s), "the ClientHello is too long"},
      {"\x16\x03\x01\x40\x01"s, "a record is too long"},
      {"\x16\x03\x01\x00\x00"s, "a handshake record is empty"},
      {record(hello.substr(0, 9)) + "\x17\x03\x03",
       "another record stands in the middle of the ClientHello"},
      {records(client_hello(extension(21, std::string(300, '\0'))), 1),
       "the ClientHello has too many records"},
  };
  for (const Case& wrong : cases) {
    ClientHelloReader reader;
    EXPECT_EQ(reader.feed(as_octets(wrong.bytes)), Status::bad) << wrong.why;
    EXPECT_EQ(reader.why(), wrong.why);
    EXPECT_EQ(reader.hello().server_name, std::nullopt);
    EXPECT_EQ(reader.feed(as_octets(record(hello))), Status::bad);
  }
}

TEST(ClientHello, IsRefusedWithTrailingBytesInsideIt) {
  std::string message = client_hello(server_name("a.test")) + "x";
  message[3] = static_cast<char>(message[3] + 1);
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(as_octets(record(message))), Status::bad);
  EXPECT_EQ(reader.why(), "the extensions do not fill the ClientHello");
}

TEST(ClientHello, IsRefusedAfterTheFirstOfTenThousandEmptyRecords) {
  std::string bytes = record(hello.substr(0, 9));
  for (int i = 0; i < 10000; ++i) bytes += record("");
  ClientHelloReader reader;
  EXPECT_EQ(reader.feed(as_octets(bytes + record(hello.substr(9)))), Status::bad);
  EXPECT_EQ(reader.why(), "a handshake record is empty");
}

TEST(ClientHello, IsToldFromOtherProtocolsByItsFirstBytes) {
  for (const std::string& bytes :
       {"SSH-2.0-x\r\n"s, "GET / HTTP/1.1\r\n"s, "\x80\x2e\x01\x03\x01"s, "\x15\x03\x01"s,
        "\x16\x02"s, "\x16\x03\x05"s, "\0\0\0\x08\x04\xd2\x16\x2f"s}) {
    ClientHelloReader reader;
    EXPECT_EQ(reader.feed(as_octets(bytes)), Status::not_tls);
    EXPECT_EQ(reader.why(), "the first bytes are not TLS");
  }
}

}  // namespace
}  // namespace sluice::proxy::wire
