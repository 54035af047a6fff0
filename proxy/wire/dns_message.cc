#include "proxy/wire/dns_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {
namespace {

using Octets = std::span<const std::uint8_t>;

constexpr std::size_t header_size = 12;
constexpr std::size_t opt_size = 11 + 6;  // with the front of an extended error
constexpr std::size_t name_limit = 255;   // on the wire, length bytes and the root included
constexpr std::uint16_t type_soa = 6;
constexpr std::uint16_t type_opt = 41;
constexpr std::uint16_t option_ede = 15;
constexpr std::uint16_t our_udp_size = 1232;  // what fits every path without fragments
constexpr std::uint16_t smallest_udp_size = 512;
constexpr std::uint16_t largest_udp_size = 4096;

constexpr unsigned flag_response = 0x8000;
constexpr unsigned flag_truncated = 0x0200;
constexpr unsigned flag_recursion_desired = 0x0100;
constexpr unsigned flag_recursion_available = 0x0080;
constexpr unsigned flag_checking_disabled = 0x0010;
constexpr unsigned flag_dnssec_ok = 0x8000;  // of the OPT record

void put16(std::string& out, std::size_t value) {
  out += static_cast<char>(value >> 8 & 0xff);
  out += static_cast<char>(value & 0xff);
}
void put32(std::string& out, std::uint32_t value) {
  put16(out, value >> 16);
  put16(out, value & 0xffff);
}

// Walks a message; once something is missing, ok() stays false.
class Reader {
 public:
  explicit Reader(Octets bytes) : bytes_(bytes) {}

  bool ok() const noexcept { return ok_; }
  bool at_end() const noexcept { return at_ == bytes_.size(); }
  std::size_t at() const noexcept { return at_; }

  Octets take(std::size_t size) noexcept {
    if (!ok_ || size > bytes_.size() - at_) {
      ok_ = false;
      return {};
    }
    at_ += size;
    return bytes_.subspan(at_ - size, size);
  }
  std::uint8_t number8() noexcept {
    const Octets octets = take(1);
    return ok_ ? octets[0] : std::uint8_t{0};
  }
  std::uint16_t number16() noexcept {
    const Octets octets = take(2);
    return ok_ ? static_cast<std::uint16_t>(octets[0] << 8 | octets[1]) : std::uint16_t{0};
  }

 private:
  Octets bytes_;
  std::size_t at_ = 0;
  bool ok_ = true;
};

void append_label(std::string& name, Octets label) {
  if (!name.empty()) name += '.';
  for (const std::uint8_t octet : label) {
    const char c = static_cast<char>(octet);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_';
    if (plain) {
      name += c;
    } else {
      name += fmt::format("\\{:03}", octet);
    }
  }
}

// RFC 1035 3.1. Nothing: it is cut off, too long, or uses compression (4.1.4), for which the first
// name of a message has nothing to point to.
std::optional<std::string> read_question_name(Reader& reader) {
  const std::size_t begin = reader.at();
  std::string name;
  for (;;) {
    const std::uint8_t size = reader.number8();
    if (!reader.ok() || size > 63) return std::nullopt;
    if (size == 0) break;
    const Octets label = reader.take(size);
    if (!reader.ok() || reader.at() - begin >= name_limit) return std::nullopt;
    append_label(name, label);
  }
  if (name.empty()) name = ".";
  return name;
}

// Past the owner name of an additional record; a pointer ends a name and is not followed. Returns
// whether the name is the root.
bool skip_name(Reader& reader) {
  const std::size_t begin = reader.at();
  for (;;) {
    const std::uint8_t size = reader.number8();
    if (!reader.ok()) return false;
    if (size == 0) return reader.at() == begin + 1;
    if ((size & 0xc0) == 0xc0) {
      reader.take(1);
      return false;
    }
    reader.take(size);
  }
}

struct Header {
  std::uint16_t id = 0;
  unsigned flags = 0;
  std::uint16_t questions = 0;
  std::uint16_t answers = 0;
  std::uint16_t authorities = 0;
  std::uint16_t additionals = 0;

