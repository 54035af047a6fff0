// Why an agent ended: the one vocabulary of supervisors, audit lines and metrics.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace sluice {

// Names are a contract (agent_end_name); numbers are not.
enum class AgentEnd : std::uint8_t {
  succeeded,     // exit status 0
  failed,        // another exit status
  signal,        // a signal that nobody here sent
  timeout,       // --timeout
  memory_limit,  // the kernel ended it for its memory limit
  stopped,       // a person asked for it
  not_started,   // it was registered, and its command never ran
  withdrawn,     // it had a way out besides sluiced
  released,      // unregistered without a word why
  lost,          // its supervisor went without a word
};
inline constexpr std::size_t agent_end_count = static_cast<std::size_t>(AgentEnd::lost) + 1;

std::string_view agent_end_name(AgentEnd end) noexcept;
// Nothing for what is no name.
std::optional<AgentEnd> agent_end_named(std::string_view name) noexcept;

}  // namespace sluice
