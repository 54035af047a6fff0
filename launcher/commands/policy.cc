#include "launcher/commands/policy.h"

#include <fmt/core.h>

#include "allowlists/load.h"
#include "allowlists/policy.h"
#include "base/text.h"
#include "launcher/explain_target.h"

namespace sluice::launcher {
namespace {

constexpr int usage_status = 2;

using Loading = tl::expected<allowlists::Loaded, std::vector<Error>>;

Loading load_file(const std::string& file) {
  const auto sources = allowlists::read_sources(file);
  if (!sources) return tl::unexpected(std::vector<Error>{sources.error()});
  return allowlists::load(*sources);
}

void tell(const std::vector<Error>& errors) {
  for (const Error& error : errors) fmt::print(stderr, "{}\n", to_string(error));
}

// A warning is an Error that does not stop anything; only its word differs.
void tell_warnings(const std::vector<Error>& warnings) {
  for (const Error& warning : warnings) {
    std::string line = to_string(warning);
    if (const std::size_t word = line.find("error: "); word != std::string::npos) {
      line.replace(word, 5, "warning");
    }
    fmt::print(stderr, "{}\n", line);
  }
}

struct Explanation {
  std::string agent;
  ExplainTarget asked;
  allowlists::Decision decision;
};

void append_member(std::string& json, std::string_view key, std::string_view value) {
  json += fmt::format("\"{}\":\"", key);
  text::append_json(json, value);
  json += "\",";
}

std::string to_json(const Explanation& explanation) {
  const allowlists::Target& target = explanation.asked.target;
  std::string json = "{";
  append_member(json, "verdict", verdict_name(explanation.decision.verdict));
  append_member(json, "reason", reason_name(explanation.decision.reason));
  append_member(json, "rule", explanation.decision.rule);
  append_member(json, "agent", explanation.agent);
  append_member(json, "host", target.host.to_string());
  json += fmt::format("\"port\":{},", target.port);
  append_member(json, "method", "");
  append_member(json, "path", explanation.asked.path);
  append_member(json, "would_deny", "");
  return json + "\"runner_up\":[]}";
}

std::string to_text(const Explanation& explanation) {
  return fmt::format("{}: {} may {}reach {} ({})", explanation.decision.rule, explanation.agent,
                     explanation.decision ? "" : "not ", explanation.asked.target.to_string(),
                     reason_name(explanation.decision.reason));
}

int refuse(const Error& error) {
  fmt::print(stderr, "sluice: {}\n", to_string(error));
  return usage_status;
}

}  // namespace

int check_policies(const std::vector<std::string>& files) {
  int status = 0;
  for (const std::string& file : files) {
    const Loading loaded = load_file(file);
    if (!loaded) {
      tell(loaded.error());
      status = 1;
      continue;
    }
    tell_warnings(loaded->warnings);
  }
  return status;
}

int explain_policy(const ExplainOptions& options) {
  if (!allowlists::is_agent_name(options.agent)) {
    return refuse({Errc::bad_config,
                   fmt::format("'{}' is not an agent's name", text::printable(options.agent)),
                   "sluice policy explain FILE AGENT TARGET",
                   {}});
  }
  auto asked = parse_explain_target(options.target);
  if (!asked) return refuse(asked.error());
  const Loading loaded = load_file(options.file);
  if (!loaded) {
    tell(loaded.error());
    return usage_status;
  }
  const auto decision = loaded->policy->for_agent(options.agent).decide(asked->target);
  const Explanation explanation{options.agent, std::move(*asked), decision};
  fmt::print("{}\n", options.json ? to_json(explanation) : to_text(explanation));
  return decision ? 0 : 1;
}

}  // namespace sluice::launcher
