// Writes what there is of every agent in Prometheus' text format 0.0.4.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace sluice::metrics {

struct Label {
  std::string_view name;
  std::string_view value;
};

// Families in the order in which they are begun, each with its values right after it.
class Page {
 public:
  enum class Type : std::uint8_t { counter, gauge };
  // Literals: they are not copied.
  struct Head {
    std::string_view name;
    std::string_view help;
  };
  using Labels = std::initializer_list<Label>;

  void begin(Type type, const Head& head);
  // Of the family that was begun last.
  void value(std::integral auto number, Labels labels = {}) {
    if constexpr (std::signed_integral<decltype(number)>) {
      whole(static_cast<std::int64_t>(number), labels);
    } else {
      whole(static_cast<std::uint64_t>(number), labels);
    }
  }

  void reserve(std::size_t bytes) { text_.reserve(bytes); }
  std::string text() && { return std::move(text_); }

 private:
  void whole(std::int64_t number, Labels labels);
  void whole(std::uint64_t number, Labels labels);
  void open(Labels labels);

  std::string text_;
  std::string_view name_;
};

}  // namespace sluice::metrics