  unsigned opcode() const noexcept { return flags >> 11 & 15; }
};

Header read_header(Reader& reader) {
  Header header;
  header.id = reader.number16();
  header.flags = reader.number16();
  header.questions = reader.number16();
  header.answers = reader.number16();
  header.authorities = reader.number16();
  header.additionals = reader.number16();
  return header;
}

// An answer to what could not be read: a header and nothing else.
DnsBroken refuse(const Header& header, DnsRcode rcode, std::string why) {
  DnsBroken broken;
  put16(broken.reply, header.id);
  put16(broken.reply, flag_response | header.opcode() << 11 |
                          (header.flags & flag_recursion_desired) | flag_recursion_available |
                          static_cast<unsigned>(rcode));
  broken.reply.append(8, '\0');
  broken.why = std::move(why);
  return broken;
}

enum class Extra : std::uint8_t { fine, broken, bad_version };

Extra read_additional(Reader& reader, DnsQuery& query) {
  const bool root = skip_name(reader);
  const std::uint16_t type = reader.number16();
  const std::uint16_t udp_size = reader.number16();
  reader.number8();  // upper bits of the rcode: not a query's
  const std::uint8_t version = reader.number8();
  const std::uint16_t flags = reader.number16();
  reader.take(reader.number16());
  if (!reader.ok()) return Extra::broken;
  if (type != type_opt) return Extra::fine;
  if (!root || query.edns) return Extra::broken;
  query.edns = true;
  query.dnssec_ok = (flags & flag_dnssec_ok) != 0;
  query.udp_size = std::clamp(udp_size, smallest_udp_size, largest_udp_size);
  return version == 0 ? Extra::fine : Extra::bad_version;
}

struct Records {
  std::string bytes;
  std::size_t answers = 0;
  std::size_t authorities = 0;
};

struct ExtendedError {
  DnsEde code = DnsEde::other;
  std::string_view text;
};

// RFC 6891 6.1.2, and RFC 8914 2 inside it.
void append_opt(std::string& out, const DnsQuery& query, DnsRcode rcode,
                const ExtendedError* error) {
  out += '\0';
  put16(out, type_opt);
  put16(out, our_udp_size);
  out += static_cast<char>(static_cast<unsigned>(rcode) >> 4);
  out += '\0';
  put16(out, query.dnssec_ok ? flag_dnssec_ok : 0);
  if (error == nullptr) {
    put16(out, 0);
    return;
  }
  put16(out, error->text.size() + 6);
  put16(out, option_ede);
  put16(out, error->text.size() + 2);
  put16(out, static_cast<std::size_t>(error->code));
  out += error->text;
}

std::string build(const DnsQuery& query, DnsRcode rcode, const Records& records,
                  const ExtendedError* error) {
  std::string out;
  out.reserve(header_size + query.question.size() + records.bytes.size() + opt_size +
              (error != nullptr ? error->text.size() : 0));
  put16(out, query.id);
  put16(out, flag_response | (query.recursion_desired ? flag_recursion_desired : 0) |
                 flag_recursion_available | (query.checking_disabled ? flag_checking_disabled : 0) |
                 (static_cast<unsigned>(rcode) & 15));
  put16(out, 1);
  put16(out, records.answers);
  put16(out, records.authorities);
  put16(out, query.edns ? 1 : 0);
  out += query.question;
  out += records.bytes;
  if (query.edns) append_opt(out, query, rcode, error);
  return out;
}

// The whole answer; else without its sentence; else cut off with the TC bit.
std::string fit(const DnsQuery& query, DnsRcode rcode, const Records& records,
                const ExtendedError* error, DnsTransport transport) {
  const std::size_t limit = transport == DnsTransport::udp ? query.udp_size : 65535;
  std::string out = build(query, rcode, records, error);
  if (out.size() > limit && error != nullptr) out = build(query, rcode, records, nullptr);
  if (out.size() > limit) {
    out = build(query, rcode, Records{}, nullptr);
    out[2] = static_cast<char>(static_cast<unsigned char>(out[2]) | flag_truncated >> 8);
  }
  return out;
}

void append_record_front(std::string& out, std::uint16_t type, std::uint32_t ttl) {
  put16(out, 0xc000 | header_size);  // the name of the question
  put16(out, type);
  put16(out, dns_class_in);
  put32(out, ttl);
}

// Without an SOA record no resolver may remember a negative answer (RFC 2308 5).
Records negative_records() {
  Records records;
  append_record_front(records.bytes, type_soa, dns_negative_ttl);
  put16(records.bytes, 22);
  records.bytes.append(2, '\0');  // MNAME and RNAME: the root
  for (const std::uint32_t value : {1U, 3600U, 600U, 86400U, dns_negative_ttl}) {
    put32(records.bytes, value);
  }
  records.authorities = 1;
  return records;
}

// An extended error is a help, not the answer: what is longer is cut, at a whole UTF-8 character.
std::string_view cut(std::string_view text) {
  constexpr std::size_t limit = 400;
  if (text.size() <= limit) return text;
  std::size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

tl::unexpected<DnsBroken> form_error(const Header& header, std::string why) {
  return tl::unexpected(refuse(header, DnsRcode::format_error, std::move(why)));
}

}  // namespace

tl::expected<DnsQuery, DnsBroken> parse_dns_query(Octets message) {
  Reader reader(message);
  const Header header = read_header(reader);
  if (!reader.ok()) return tl::unexpected(DnsBroken{{}, "the message is shorter than a header"});
  if ((header.flags & flag_response) != 0) {
    return tl::unexpected(DnsBroken{{}, "the message is a response"});
  }
  if (header.opcode() != 0) {
    return tl::unexpected(refuse(header, DnsRcode::not_implemented, "the opcode is not QUERY"));
  }
  if (header.questions != 1) return form_error(header, "there is not exactly one question");
  if (header.answers != 0 || header.authorities != 0 || (header.flags & flag_truncated) != 0) {
    return form_error(header, "the query has what only a response may have");
  }

  DnsQuery query;
  query.id = header.id;
  query.recursion_desired = (header.flags & flag_recursion_desired) != 0;
  query.checking_disabled = (header.flags & flag_checking_disabled) != 0;
  auto name = read_question_name(reader);
  if (!name) return form_error(header, "the name is cut off, too long or compressed");
  query.name = std::move(*name);
  query.type = reader.number16();
  query.klass = reader.number16();
  if (!reader.ok()) return form_error(header, "the question is cut off");
  query.question = as_text(message.subspan(header_size, reader.at() - header_size));

  bool bad_version = false;
  for (std::size_t i = 0; i < header.additionals; ++i) {
    const Extra extra = read_additional(reader, query);
    if (extra == Extra::broken) return form_error(header, "an additional record is broken");
    bad_version |= extra == Extra::bad_version;
  }
  if (!reader.at_end()) return form_error(header, "bytes follow the last record");
  if (bad_version) {
    return tl::unexpected(DnsBroken{build(query, DnsRcode::bad_version, Records{}, nullptr),
                                    "the EDNS version is not 0"});
  }
  return query;
}

std::string dns_addresses(const DnsQuery& query, std::span<const IpAddress> addresses,
                          std::uint32_t ttl, DnsTransport transport) {
  Records records;
  for (const IpAddress& address : addresses) {
    const std::size_t size = address.is_v4() ? 4 : 16;
    append_record_front(records.bytes, address.is_v4() ? dns_type_a : dns_type_aaaa, ttl);
    put16(records.bytes, size);
    records.bytes += as_text(Octets(address.bytes()).first(size));
    ++records.answers;
  }
  return fit(query, DnsRcode::no_error, records, nullptr, transport);
}

std::string dns_no_data(const DnsQuery& query, DnsTransport transport) {
  return fit(query, DnsRcode::no_error, negative_records(), nullptr, transport);
}

std::string dns_name_error(const DnsQuery& query, std::string_view sentence,
                           DnsTransport transport) {
  const ExtendedError error{DnsEde::filtered, cut(sentence)};
  return fit(query, DnsRcode::name_error, negative_records(), &error, transport);
}

std::string dns_server_failure(const DnsQuery& query, std::string_view sentence,
                               DnsTransport transport) {
  const ExtendedError error{DnsEde::other, cut(sentence)};
  return fit(query, DnsRcode::server_failure, Records{}, &error, transport);
}

std::string dns_format_error(const DnsQuery& query, DnsTransport transport) {
  return fit(query, DnsRcode::format_error, Records{}, nullptr, transport);
}

std::string dns_not_implemented(const DnsQuery& query, DnsTransport transport) {
  return fit(query, DnsRcode::not_implemented, Records{}, nullptr, transport);
}

}  // namespace sluice::proxy::wire
