// Distinct types for ids and yes/no parameters, so that a call reads without its header.
#pragma once

#include <compare>
#include <cstdint>

namespace sluice {

// A number that is not interchangeable with other numbers. Tag is an empty struct.
template <class Value, class Tag>
struct Strong {
  Value value{};
  friend auto operator<=>(const Strong&, const Strong&) = default;
};

// A yes/no parameter: `using Quiet = YesNo<struct QuietTag>; run(Quiet::yes)`.
template <class Tag>
class YesNo {
 public:
  static const YesNo yes;
  static const YesNo no;
  constexpr explicit YesNo(bool value) noexcept : value_(value) {}
  constexpr explicit operator bool() const noexcept { return value_; }
  friend bool operator==(const YesNo&, const YesNo&) = default;

 private:
  bool value_;
};
template <class Tag>
inline constexpr YesNo<Tag> YesNo<Tag>::yes{true};
template <class Tag>
inline constexpr YesNo<Tag> YesNo<Tag>::no{false};

}  // namespace sluice
