// Names what a seed does not hold, a few of it, for a person.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::launcher {

class LeftOut {
 public:
  explicit LeftOut(std::string seed) : seed_(std::move(seed)) {}

  // `path` is relative to the seed.
  void add(std::string_view path, std::string_view why);

  // At most five names, each cut to 200 bytes; "" when nothing was left out.
  std::string sentence() const;

 private:
  std::string seed_;
  std::vector<std::string> named_;
  std::uint64_t count_ = 0;
};

}  // namespace sluice::launcher
