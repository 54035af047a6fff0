// `sluice policy explain`: whether an agent may reach a target, and why.
#include <fmt/core.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "allowlists/tools/mentions.h"
#include "allowlists/tools/next_step.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"
#include "launcher/explain_target.h"

namespace sluice::launcher {
namespace {

using allowlists::Mention;
using Json = nlohmann::ordered_json;

// Of each kind of line; --json has all of them.
constexpr std::size_t most_lines = 20;

struct ExplainOptions {
  std::string file;
  std::string agent;
  std::string target;
  bool json = false;
};

struct Explanation {
  const allowlists::PolicyText& text;
  std::string agent;
  ExplainTarget asked;
  allowlists::Decision decision;
  allowlists::Mentions mentions;
  std::string next_step;

  const Mention* decisive() const {
    return mentions.decides ? &mentions.rules[*mentions.decides] : nullptr;
  }
};

std::string_view effect_name(const Mention& mention) {
  if (mention.never) return "never";
  return mention.rule->effect == allowlists::Effect::allow ? "allow" : "deny";
}

Json to_json(const Explanation& explanation, const Mention& mention) {
  return {{"rule", explanation.text.places[mention.rule->id]},
          {"effect", effect_name(mention)},
          {"subject", subject_of(*mention.rule)},
          {"ports", ports_of(*mention.rule)},
          {"why", mention.rule->why},
          {"match", mention.has_port}};
}

std::string to_json(const Explanation& explanation) {
  const allowlists::Target& target = explanation.asked.target;
  const auto& would_deny = explanation.decision.would_deny;
  Json runner_up = Json::array();
  for (const Mention& mention : explanation.mentions.rules) {
    if (&mention != explanation.decisive()) runner_up.push_back(to_json(explanation, mention));
  }
  const Json json = {{"verdict", verdict_name(explanation.decision.verdict)},
                     {"reason", reason_name(explanation.decision.reason)},
                     {"rule", explanation.decision.rule},
                     {"agent", explanation.agent},
                     {"host", target.host.to_string()},
                     {"port", target.port},
                     {"method", ""},
                     {"path", explanation.asked.path},
                     {"would_deny", would_deny ? reason_name(*would_deny) : ""},
                     {"runner_up", std::move(runner_up)}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

// "policy.yaml:9 allow *.example.org ports 443"
std::string rule_text(const Explanation& explanation, const Mention& mention) {
  const auto ports = ports_of(*mention.rule);
  return fmt::format(
      "{} {} {} {}", explanation.text.places[mention.rule->id], effect_name(mention),
      subject_of(*mention.rule),
      ports.empty() ? "every port" : fmt::format("ports {}", fmt::join(ports, ", ")));
}

// How a rule stands to the one that decides.
std::string relation(const Explanation& explanation, const Mention& mention) {
  if (!mention.has_port) return fmt::format("not port {}", explanation.asked.target.port);
  const Mention* decisive = explanation.decisive();
  if (decisive == nullptr) return "does not decide";
  if (mention.level > decisive->level)
    return decisive->never ? "'never' is first" : "less specific";
  const bool outdone = mention.rule->effect != decisive->rule->effect;
  return outdone ? "as specific, but deny wins" : "as specific";
}

class Lines {
 public:
  // The first of a kind, up to most_lines; the rest is counted.
  void add(std::string_view label, std::string_view line) {
    if (label != label_) finish();
    label_ = label;
    if (++count_ <= most_lines) text_ += fmt::format("  {}: {}\n", label, line);
  }
  std::string take() {
    finish();
    return std::move(text_);
  }

 private:
  void finish() {
    if (count_ > most_lines)
      text_ += fmt::format("  {}: and {} more\n", label_, count_ - most_lines);
    count_ = 0;
  }

  std::string text_;
  std::string_view label_;
  std::size_t count_ = 0;
};

std::string tls_text(const Explanation& explanation) {
  const std::string host = explanation.asked.target.host.is_name()
                               ? fmt::format("'{}'", explanation.asked.target.host.name())
                               : "the allowed host";
  const std::string ech =
      explanation.decision.refuse_ech ? "; Encrypted ClientHello is refused" : "";
  switch (explanation.decision.tls) {
    case allowlists::TlsMode::require:
      return fmt::format("require: the bytes must be TLS and name {} (SNI){}", host, ech);
    case allowlists::TlsMode::match:
      return fmt::format("match: if the bytes are TLS, they must name {} (SNI){}", host, ech);
    case allowlists::TlsMode::off:
      return "off: the bytes are not looked at";
  }
  return {};
}

// Of a name, the cidr rules that speak of the port: the address guard asks them.
void add_address_rules(const Explanation& explanation, Lines& lines) {
  lines.add("address",
            "whatever the name resolves to is judged when it is dialled: metadata and link-local "
            "addresses are refused, private ones need a cidr rule");
  const std::uint16_t port = explanation.asked.target.port;
  const auto add = [&](const allowlists::Rule& rule, bool never) {
    const auto ports = ports_of(rule);
    const bool has_port = ports.empty() || std::binary_search(ports.begin(), ports.end(), port);
    if (rule.scope != allowlists::Scope::cidr || !has_port) return;
    lines.add("address rule", rule_text(explanation, {&rule, never, true, 0}));
  };
  for (const allowlists::Rule& rule : explanation.text.never) add(rule, true);
  for (const allowlists::Rule& rule : explanation.mentions.entry->rules) add(rule, false);
}

void add_entry(const Explanation& explanation, Lines& lines) {
  const allowlists::AgentEntry* entry = explanation.mentions.entry;
  lines.add("entry",
            entry == nullptr
                ? fmt::format("none is for '{}'", explanation.agent)
                : fmt::format("'{}' ({}), mode {}", entry->pattern, entry->place,
                              entry->mode == allowlists::Mode::report ? "report" : "enforce"));
}

std::string to_text(const Explanation& explanation) {
  const allowlists::Decision& decision = explanation.decision;
  const allowlists::Host& host = explanation.asked.target.host;
  Lines lines;
  const Mention* decisive = explanation.decisive();
  if (decisive != nullptr && !decisive->rule->why.empty()) {
    lines.add("why", text::printable(decisive->rule->why));
  }
  add_entry(explanation, lines);
  if (decision.would_deny) {
    lines.add("enforce", fmt::format("would deny it ({})", reason_name(*decision.would_deny)));
  }
  if (decision) lines.add("tls", tls_text(explanation));
  for (const Mention& mention : explanation.mentions.rules) {
    if (&mention == decisive) continue;
    const std::string& why = mention.rule->why;
    lines.add(
        "also speaks of it",
        fmt::format("{} ({}){}", rule_text(explanation, mention), relation(explanation, mention),
                    why.empty() ? "" : fmt::format(": {}", text::printable(why))));
  }
  if (decision && host.is_name() && host.name() != allowlists::own_loopback_name) {
    add_address_rules(explanation, lines);
  }
  if (!explanation.next_step.empty()) lines.add("to open it", explanation.next_step);
  return fmt::format("{}: {} may {}reach {} ({})\n{}", decision.rule, explanation.agent,
                     decision ? "" : "not ", explanation.asked.target.to_string(),
                     reason_name(decision.reason), lines.take());
}

// The verdict on stdout. Answers 0 for allow and report, 1 for deny, 2 for a bad file, agent or
// target.
int explain(const ExplainOptions& options) {
  if (!allowlists::is_agent_name(options.agent)) {
    return refuse({Errc::bad_config,
                   fmt::format("'{}' is not an agent's name", text::printable(options.agent)),
                   "sluice policy explain FILE AGENT TARGET",
                   {}});
  }
  auto asked = parse_explain_target(options.target);
  if (!asked) return refuse(asked.error());
  const auto read = read_policy_or_tell(options.file);
  if (!read) return usage_status;
  const auto decision = read->policy->for_agent(options.agent).decide(asked->target);
  const auto mentions = mentions_of(read->text, options.agent, asked->target);
  const std::string next = allowlists::next_step(
      {read->text, *read->policy, options.agent, asked->target, decision, mentions});
  const Explanation explanation{read->text, options.agent, std::move(*asked),
                                decision,   mentions,      next};
  fmt::print("{}", options.json ? to_json(explanation) + '\n' : to_text(explanation));
  return decision ? 0 : 1;
}

}  // namespace

void add_policy_explain(CLI::App& policy, Action& chosen) {
  CLI::App* command =
      policy.add_subcommand("explain", "Whether an agent may reach a target, and why");
  const auto options = std::make_shared<ExplainOptions>();
  command->add_option("FILE", options->file, "Policy file or directory; - is standard input")
      ->required();
  command->add_option("AGENT", options->agent, "The agent's name")->required();
  command->add_option("TARGET", options->target, "HOST (port 443), HOST:PORT or a URL")->required();
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Examples:\n"
      "  sluice policy explain policy.yaml coder-1 api.example.com\n"
      "  sluice policy explain policy.yaml coder-1 git.example.com:22 --json\n"
      "Exit status: 0 allowed, or reported; 1 denied; 2 bad usage or policy.");
  command->callback([&chosen, options] { chosen = [options] { return explain(*options); }; });
}

}  // namespace sluice::launcher
