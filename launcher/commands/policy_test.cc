// `sluice policy test`: whether a policy does what an operator expects of it.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "allowlists/tools/cases.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"
#include "launcher/explain_target.h"

namespace sluice::launcher {
namespace {

using allowlists::Decision;
using allowlists::PolicyCase;
using Json = nlohmann::ordered_json;

struct TestOptions {
  std::string file;
  std::string cases;
  bool json = false;
};

struct Difference {
  const PolicyCase& expected;
  Decision got;
};

// "api.example.com:443", and "at 10.0.0.1" where the case says what it resolves to.
std::string target_of(const PolicyCase& one) {
  const std::string target = one.target.to_string();
  return one.address ? fmt::format("{} at {}", target, one.address->to_string()) : target;
}

std::string expected_text(const PolicyCase& one) {
  std::string text(verdict_name(one.verdict));
  if (one.reason) text += fmt::format(" {}", reason_name(*one.reason));
  if (one.rule) text += fmt::format(" by {}", text::printable(*one.rule));
  return text;
}

std::string to_text(const Difference& difference) {
  const PolicyCase& one = difference.expected;
  return fmt::format("{}:{}: {} {}: expected {}, got {} {} by {}", one.where.file, one.where.line,
                     one.agent, target_of(one), expected_text(one),
                     verdict_name(difference.got.verdict), reason_name(difference.got.reason),
                     difference.got.rule);
}

Json to_json(const Difference& difference) {
  const PolicyCase& one = difference.expected;
  Json expected = {{"verdict", verdict_name(one.verdict)}};
  if (one.reason) expected["reason"] = reason_name(*one.reason);
  if (one.rule) expected["rule"] = *one.rule;
  return {{"file", one.where.file},
          {"line", one.where.line},
          {"column", one.where.column},
          {"agent", one.agent},
          {"host", one.target.host.to_string()},
          {"port", one.target.port},
          {"address", one.address ? one.address->to_string() : ""},
          {"expected", std::move(expected)},
          {"got",
           {{"verdict", verdict_name(difference.got.verdict)},
            {"reason", reason_name(difference.got.reason)},
            {"rule", difference.got.rule}}}};
}

void print_json(std::size_t cases, const std::vector<Difference>& differences) {
  Json json = {{"cases", cases}, {"differences", Json::array()}};
  for (const Difference& one : differences) json["differences"].push_back(to_json(one));
  fmt::print("{}\n", json.dump(2, ' ', true, Json::error_handler_t::replace));
}

void print_text(std::size_t cases, const std::vector<Difference>& differences) {
  for (const Difference& one : differences) fmt::print("{}\n", to_text(one));
  fmt::print("{} case{}, {} as expected, {} not\n", cases, cases == 1 ? "" : "s",
             cases - differences.size(), differences.size());
}

Result<allowlists::Target> read_target(std::string_view text) {
  return parse_explain_target(text).map(
      [](ExplainTarget&& asked) { return std::move(asked.target); });
}

// Nothing when the files cannot be read or have errors, which are told.
std::optional<std::vector<PolicyCase>> read_cases_or_tell(const std::string& path) {
  const auto sources = read_files(path);
  if (!sources) {
    tell({sources.error()});
    return std::nullopt;
  }
  std::vector<PolicyCase> cases;
  bool good = true;
  for (const allowlists::Source& source : *sources) {
    auto read = allowlists::read_cases(source, read_target);
    if (!read) {
      tell(read.error());
      good = false;
      continue;
    }
    for (PolicyCase& one : *read) cases.push_back(std::move(one));
  }
  return good ? std::optional(std::move(cases)) : std::nullopt;
}

// Answers 0 when all is as expected, 1 when something is not, 2 for what cannot be read.
int test(const TestOptions& options) {
  if (const auto twice = stdin_twice({options.file, options.cases})) return refuse(*twice);
  const auto read = read_policy_or_tell(options.file);
  const auto cases = read_cases_or_tell(options.cases);
  if (!read || !cases) return usage_status;
  std::vector<Difference> differences;
  for (const PolicyCase& one : *cases) {
    const Decision decision = allowlists::decide(*read->policy, one);
    if (!is_as_expected(one, decision)) differences.push_back({one, decision});
  }
  options.json ? print_json(cases->size(), differences) : print_text(cases->size(), differences);
  return differences.empty() ? 0 : 1;
}

constexpr const char* help =
    "A file of cases:\n"
    "  cases:\n"
    "    - agent: coder-1\n"
    "      allow: [api.example.com, \"git.example.com:22\"]   # as for 'explain'; port 443 if "
    "none\n"
    "      deny: [gist.example.com]\n"
    "      report: [new.example.com]     # passes only because the entry is in report mode\n"
    "    - agent: coder-1\n"
    "      target: db.example.com:5432   # one target, of which more is expected\n"
    "      verdict: allow                # allow, deny or report\n"
    "      reason: listed                # may be left out, as the two below\n"
    "      rule: policy.yaml:7           # the rule that decides\n"
    "      address: 10.0.0.1             # what the name resolves to\n"
    "Example:\n"
    "  sluice policy test policy.yaml cases.yaml\n"
    "Exit status: 0 as expected; 1 something differs; 2 bad usage, policy or cases.";

}  // namespace

void add_policy_test(CLI::App& policy, Action& chosen) {
  CLI::App* command = policy.add_subcommand("test", "Whether a policy does what is expected of it");
  const auto options = std::make_shared<TestOptions>();
  command->add_option("FILE", options->file, "Policy file or directory; - is standard input")
      ->required();
  command->add_option("CASES", options->cases, "What is expected; - is standard input")->required();
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(help);
  command->callback([&chosen, options] { chosen = [options] { return test(*options); }; });
}

}  // namespace sluice::launcher
