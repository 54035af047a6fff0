#include "proxy/daemon/event_line.h"

#include "base/text.h"

namespace sluice::proxy {
namespace {

// Not one of the denials of which a flood is sampled.
metrics::AuditLine line_of(const std::string& agent, std::string_view event) {
  metrics::AuditLine line;
  line.agent = agent;
  line.via = metrics::Via::event;
  line.verdict = Verdict::allow;
  line.members = R"(,"event":")";
  line.members += event;
  line.members += '"';
  return line;
}

}  // namespace

metrics::AuditLine agent_end_line(const std::string& agent, AgentEnd end,
                                  std::optional<std::uint64_t> status) {
  metrics::AuditLine line = line_of(agent, "agent_end");
  line.members += R"(,"end":")";
  line.members += agent_end_name(end);
  line.members += R"(","exit_status":)";
  if (status) {
    text::append_decimal(line.members, *status);
  } else {
    line.members += "null";
  }
  return line;
}

metrics::AuditLine leak_line(const std::string& agent, std::string_view what) {
  metrics::AuditLine line = line_of(agent, "probe");
  line.members += R"(,"ok":false,"error":")";
  text::append_json(line.members, what);
  line.members += '"';
  return line;
}

}  // namespace sluice::proxy
