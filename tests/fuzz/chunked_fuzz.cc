// A chunked body ends where RFC 9112 7.1 says, however it is cut into reads.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/wire/chunked.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using namespace proxy::wire;

struct Body {
  std::string payload;
  char end = 'm';            // 'd'one, 'e'rror, 'm'ore is wanted
  std::size_t consumed = 0;  // of a body that is done
  std::string trailer;       // "name: value\n" each
  friend bool operator==(const Body&, const Body&) = default;
};

Body read(std::string_view bytes, std::size_t piece) {
  ChunkedReader reader(Reason::bad_request);
  Body body;
  while (!bytes.empty()) {
    std::string_view now = bytes.substr(0, piece);
    bytes.remove_prefix(now.size());
    while (!now.empty()) {
      const auto step = reader.feed(now);
      if (!step) {
        body.end = 'e';
        return body;
      }
      require(step->consumed <= now.size() && step->payload.size() <= step->consumed,
              "a step stays within its input");
      require(step->consumed > 0 || step->done, "a step goes forward");
      body.payload += step->payload;
      body.consumed += step->consumed;
      if (step->done) {
        body.end = 'd';
        for (const Trailer& field : reader.trailers())
          body.trailer += field.name + ": " + field.value + "\n";
        return body;
      }
      now.remove_prefix(step->consumed);
    }
  }
  return body;
}

// RFC 9112 7.1 once more, for a body that is there as a whole: the payload, or nothing where it is
// broken or cut off. Of the trailer section only its end.
class Plain {
 public:
  explicit Plain(std::string_view bytes) : left_(bytes) {}

  std::optional<std::string> payload() {
    std::string payload;
    for (;;) {
      const auto size = size_line();
      if (!size) return std::nullopt;
      if (*size == 0) break;
      if (left_.size() < 2 || *size > left_.size() - 2) return std::nullopt;
      payload += left_.substr(0, static_cast<std::size_t>(*size));
      left_.remove_prefix(static_cast<std::size_t>(*size));
      if (!left_.starts_with("\r\n")) return std::nullopt;
      left_.remove_prefix(2);
    }
    for (auto trailer = line(); trailer; trailer = line()) {
      if (trailer->empty()) return payload;
    }
    return std::nullopt;
  }
  std::size_t left() const { return left_.size(); }

 private:
  std::optional<std::string_view> line() {
    const std::size_t end = left_.find("\r\n");
    if (end == left_.npos) return std::nullopt;
    const std::string_view found = left_.substr(0, end);
    left_.remove_prefix(end + 2);
    return found;
  }
  std::optional<std::uint64_t> size_line() {
    const auto text = line();
    if (!text) return std::nullopt;
    std::uint64_t size = 0;
    const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), size, 16);
    if (error != std::errc{} || text->starts_with('-')) return std::nullopt;
    return size;
  }

  std::string_view left_;
};

// What was read as a whole body is the body that a plain reading finds.
void check_plain(std::string_view bytes, const Body& body) {
  Plain plain(bytes);
  const auto payload = plain.payload();
  require(payload.has_value(), "what is taken is a chunked body", bytes);
  require(*payload == body.payload, "its payload is the same to every reader", bytes);
  require(bytes.size() - plain.left() == body.consumed, "it ends where every reader sees its end",
          bytes);
}

// As the proxy writes a body anew.
void check_written_anew(const Body& body) {
  std::string anew;
  for (std::string_view left = body.payload; !left.empty();) {
    const std::string_view part = left.substr(0, 1 + left.size() / 2);
    anew.append(chunk_header(part.size())).append(part).append(chunk_end);
    left.remove_prefix(part.size());
  }
  anew += last_chunk;
  const Body again = read(anew, anew.size());
  require(again.end == 'd' && again.payload == body.payload && again.consumed == anew.size(),
          "a body written anew is the same body", anew);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const Body whole = read(bytes, bytes.size() + 1);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{7}}) {
    const Body cut = read(bytes, piece);
    require(cut.end == whole.end, "pieces end as the whole does", bytes);
    require(whole.end == 'e' || cut == whole, "pieces are read as the whole is", bytes);
  }
  require(std::none_of(whole.trailer.begin(), whole.trailer.end(),
                       [](char c) { return c == '\r' || c == '\0'; }),
          "a trailer is lines", whole.trailer);
  if (whole.end != 'd') return 0;
  check_plain(bytes, whole);
  check_written_anew(whole);
  return 0;
}
