// A short text that is wiped from memory when it is no longer needed.
#pragma once

#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::proxy::wire {

// Moves only: no copy is left behind, not even inside a moved-from string.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string_view text) : text_(text) {}
  Secret(Secret&& other) noexcept { *this = std::move(other); }
  Secret& operator=(Secret&& other) noexcept {
    if (this != &other) {
      wipe();
      text_.swap(other.text_);  // copies what lies inside the objects: the other's is wiped
      other.wipe();
    }
    return *this;
  }
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  std::string_view view() const noexcept { return text_; }
  const char* c_str() const noexcept { return text_.c_str(); }

  // explicit_bzero(3), the unused room behind the text included.
  void wipe() noexcept {
    text_.resize(text_.capacity());  // within the capacity: allocates nothing
    ::explicit_bzero(text_.data(), text_.size());
    text_.clear();
  }

 private:
  std::string text_;
};

}  // namespace sluice::proxy::wire
