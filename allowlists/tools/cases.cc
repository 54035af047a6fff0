#include "allowlists/tools/cases.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "allowlists/reporter.h"
#include "allowlists/yaml_tree.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

using Fields = std::vector<std::optional<Field>>;

enum Key : std::size_t { agent, allow, deny, report, target, verdict, reason, rule, address };
constexpr std::array<std::string_view, 9> keys = {"agent",   "allow",  "deny", "report", "target",
                                                  "verdict", "reason", "rule", "address"};

constexpr std::array lists = {std::pair(allow, Verdict::allow), std::pair(deny, Verdict::deny),
                              std::pair(report, Verdict::report)};
constexpr std::array verdicts = {Verdict::allow, Verdict::deny, Verdict::report};

constexpr std::string_view target_hint =
    "write a host (port 443), HOST:PORT in quotes, http://HOST/PATH or https://HOST/PATH";

// Reads one item of `cases:`.
class CaseReader {
 public:
  CaseReader(const YamlValue& value, Reporter& reporter, const ReadTarget& read_target)
      : value_(value),
        report_(reporter),
        read_target_(read_target),
        fields_(reporter.fields(value, keys)) {}

  void read(std::vector<PolicyCase>& cases) {
    const auto name = read_agent();
    const bool listed = std::any_of(lists.begin(), lists.end(),
                                    [&](const auto& list) { return fields_[list.first]; });
    if (fields_[target]) {
      if (listed) {
        fail(fields_[target]->key, "a case with 'target' and with a list of targets",
             "make a case of each of them");
      }
      read_one(name, cases);
    } else {
      if (!listed) {
        fail(value_, "a case without a target",
             "add allow: [api.example.com], or target: and verdict:");
      }
      for (const Key key : {verdict, reason, rule, address}) {
        if (!fields_[key]) continue;
        fail(fields_[key]->key, fmt::format("'{}' has a meaning only beside 'target'", keys[key]),
             "write target: HOST:PORT instead of a list");
      }
    }
    for (const auto& [key, expected] : lists) {
      if (fields_[key]) read_list(*fields_[key], expected, name, cases);
    }
  }

 private:
  void fail(const YamlValue& at, std::string what, std::string hint) {
    report_.error(at, std::move(what), std::move(hint));
  }

  std::optional<std::string_view> text_of(Key key, std::string_view hint) {
    if (!fields_[key]) return {};
    const Field& field = *fields_[key];
    if (field.value.kind() == YamlKind::scalar) return field.value.text();
    fail(field.key, fmt::format("'{}' is {}, not a text", keys[key], shown(field.value)),
         std::string(hint));
    return {};
  }

  std::string read_agent() {
    constexpr std::string_view hint = "write agent: coder-1";
    if (!fields_[agent]) fail(value_, "a case without 'agent'", std::string(hint));
    const auto name = text_of(agent, hint);
    if (name && !is_agent_name(*name)) {
      fail(fields_[agent]->key, fmt::format("{} is not an agent's name", quoted(*name)),
           "name one agent, without '*'");
    }
    return std::string(name.value_or(""));
  }

  std::optional<Target> read_target(const YamlValue& at) {
    if (at.kind() != YamlKind::scalar) {
      fail(at, fmt::format("a target is {}, not a text", shown(at)), std::string(target_hint));
      return {};
    }
    auto read = read_target_(at.text());
    if (read) return std::move(*read);
    fail(at, std::move(read.error().what), std::string(target_hint));
    return {};
  }

  void read_list(const Field& list, Verdict expected, const std::string& name,
                 std::vector<PolicyCase>& cases) {
    if (!report_.expect(YamlKind::sequence, list, "write a list: [api.example.com]")) return;
    if (list.value.size() == 0) {
      fail(list.key, fmt::format("{} is empty", shown(list.key)), "list targets, or remove it");
    }
    for (std::size_t i = 0; i < list.value.size(); ++i) {
      const YamlValue item = list.value[i];
      if (auto read = read_target(item)) {
        cases.push_back({.where = report_.mark(item),
                         .agent = name,
                         .target = std::move(*read),
                         .verdict = expected});
      }
    }
  }

  void read_one(const std::string& name, std::vector<PolicyCase>& cases) {
    auto where = read_target(fields_[target]->value);
    const auto expected = read_verdict();
    const auto why = read_reason();
    const auto by = text_of(rule, "write rule: policy.yaml:7");
    const auto at = read_address(where);
    if (!where) return;
    cases.push_back({.where = report_.mark(value_),
                     .agent = name,
                     .target = std::move(*where),
                     .address = at,
                     .verdict = expected,
                     .reason = why,
                     .rule = by ? std::optional(std::string(*by)) : std::nullopt});
  }

