// What a parser says when bytes break their protocol: the reason to answer with, and why.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

#include "base/reason.h"

namespace sluice::proxy::wire {

// `why` is one sentence, lower case, no trailing dot, that never repeats the untrusted bytes.
struct WireError {
  Reason reason = Reason::bad_request;
  std::string why;
};

template <class T>
using WireResult = tl::expected<T, WireError>;

inline tl::unexpected<WireError> wire_fail(Reason reason, std::string why) {
  return tl::unexpected<WireError>(WireError{reason, std::move(why)});
}
inline tl::unexpected<WireError> bad_request(std::string why) {
  return wire_fail(Reason::bad_request, std::move(why));
}

// The same memory, seen as octets or as text.
inline std::span<const std::uint8_t> as_octets(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const std::uint8_t> octets) noexcept {
  return {reinterpret_cast<const char*>(octets.data()), octets.size()};
}

}  // namespace sluice::proxy::wire
