// What sluiceds tell over their admin sockets at one moment, read into values: pure.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/reason.h"

namespace sluice::launcher {

// Bytes that the policy lets an agent move in a window, and what it has moved of them.
struct TopBudget {
  std::string direction;  // "up" or "down"
  std::uint64_t spent = 0;
  std::uint64_t limit = 0;
  std::uint64_t period_seconds = 0;
  std::string resets;  // RFC 3339: when the next window begins
};

// Texts are what an agent may have chosen, unescaped.
struct TopAgent {
  std::string name;
  std::string kind;
  std::string since;  // RFC 3339
  std::uint64_t connections = 0;
  std::uint64_t tunnels = 0;
  std::uint64_t allowed = 0;
  std::uint64_t reported = 0;
  std::uint64_t denied = 0;
  std::uint64_t failed = 0;
  std::uint64_t dns_refused = 0;
  std::uint64_t programs = 0;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::vector<TopBudget> budgets;  // none of a direction without one

  // What it asked for, however it was decided.
  std::uint64_t requests() const noexcept {
    return allowed + reported + denied + failed + dns_refused;
  }
};

struct TopDecision {
  std::string time;
  std::string agent;
  std::string via;
  std::string host;
  std::uint16_t port = 0;
  std::string verdict;
  std::string reason;  // what would have refused it, of one in report mode
  std::string json;    // the whole line
};

struct TopHost {
  std::string agent;
  std::string host;
  std::uint16_t port = 0;
  std::string verdict;
  std::string reason;
  std::string rule;
  std::uint64_t count = 0;
  std::uint64_t over = 0;
  std::string last;      // RFC 3339
  std::string to_allow;  // rule_to_paste()
};

struct Sample {
  std::chrono::steady_clock::time_point at;
  std::vector<TopAgent> agents;
  std::vector<TopDecision> decisions;  // oldest first
  std::vector<TopHost> blocked;        // most first
  std::vector<std::string> notes;      // who did not answer, a sentence each
};

// Each adds what a page of /api/v1 says. An error: it is no such page.
Result<void> add_agents(Sample& sample, std::string_view page);
Result<void> add_decisions(Sample& sample, std::string_view page);
Result<void> add_top(Sample& sample, std::string_view page);

// After all pages: agents by name, the newest `most` decisions of all, the most blocked hosts.
void put_in_order(Sample& sample, std::size_t most);

// "host:port", "[2001:db8::1]:443"; the host alone for port 0.
std::string target_of(std::string_view host, std::uint16_t port);

}  // namespace sluice::launcher
