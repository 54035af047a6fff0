// Messages that several tests of proxy/wire begin from.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/request_head.h"
#include "proxy/wire/response_head.h"

namespace sluice::proxy::wire::samples {

inline std::string big_endian(std::size_t value, std::size_t octets) {
  std::string out;
  while (octets-- > 0) out += static_cast<char>(value >> (8 * octets) & 0xff);
  return out;
}

// A TLS or DNS vector: its length in that many octets, then itself.
inline std::string vector(std::size_t octets, const std::string& content) {
  return big_endian(content.size(), octets) + content;
}

inline std::string extension(std::size_t type, const std::string& data) {
  return big_endian(type, 2) + vector(2, data);
}

inline std::string server_name(const std::string& name) {
  return extension(0, vector(2, std::string(1, '\0') + vector(2, name)));
}

// A handshake message of type ClientHello with these extensions.
inline std::string client_hello(const std::string& extensions) {
  const std::string body = "\x03\x03" + std::string(32, 'r') + vector(1, std::string(32, 's')) +
                           vector(2, "\x13\x01\x13\x02") + vector(1, std::string(1, '\0')) +
                           vector(2, extensions);
  return "\x01" + vector(3, body);
}

inline std::string record(const std::string& payload) {
  return "\x16\x03\x01" + vector(2, payload);
}

// Cut into records of at most `size` bytes.
inline std::string records(const std::string& message, std::size_t size) {
  std::string out;
  for (std::size_t at = 0; at < message.size(); at += size) out += record(message.substr(at, size));
  return out;
}

inline std::string dns_name(const std::vector<std::string>& labels) {
  std::string out;
  for (const std::string& label : labels) out += vector(1, label);
  return out + '\0';
}

struct DnsCounts {
  std::size_t questions = 1;
  std::size_t answers = 0;
  std::size_t authorities = 0;
  std::size_t additionals = 0;
};

inline std::string dns_header(std::size_t flags, const DnsCounts& counts) {
  return big_endian(0xbeef, 2) + big_endian(flags, 2) + big_endian(counts.questions, 2) +
         big_endian(counts.answers, 2) + big_endian(counts.authorities, 2) +
         big_endian(counts.additionals, 2);
}

inline std::string dns_question(const std::vector<std::string>& labels, std::size_t type) {
  return dns_name(labels) + big_endian(type, 2) + big_endian(1, 2);
}

// An OPT record: UDP size, version, DO.
inline std::string dns_opt(std::size_t size, std::size_t version, std::size_t flags) {
  return std::string(1, '\0') + big_endian(41, 2) + big_endian(size, 2) + std::string(1, '\0') +
         big_endian(version, 1) + big_endian(flags, 2) + big_endian(0, 2);
}

inline RequestHead request(std::string_view bytes) {
  std::size_t scanned = 0;
  const auto head = parse_request_head(bytes, {}, scanned);
  EXPECT_TRUE(head) << head.error().why;
  EXPECT_TRUE(head && *head) << "incomplete: " << bytes;
  return head && *head ? **head : RequestHead{};
}

inline ResponseHead response(std::string_view bytes) {
  std::size_t scanned = 0;
  const auto head = parse_response_head(bytes, {}, scanned);
  EXPECT_TRUE(head) << head.error().why;
  EXPECT_TRUE(head && *head) << "incomplete: " << bytes;
  return head && *head ? **head : ResponseHead{};
}

}  // namespace sluice::proxy::wire::samples
