// "Not more than one line in a while": whoever can connect could fill the disk.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

namespace sluice::proxy {

// Any thread.
class RareLog {
 public:
  explicit RareLog(std::chrono::seconds each) noexcept : each_(each.count()) {}
  // Writes a warning, with how many were left out before it, or leaves it out.
  void warn(const std::string& sentence) noexcept;

 private:
  const std::int64_t each_;
  std::atomic<std::int64_t> next_at_{0};  // seconds of Clock
  std::atomic<unsigned> left_out_{0};
};

}  // namespace sluice::proxy