  Verdict read_verdict() {
    constexpr std::string_view hint = "write verdict: allow, verdict: deny or verdict: report";
    if (!fields_[verdict]) fail(value_, "a target without 'verdict'", std::string(hint));
    const auto word = text_of(verdict, hint);
    if (!word) return Verdict::deny;
    const auto found = std::find_if(verdicts.begin(), verdicts.end(),
                                    [&](Verdict one) { return verdict_name(one) == *word; });
    if (found != verdicts.end()) return *found;
    fail(fields_[verdict]->key, fmt::format("unknown verdict {}", quoted(*word)),
         std::string(hint));
    return Verdict::deny;
  }

  std::optional<Reason> read_reason() {
    const auto word = text_of(reason, "write reason: listed");
    if (!word) return {};
    std::vector<std::string_view> known;
    for (std::size_t i = 0; i < reason_count; ++i) {
      known.push_back(reason_name(static_cast<Reason>(i)));
      if (known.back() == *word) return static_cast<Reason>(i);
    }
    const std::string near = text::nearest(*word, known);
    fail(fields_[reason]->key, fmt::format("unknown reason {}", quoted(*word)),
         near.empty() ? "ask 'sluice policy explain' for it"
                      : fmt::format("did you mean '{}'?", near));
    return {};
  }

  std::optional<IpAddress> read_address(const std::optional<Target>& of) {
    constexpr std::string_view hint = "write address: 10.0.0.1";
    const auto word = text_of(address, hint);
    if (!word) return {};
    const auto parsed = IpAddress::parse(*word);
    if (!parsed) {
      fail(fields_[address]->key, fmt::format("{} is no address", quoted(*word)),
           std::string(hint));
    }
    if (of && !of->host.is_name()) {
      fail(fields_[address]->key, "'address' has a meaning only where the target is a name",
           "remove it");
    }
    return parsed;
  }

  const YamlValue value_;
  Reporter& report_;
  const ReadTarget& read_target_;
  Fields fields_;
};

constexpr std::string_view first_step = "begin with 'cases:' and a list of cases below it";

// Whether nothing but comments is in it, of which the parser would speak as of a policy.
bool is_blank(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    const std::size_t first = line.find_first_not_of(" \t\r");
    if (first != std::string_view::npos && line[first] != '#') return false;
    at = end + 1;
  }
  return true;
}

void read_root(const YamlValue& root, Reporter& reporter, const ReadTarget& read_target,
               std::vector<PolicyCase>& cases) {
  if (root.kind() != YamlKind::mapping) {
    reporter.error(root, fmt::format("the file is {}, not a mapping", shown(root)),
                   std::string(first_step));
    return;
  }
  constexpr std::array<std::string_view, 1> root_keys = {"cases"};
  const auto list = reporter.fields(root, root_keys).front();
  if (!list) {
    reporter.error(root, "there are no cases", std::string(first_step));
    return;
  }
  if (!reporter.expect(YamlKind::sequence, *list, "write - agent: coder-1")) return;
  if (list->value.size() == 0) {
    reporter.error(list->key, "'cases' is empty", "write - agent: coder-1");
  }
  for (std::size_t i = 0; i < list->value.size(); ++i) {
    const YamlValue item = list->value[i];
    if (item.kind() == YamlKind::mapping) {
      CaseReader(item, reporter, read_target).read(cases);
    } else {
      reporter.error(item, fmt::format("a case is {}, not a mapping", shown(item)),
                     "write - agent: coder-1");
    }
  }
}

}  // namespace

tl::expected<std::vector<PolicyCase>, std::vector<Error>> read_cases(
    const Source& source, const ReadTarget& read_target) {
  if (is_blank(source.text)) {
    return tl::unexpected(std::vector{Error{Errc::bad_config, "there are no cases",
                                            std::string(first_step), Mark{source.name, 1, 1}}});
  }
  const auto tree = YamlTree::parse(source);
  if (!tree) return tl::unexpected(std::vector{tree.error()});
  Problems errors;
  Problems warnings;
  Reporter reporter(source, 0, errors, warnings);
  std::vector<PolicyCase> cases;
  read_root(YamlValue(*tree), reporter, read_target, cases);
  if (!errors.empty()) return tl::unexpected(errors.take());
  return cases;
}

Decision decide(const Policy& policy, const PolicyCase& one) {
  const AgentRules& rules = policy.for_agent(one.agent);
  const Decision decision = rules.decide(one.target);
  if (!decision || !one.address) return decision;
  const Decision judged = rules.judge_address(one.target, *one.address, OnThisMachine::no);
  return judged ? decision : judged;
}

bool is_as_expected(const PolicyCase& one, const Decision& decision) {
  return decision.verdict == one.verdict && (!one.reason || *one.reason == decision.reason) &&
         (!one.rule || *one.rule == decision.rule);
}

}  // namespace sluice::allowlists
