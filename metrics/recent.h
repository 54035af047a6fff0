// The decisions of late and what was refused most, for operators who ask: bounded in lines and
// bytes.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/audit.h"
#include "metrics/top_blocked.h"

namespace sluice::metrics {

// Written by the thread of the audit log, read by any other. What it has no room for is forgotten,
// oldest first; who has not read it by then learns how many lines that were.
class Recent {
 public:
  static constexpr std::size_t most_lines = 1024;
  static constexpr std::size_t most_bytes = std::size_t{1024} * 1024;

  struct Entry {
    std::uint64_t number = 0;  // from 1, without holes
    std::string agent;
    // None: denials of `agent` that have no line, of which `json` is the count.
    std::optional<Verdict> verdict;
    std::string json;  // the audit line without its line feed: ASCII or UTF-8 without controls
  };
  using Entries = std::vector<std::shared_ptr<const Entry>>;

  // `json`: the line as it stands in the file. Lines that tell no decision are passed over. What
  // memory is lacking for is not kept, and has no number.
  void add(const AuditLine& line, std::string_view json) noexcept;
  // Denials of `agent` that have no line.
  void leave_out(const std::string& agent, std::uint64_t count) noexcept;

  // Which are asked for: all of an empty `agent`, and of no verdict.
  struct Wanted {
    std::string agent;
    std::optional<Verdict> verdict;
  };
  // The newest decisions, at most `most`, oldest first.
  Entries last(const Wanted& wanted, std::size_t most) const;

  struct Following {
    Entries entries;            // oldest first, what was left out among them
    std::uint64_t lost = 0;     // so many between `after` and the first one kept, of any agent
    std::uint64_t reached = 0;  // to go on after
  };
  // What came after number `after`, at most `most`.
  Following following(std::uint64_t after, const Wanted& wanted, std::size_t most) const;
  // The highest number given.
  std::uint64_t newest() const noexcept { return newest_.load(std::memory_order_acquire); }

  struct Top {
    std::vector<Blocked> blocked;  // most first
    std::vector<TopBlocked::LeftOut> left_out;
  };
  Top top() const;

 private:
  void keep(Entry entry);

  mutable std::mutex mutex_;
  // Guarded by mutex_.
  std::deque<std::shared_ptr<const Entry>> entries_;
  std::size_t bytes_ = 0;
  TopBlocked top_;
  std::atomic<std::uint64_t> newest_{0};
};

}  // namespace sluice::metrics
