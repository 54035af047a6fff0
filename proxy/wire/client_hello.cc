#include "proxy/wire/client_hello.h"

#include <algorithm>
#include <bitset>
#include <memory>

namespace sluice::proxy::wire {
namespace {

using Octets = std::span<const std::uint8_t>;

constexpr std::uint8_t handshake_record = 22;
constexpr std::uint8_t client_hello_type = 1;
constexpr std::size_t message_header = 4;
constexpr std::size_t record_payload_limit = 16384;  // RFC 8446 5.1
constexpr std::size_t name_limit = 253;
constexpr std::uint16_t server_name_extension = 0;
constexpr std::uint16_t ech_extension = 0xfe0d;         // RFC 9849
constexpr std::uint16_t esni_draft_extension = 0xffce;  // its predecessor, never standardised

// Reads big-endian numbers and length-prefixed vectors; once something is missing, ok() stays
// false.
class Cursor {
 public:
  explicit Cursor(Octets bytes) : bytes_(bytes) {}

  bool ok() const noexcept { return ok_; }
  bool empty() const noexcept { return bytes_.empty(); }

  Octets take(std::size_t size) noexcept {
    if (size > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const Octets taken = bytes_.first(size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::size_t number(std::size_t octets) noexcept {
    std::size_t value = 0;
    for (const std::uint8_t octet : take(octets)) value = value << 8 | octet;
    return value;
  }
  Octets vector(std::size_t length_octets) noexcept { return take(number(length_octets)); }

 private:
  Octets bytes_;
  bool ok_ = true;
};

// RFC 6066 3, where exactly one host_name is left of the list: two could be read as either.
std::string_view parse_server_name(Octets extension, ClientHello& hello) {
  Cursor outer(extension);
  Cursor list(outer.vector(2));
  const std::size_t name_type = list.number(1);
  const Octets name = list.vector(2);
  if (!outer.ok() || !list.ok() || !outer.empty()) return "the server name extension is broken";
  if (!list.empty()) return "there is more than one server name";
  if (name_type != 0) return "the server name is of an unknown type";
  if (name.empty() || name.size() > name_limit) return "the server name is empty or too long";
  hello.server_name.emplace(name.begin(), name.end());
  return {};
}

// The types of extensions that came. Honest clients send some twenty, which need no memory; a hello
// may have thousands, each of which must not be compared with all before it.
class ExtensionTypes {
 public:
  // False: it was there already.
  bool add(std::uint16_t type) {
    if (many_ == nullptr) {
      const auto end = few_.begin() + count_;
      if (std::find(few_.begin(), end, type) != end) return false;
      if (count_ < few_.size()) {
        few_[count_++] = type;
        return true;
      }
      many_ = std::make_unique<std::bitset<65536>>();
      for (const std::uint16_t before : few_) many_->set(before);
    }
    if (many_->test(type)) return false;
    many_->set(type);
    return true;
  }

 private:
  std::array<std::uint16_t, 32> few_;
  std::size_t count_ = 0;
  std::unique_ptr<std::bitset<65536>> many_;
};

std::string_view parse_extensions(Octets bytes, ClientHello& hello) {
  ExtensionTypes seen;
  Cursor extensions(bytes);
  while (!extensions.empty()) {
    const std::size_t type = extensions.number(2);
    const Octets data = extensions.vector(2);
    if (!extensions.ok()) return "an extension is cut off";
    if (!seen.add(static_cast<std::uint16_t>(type))) return "an extension stands twice";
    if (type == ech_extension || type == esni_draft_extension) hello.ech_offered = true;
    if (type != server_name_extension) continue;
    if (const auto why = parse_server_name(data, hello); !why.empty()) return why;
  }
  return {};
}

// RFC 8446 4.1.2. Returns what is wrong with it, or nothing.
std::string_view parse_client_hello(Octets body, ClientHello& hello) {
  Cursor cursor(body);
  const std::size_t version = cursor.number(2);
  cursor.take(32);  // random
  const Octets session_id = cursor.vector(1);
  const Octets cipher_suites = cursor.vector(2);
  const Octets compression_methods = cursor.vector(1);
  if (!cursor.ok()) return "the ClientHello is cut off";
  if (version >> 8 != 3) return "the ClientHello has an unknown version";
  if (session_id.size() > 32) return "the session id is too long";
  if (cipher_suites.empty() || cipher_suites.size() % 2 != 0 || compression_methods.empty()) {
    return "the ClientHello lacks cipher suites or compression methods";
  }
  if (cursor.empty()) return {};  // TLS 1.2 and older may do without extensions
  const Octets extensions = cursor.vector(2);
  if (!cursor.ok() || !cursor.empty()) return "the extensions do not fill the ClientHello";
  return parse_extensions(extensions, hello);
}

}  // namespace

ClientHelloReader::Status ClientHelloReader::fail(Status status, std::string_view why) {
  why_ = why;
  message_ = {};
  hello_ = {};
  return status_ = status;
}

ClientHelloReader::Status ClientHelloReader::feed(Octets new_bytes) {
  while (status_ == Status::need_more && !new_bytes.empty()) {
    if (header_size_ < header_.size()) {
      take_header(new_bytes.front());
      new_bytes = new_bytes.subspan(1);
    } else {
      new_bytes = new_bytes.subspan(take_fragment(new_bytes));
    }
  }
  return status_;
}

ClientHelloReader::Status ClientHelloReader::take_header(std::uint8_t byte) {
  const std::size_t at = header_size_++;
  header_[at] = byte;
  // Type, then version 3.0 to 3.4. Anything else at the very start is another protocol (SSLv2 too).
  if ((at == 0 && byte != handshake_record) || (at == 1 && byte != 3) || (at == 2 && byte > 4)) {
    if (records_ == 0) return fail(Status::not_tls, "the first bytes are not TLS");
    return fail(Status::bad, "another record stands in the middle of the ClientHello");
  }
  return header_size_ == header_.size() ? begin_record() : status_;
}

ClientHelloReader::Status ClientHelloReader::begin_record() {
  record_left_ = std::size_t{header_[3]} << 8 | header_[4];
  if (record_left_ == 0) return fail(Status::bad, "a handshake record is empty");
  if (record_left_ > record_payload_limit) return fail(Status::bad, "a record is too long");
  if (++records_ > record_limit) return fail(Status::bad, "the ClientHello has too many records");
  return status_;
}

// Takes at most one record's rest, the message's header or the message's rest; returns how much.
std::size_t ClientHelloReader::take_fragment(Octets bytes) {
  std::size_t wanted = message_header;
  if (message_.size() >= message_header) {
    wanted += std::size_t{message_[1]} << 16 | std::size_t{message_[2]} << 8 | message_[3];
  }
  const std::size_t size = std::min({bytes.size(), record_left_, wanted - message_.size()});
  // Most hellos are in one record that is here already.
  if (message_.empty()) message_.reserve(std::min(bytes.size(), record_left_));
  message_.insert(message_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
  record_left_ -= size;
  if (record_left_ == 0) header_size_ = 0;
  check_message();
  return size;
}

ClientHelloReader::Status ClientHelloReader::check_message() {
  if (message_.front() != client_hello_type) {
    return fail(Status::bad, "the first handshake message is not a ClientHello");
  }
  if (message_.size() < message_header) return status_;
  const std::size_t size =
      std::size_t{message_[1]} << 16 | std::size_t{message_[2]} << 8 | message_[3];
  if (size > size_limit) return fail(Status::bad, "the ClientHello is too long");
  if (message_.size() < message_header + size) return status_;
  // No client may say more before the server has spoken, and a second hello could name another
  // host.
  if (record_left_ != 0) return fail(Status::bad, "bytes follow the ClientHello in its record");
  const auto why = parse_client_hello(Octets(message_).subspan(message_header), hello_);
  if (!why.empty()) return fail(Status::bad, why);
  message_ = {};
  return status_ = Status::done;
}

}  // namespace sluice::proxy::wire
