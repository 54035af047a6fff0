// One attempt to leave the sandbox: what it tries, and what came of it.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "launcher/plan/plan.h"

namespace sluice::launcher::probes {

enum class Area : std::uint8_t {
  network,
  filesystem,
  privileges,
  processes,
  resources,
  terminal,
};
std::string_view to_string(Area area) noexcept;

struct Answer {
  enum class Kind : std::uint8_t {
    held,
    reached,         // `what` it got to
    not_applicable,  // `what` stands in the way of trying
    no_answer,       // the probe's process ended without a word
  };
  Kind kind = Kind::held;
  std::string what = {};
};
std::string_view to_string(Answer::Kind kind) noexcept;

inline Answer held() { return {}; }
inline Answer reached(std::string what) { return {Answer::Kind::reached, std::move(what)}; }
inline Answer not_applicable(std::string why) {
  return {Answer::Kind::not_applicable, std::move(why)};
}

// What should confine the calling process.
struct Bounds {
  const Plan& plan;
  pid_t agent = 0;  // in whose place the probes run
  pid_t init = 1;
  int report = -1;  // a descriptor that exec closes, open besides 0-2
  // How long an answer of the sandbox's own network may take: microseconds, but for a machine that
  // is very busy.
  std::chrono::milliseconds patience{5000};
};

enum class When : std::uint8_t {
  before_exec,  // by the agent's own process: it takes microseconds and leaves nothing behind
  in_proof,     // `sluice prove` only
};

struct Probe {
  const char* name;   // unique
  const char* tries;  // in a few words, for a person
  When when;
  // By system calls, in a process with one thread. What it opened stays open: after `reached` the
  // process must end.
  Answer (*attempt)(const Bounds& bounds);
};

struct AreaProbes {
  Area area;
  std::span<const Probe> probes;
};

// Every probe there is.
const std::array<AreaProbes, 8>& battery();

}  // namespace sluice::launcher::probes
