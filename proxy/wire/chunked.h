// Reads a chunked body piece by piece and writes one anew (RFC 9112 7.1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/wire/field.h"
#include "proxy/wire/wire_error.h"

namespace sluice::proxy::wire {

// Chunk extensions are dropped, but not without end: per chunk, behind the size.
inline constexpr std::size_t chunk_extension_limit = 256;

struct Trailer {
  std::string name;
  std::string value;
};

class ChunkedReader {
 public:
  // `broken` is the reason of every error: bad_request for an agent's body, unreachable for an
  // origin's.
  explicit ChunkedReader(Reason broken, HeadLimits trailer_limits = {.bytes = 8192, .fields = 32})
      : broken_(broken), limits_(trailer_limits) {}

  struct Step {
    std::size_t consumed = 0;  // bytes of the input that are done with, framing included
    std::string_view payload;  // the part of them that is body: a view into the input, may be empty
    bool done = false;         // the body ended; what follows `consumed` is the next message
  };

  // Takes input up to the end of one piece of payload. Call it again with the rest while it
  // consumes; it consumes all of an input that lacks a payload. After `done` or an error: not
  // again.
  WireResult<Step> feed(std::string_view input);

  // After `done`: the trailer fields that may be forwarded; those RFC 9110 6.5.1 forbids are
  // dropped.
  const std::vector<Trailer>& trailers() const noexcept { return trailers_; }

 private:
  enum class State : std::uint8_t {
    size,
    padding,  // white space between size and extension (BWS)
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer,
    done,
  };

  // Each answers what is wrong, or nothing.
  std::string_view take(char byte);
  std::string_view take_size(char byte);
  std::string_view take_extension(char byte);
  std::string_view expect(char byte, char wanted, State next);
  std::string_view take_trailer(char byte);
  std::string_view finish_trailers();

  Reason broken_;
  HeadLimits limits_;
  State state_ = State::size;
  std::uint64_t left_ = 0;     // of this chunk: while reading its size, the size so far
  std::size_t digits_ = 0;     // of this size line
  std::size_t extension_ = 0;  // bytes of this size line behind the size
  std::string trailer_lines_;
  std::vector<Trailer> trailers_;
  std::string why_;  // of a broken trailer
};

// "1a\r\n", to be followed by that many bytes and chunk_end.
std::string chunk_header(std::uint64_t size);
inline constexpr std::string_view chunk_end = "\r\n";
// "0\r\n\r\n": the body ends here, without trailers.
inline constexpr std::string_view last_chunk = "0\r\n\r\n";
// The end of a body: the last chunk, and those of `trailers` that are not named in `hop_names`.
std::string end_of_chunks(const std::vector<Trailer>& trailers,
                          const std::vector<std::string>& hop_names);

}  // namespace sluice::proxy::wire
