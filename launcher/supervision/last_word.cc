#include "launcher/supervision/last_word.h"

#include <algorithm>
#include <utility>

namespace sluice::launcher {

AgentEnd agent_end(const RunEnd& end) noexcept {
  constexpr int signalled = 128;
  if (!end.was_running) return AgentEnd::not_started;
  if (end.timed_out) return AgentEnd::timeout;
  if (end.out_of_memory) return AgentEnd::memory_limit;
  if (end.stop_asked) return AgentEnd::stopped;
  if (end.status > signalled) return AgentEnd::signal;
  return end.status == 0 ? AgentEnd::succeeded : AgentEnd::failed;
}

netns::Event end_event(const RunEnd& end) {
  netns::Event event;
  event.kind = netns::Event::Kind::agent_end;
  event.end = agent_end(end);
  event.status = static_cast<std::uint64_t>(std::clamp(end.status, 0, 255));
  return event;
}

netns::Event probe_event(std::string leak) {
  netns::Event event;
  event.kind = netns::Event::Kind::probe;
  event.ok = leak.empty();
  event.text = std::move(leak);
  return event;
}

}  // namespace sluice::launcher
