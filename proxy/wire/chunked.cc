#include "proxy/wire/chunked.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace sluice::proxy::wire {
namespace {

constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// RFC 9110 6.5.1: framing, routing, request modifiers, authentication, and what speaks of this hop
// or of how the content is to be read.
constexpr std::array<std::string_view, 38> forbidden_trailers = {"age",
                                                                 "authorization",
                                                                 "cache-control",
                                                                 "connection",
                                                                 "content-encoding",
                                                                 "content-length",
                                                                 "content-range",
                                                                 "content-type",
                                                                 "cookie",
                                                                 "date",
                                                                 "expect",
                                                                 "expires",
                                                                 "host",
                                                                 "http2-settings",
                                                                 "if-match",
                                                                 "if-modified-since",
                                                                 "if-none-match",
                                                                 "if-range",
                                                                 "if-unmodified-since",
                                                                 "keep-alive",
                                                                 "location",
                                                                 "max-forwards",
                                                                 "pragma",
                                                                 "proxy-authenticate",
                                                                 "proxy-authentication-info",
                                                                 "proxy-authorization",
                                                                 "proxy-connection",
                                                                 "range",
                                                                 "retry-after",
                                                                 "set-cookie",
                                                                 "te",
                                                                 "trailer",
                                                                 "transfer-encoding",
                                                                 "upgrade",
                                                                 "vary",
                                                                 "via",
                                                                 "warning",
                                                                 "www-authenticate"};

bool is_forbidden_trailer(std::string_view name) noexcept {
  return std::any_of(forbidden_trailers.begin(), forbidden_trailers.end(),
                     [&](std::string_view entry) { return equals_ignoring_case(name, entry); });
}

}  // namespace

WireResult<ChunkedReader::Step> ChunkedReader::feed(std::string_view input) {
  Step step;
  while (step.consumed < input.size() && state_ != State::done) {
    if (state_ == State::data) {
      const std::size_t size =
          static_cast<std::size_t>(std::min<std::uint64_t>(left_, input.size() - step.consumed));
      step.payload = input.substr(step.consumed, size);
      step.consumed += size;
      left_ -= size;
      if (left_ == 0) state_ = State::data_cr;
      return step;
    }
    if (const std::string_view why = take(input[step.consumed]); !why.empty()) {
      return wire_fail(broken_, std::string(why));
    }
    ++step.consumed;
  }
  step.done = state_ == State::done;
  return step;
}

std::string_view ChunkedReader::expect(char byte, char wanted, State next) {
  if (byte != wanted) return "a line of the chunked body does not end in CRLF";
  state_ = next;
  return {};
}

std::string_view ChunkedReader::take(char byte) {
  switch (state_) {
    case State::size:
      return take_size(byte);
    case State::padding:
    case State::extension:
      return take_extension(byte);
    case State::size_lf:
      return expect(byte, '\n', left_ == 0 ? State::trailer : State::data);
    case State::data_cr:
      return expect(byte, '\r', State::data_lf);
    case State::data_lf:
      left_ = 0;
      digits_ = 0;
      extension_ = 0;
      return expect(byte, '\n', State::size);
    case State::trailer:
      return take_trailer(byte);
    case State::data:
    case State::done:
      break;
  }
  return "bytes stand behind the end of the chunked body";
}

std::string_view ChunkedReader::take_size(char byte) {
  if (const int digit = hex_value(byte); digit >= 0) {
    if (++digits_ > 16) return "a chunk size has more than 16 digits";
    left_ = left_ << 4 | static_cast<std::uint64_t>(digit);
    return {};
  }
  if (digits_ == 0) return "a chunk does not begin with its size";
  if (byte == '\r') {
    state_ = State::size_lf;
    return {};
  }
  state_ = State::padding;
  return take_extension(byte);
}

std::string_view ChunkedReader::take_extension(char byte) {
  if (state_ == State::padding && byte != ' ' && byte != '\t') {
    if (byte != ';') return "a chunk size is followed by something else than an extension";
    state_ = State::extension;
  }
  if (byte == '\r') {
    state_ = State::size_lf;
    return {};
  }
  const auto octet = static_cast<unsigned char>(byte);
  if ((octet < 0x20 && byte != '\t') || octet == 0x7f) {
    return "a chunk extension has a control byte";
  }
  if (++extension_ > chunk_extension_limit) return "a chunk extension is too long";
  return {};
}

std::string_view ChunkedReader::take_trailer(char byte) {
  const bool after_cr = trailer_lines_.ends_with('\r');
  if (after_cr != (byte == '\n')) return "a trailer line does not end in CRLF";
  if (trailer_lines_.size() >= limits_.bytes) return "the trailer is larger than the limit";
  trailer_lines_ += byte;
  if (trailer_lines_ == "\r\n" || trailer_lines_.ends_with("\r\n\r\n")) return finish_trailers();
  return {};
}

std::string_view ChunkedReader::finish_trailers() {
  const std::string_view lines(trailer_lines_.data(), trailer_lines_.size() - 2);
  const auto fields = parse_fields(lines, limits_.fields);
  if (!fields) return why_ = "in the trailer: " + fields.error().why;
  for (const Field& field : *fields) {
    if (is_forbidden_trailer(field.name)) continue;
    trailers_.push_back({std::string(field.name), std::string(field.value)});
  }
  trailer_lines_.clear();
  state_ = State::done;
  return {};
}

std::string end_of_chunks(const std::vector<Trailer>& trailers,
                          const std::vector<std::string>& hop_names) {
  std::string out = "0\r\n";
  for (const Trailer& trailer : trailers) {
    const bool of_this_hop = std::any_of(
        hop_names.begin(), hop_names.end(),
        [&](const std::string& name) { return equals_ignoring_case(name, trailer.name); });
    if (!of_this_hop) out.append(trailer.name).append(": ").append(trailer.value).append("\r\n");
  }
  out += "\r\n";
  return out;
}

std::string chunk_header(std::uint64_t size) {
  std::array<char, 18> text;  // 64 bits, and the end of the line
  char* end = std::to_chars(text.data(), text.data() + text.size(), size, 16).ptr;
  *end++ = '\r';
  *end++ = '\n';
  return {text.data(), end};
}

}  // namespace sluice::proxy::wire
