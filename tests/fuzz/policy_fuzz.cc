// Whatever stands in a policy file: errors that help, or a policy that keeps its promises.
#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"
#include "base/text.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using allowlists::AgentEntry;
using allowlists::AgentRules;
using allowlists::Decision;
using allowlists::Effect;
using allowlists::Host;
using allowlists::Mode;
using allowlists::OnThisMachine;
using allowlists::Policy;
using allowlists::Rule;
using allowlists::Scope;
using allowlists::Source;
using allowlists::Target;
using allowlists::TlsMode;

constexpr std::size_t max_targets = 24;
constexpr std::size_t max_restated_rules = 2000;  // groups and aliases multiply them

// A form feed, which no policy may have, stands between files.
std::vector<Source> sources_of(std::string_view input) {
  std::vector<Source> sources;
  for (;;) {
    const std::size_t end = std::min(input.find('\f'), input.size());
    sources.push_back({fmt::format("{}.yaml", sources.size()), std::string(input.substr(0, end))});
    if (end == input.size() || sources.size() == 4) return sources;
    input.remove_prefix(end + 1);
  }
}

std::size_t lines_of(const std::vector<Source>& sources, std::string_view name) {
  for (const Source& source : sources) {
    if (source.name != name) continue;
    return 1 + static_cast<std::size_t>(std::count(source.text.begin(), source.text.end(), '\n'));
  }
  return 0;
}

void check_problem(const Error& error, const std::vector<Source>& sources) {
  const std::string shown = to_string(error);
  require(error.code == Errc::bad_config, "a problem is the file's", shown);
  require(!error.what.empty() && !error.hint.empty(), "a problem has a sentence and a hint", shown);
  require(std::none_of(shown.begin(), shown.end(),
                       [](char c) { return c >= 0 && c < 0x20 && c != '\n'; }) &&
              text::valid_utf8_prefix(shown) == shown.size(),
          "a problem is safe to show", shown);
  require(shown.size() < 8192, "a problem is short", shown);
  require(error.where.has_value(), "a problem has its place", shown);
  require(error.where->line >= 1 && error.where->column >= 1, "places count from 1", shown);
  require(static_cast<std::size_t>(error.where->line) <= lines_of(sources, error.where->file),
          "a place is inside of its file", shown);
}

// As the file names it: "0.yaml:12", "preset:github:4".
bool is_rule_place(std::string_view rule) {
  const std::size_t colon = rule.rfind(':');
  return colon != rule.npos && colon > 0 && colon + 1 < rule.size() &&
         rule.find_first_not_of("0123456789", colon + 1) == rule.npos;
}

void check_decision(const Decision& decision, const std::string& about) {
  const bool passes = decision.reason == Reason::listed || decision.reason == Reason::listed_cidr;
  switch (decision.verdict) {
    case Verdict::allow:
      require(passes && is_rule_place(decision.rule), "what is allowed names its rule", about);
      break;
    case Verdict::report:
      require(decision.reason == Reason::reported && decision.would_deny.has_value(),
              "what is reported names what enforcement would say", about);
      require(*decision.would_deny == Reason::not_listed ||
                  *decision.would_deny == Reason::port_not_allowed,
              "report mode lets only these pass", about);
      break;
    case Verdict::deny:
      require(!passes && decision.reason != Reason::reported, "a denial says why", about);
      require(decision.rule == "default" || is_rule_place(decision.rule),
              "a denial names its rule or none", about);
      break;
  }
}

std::string told(const Decision& decision) {
  return fmt::format("{} {} {} {} {}", verdict_name(decision.verdict), reason_name(decision.reason),
                     static_cast<int>(decision.tls), decision.refuse_ech,
                     decision.would_deny ? reason_name(*decision.would_deny) : "-");
}

// Words of the input that are hosts, and names around them.
std::vector<Target> targets_of(std::string_view input) {
  std::vector<Target> targets;
  const auto add = [&](std::string_view authority) {
    if (targets.size() == max_targets) return;
    for (const std::uint16_t port : {std::uint16_t{443}, std::uint16_t{22}}) {
      if (const auto target = Target::parse(authority, port)) targets.push_back(*target);
    }
  };
  for (const std::string_view fixed : {"a.example.com", "127.0.0.1", "10.1.2.3", "169.254.169.254",
                                       "[2001:db8::1]", "host.sluice.internal"}) {
    add(fixed);
  }
  constexpr std::string_view between = " \t\r\n\"'[]{},*/";
  while (!input.empty()) {
    const std::size_t end = std::min(input.find_first_of(between), input.size());
    std::string_view word = input.substr(0, end);
    if (word.starts_with('.')) word.remove_prefix(1);
    if (word.find('.') != word.npos) {
      add(word);
      add(std::string("sub.") + std::string(word));
    }
    input.remove_prefix(std::min(end + 1, input.size()));
  }
  return targets;
}

void check_rules(const AgentRules& rules, const Target& target) {
  const std::string about = target.to_string();
  const Decision decision = rules.decide(target);
  check_decision(decision, about);
  const Decision again = rules.decide(target);
  require(told(again) == told(decision) && again.rule == decision.rule,
          "the same question has the same answer", about);
  require(decision.verdict != Verdict::report || rules.mode() == Mode::report,
          "only report mode reports", about);
  if (target.host.is_name()) {
    const Decision dns = rules.decide_any_port(target.host);
    check_decision(dns, about);
    require(dns || !decision, "a name that is allowed is answered", about);
    return;
  }
  const Decision judged = rules.judge_address(target, target.host.address(), OnThisMachine::no);
  require(judged || !decision, "an address that is allowed is dialled", about);
  require(target.host.address() != *IpAddress::parse("169.254.169.254") || !judged,
          "cloud metadata is never dialled", about);
}

void check_policy(const Policy& policy, const std::vector<Target>& targets) {
  for (const std::string& agent : policy.exact_agents()) {
    require(allowlists::is_agent_name(agent) && policy.knows(agent), "an entry's name is known",
            agent);
  }
  std::vector<std::string> agents = {"coder-1", "zz"};
  for (std::size_t i = 0; i < std::min<std::size_t>(policy.exact_agents().size(), 3); ++i) {
    agents.push_back(policy.exact_agents()[i]);
  }
  for (const std::string& agent : agents) {
    const AgentRules& rules = policy.for_agent(agent);
    for (const Target& target : targets) {
      check_rules(rules, target);
      require(policy.knows(agent) || !rules.decide(target), "who has no entry is denied", agent);
    }
  }
}

std::string restated(const Rule& rule) {
  std::string text = "      - {";
  if (rule.scope == Scope::any) {
    text += "any: true";
  } else {
    const bool regex = rule.scope == Scope::regex;
    text += regex ? "host_regex: \"" : rule.scope == Scope::cidr ? "cidr: \"" : "host: \"";
    text::append_json(text, regex ? rule.name : allowlists::subject_of(rule));
    text += '"';
    if (rule.scope == Scope::below || rule.scope == Scope::tree) text += ", public_suffix: true";
  }
  if (!rule.ports.empty()) text += fmt::format(", ports: [{}]", fmt::join(rule.ports, ", "));
  if (rule.tls) {
    constexpr std::array<std::string_view, 3> modes = {"require", "match", "off"};
    text += fmt::format(", tls: \"{}\"", modes[static_cast<std::size_t>(*rule.tls)]);
  }
  if (rule.refuse_ech) text += ", ech: deny";
  return text + "}\n";
}

std::string restated(const std::vector<Rule>& rules, Effect effect, std::string_view key) {
  std::string text;
  for (const Rule& rule : rules) {
    if (rule.effect == effect) text += restated(rule);
  }
  return fmt::format("{}:{}", key, text.empty() ? " []\n" : "\n" + text);
}

// The policy with every list written out; nothing where that would be long.
std::optional<std::string> restated(const allowlists::PolicyText& policy) {
  std::size_t count = policy.never.size();
  std::string text = "version: 1\n" + restated(policy.never, Effect::deny, "never") + "agents:";
  for (const AgentEntry& agent : policy.agents) {
    count += agent.rules.size();
    if (count > max_restated_rules) return {};
    text += fmt::format("\n  \"{}\":\n    mode: {}\n    ", agent.pattern,
                        agent.mode == Mode::report ? "report" : "enforce");
    text += restated(agent.rules, Effect::allow, "allow");
    text += restated(agent.rules, Effect::deny, "    deny");
  }
  return text + (policy.agents.empty() ? " {}\n" : "\n");
}

void check_restated(const Policy& policy, const std::vector<Source>& sources,
                    const std::vector<Target>& targets) {
  const auto read = allowlists::read_text(sources);
  require(read.has_value(), "what loads is read");
  const auto text = restated(read->text);
  // A file may say U+FFFF and the like only as an escape, which this does not write.
  if (!text || text->find("\xef\xbf") != text->npos) return;
  const std::vector<Source> again = {{"0.yaml", *text}};
  const auto loaded = allowlists::load(again);
  require(loaded.has_value(), "a policy written out is a policy",
          loaded ? *text : to_string(loaded.error().front()) + '\n' + *text);
  require(loaded->policy->exact_agents() == policy.exact_agents(),
          "a policy written out has the same agents", *text);
  for (const std::string_view agent : {"coder-1", "zz"}) {
    for (const Target& target : targets) {
      const std::string before = told(policy.for_agent(agent).decide(target));
      const std::string after = told(loaded->policy->for_agent(agent).decide(target));
      require(before == after, "a policy written out decides the same",
              target.to_string() + ": " + before + ", " + after + '\n' + *text);
    }
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto sources = fuzz::sources_of(input);
  const auto loaded = allowlists::load(sources);
  const auto& problems = loaded ? loaded->warnings : loaded.error();
  fuzz::require(loaded || !problems.empty(), "what does not load says why");
  for (const Error& problem : problems) fuzz::check_problem(problem, sources);
  if (!loaded) return 0;
  const auto targets = fuzz::targets_of(input);
  fuzz::check_policy(*loaded->policy, targets);
  fuzz::check_restated(*loaded->policy, sources, targets);
  return 0;
}
