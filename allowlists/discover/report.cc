#include "allowlists/discover/report.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "base/text.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view indent = "      ";
constexpr std::size_t shown_places = 4;

using Opening = std::tuple<std::string, std::uint16_t, bool>;

Opening opening_of(const Finding& finding) {
  return {finding.remote.host.to_string(), finding.remote.port, finding.remote.is_tls_off};
}

template <class Value>
void add_once(std::vector<Value>& values, const Value& value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

std::string cidr_of(const Host& host) {
  return fmt::format("{}/{}", host.address().to_string(), host.address().is_v4() ? 32 : 128);
}

// "host: a.example.com", "cidr: 192.0.2.1/32"
std::string subject_of(const Host& host) {
  if (!host.is_name()) return "cidr: " + cidr_of(host);
  const std::string& name = host.name();
  // YAML has other plans for a plain 'no', '1e3' or '_'.
  const bool is_plain = name.find('.') != std::string::npos && name[0] >= 'a' && name[0] <= 'z';
  return is_plain ? "host: " + name : "host: \"" + name + "\"";
}

std::string places_of(const ProposedRule& rule) {
  std::string text;
  for (std::size_t i = 0; i < std::min(rule.places.size(), shown_places); ++i) {
    text += (i == 0 ? "" : ", ") + rule.places[i].to_string();
  }
  if (rule.places.size() > shown_places) {
    text += fmt::format(" and {} more", rule.places.size() - shown_places);
  }
  return text;
}

std::string rule_text(const ProposedRule& rule) {
  const bool is_live = rule.trust == Trust::user;
  const std::string_view mark = is_live ? "" : "#";
  std::string text =
      fmt::format("{}# from {}{}\n", indent, places_of(rule),
                  is_live ? "" : ", which an agent can write: read it before you remove the #");
  text += fmt::format("{}{}- {}\n", indent, mark, subject_of(rule.host));
  text += fmt::format("{}{}  ports: [{}]\n", indent, mark, fmt::join(rule.ports, ", "));
  if (rule.is_tls_off) text += fmt::format("{}{}  tls: \"off\"\n", indent, mark);
  text += fmt::format("{}{}  why: {}\n", indent, mark, fmt::join(rule.tools, ", "));
  return text;
}

std::string_view trust_name(Trust trust) { return trust == Trust::user ? "user" : "project"; }

nlohmann::ordered_json to_object(const ProposedRule& rule) {
  nlohmann::ordered_json object;
  if (rule.host.is_name()) {
    object["host"] = rule.host.name();
  } else {
    object["cidr"] = cidr_of(rule.host);
  }
  object["ports"] = rule.ports;
  object["tls"] = rule.is_tls_off ? "off" : "";
  object["why"] = fmt::format("{}", fmt::join(rule.tools, ", "));
  object["trust"] = trust_name(rule.trust);
  object["from"] = nlohmann::ordered_json::array();
  for (const Place& place : rule.places) {
    object["from"].push_back(
        {{"file", place.file}, {"line", place.line}, {"trust", trust_name(place.trust)}});
  }
  return object;
}

std::string left_out_text(std::size_t count, std::string_view what) {
  return fmt::format("{} more {} were left out", count, what);
}

}  // namespace

std::vector<ProposedRule> propose(const Findings& findings) {
  std::set<Opening> trusted;
  for (const Finding& finding : findings.found()) {
    if (finding.place.trust == Trust::user) trusted.insert(opening_of(finding));
  }
  std::vector<ProposedRule> rules;
  for (const Finding& finding : findings.found()) {
    const Trust trust = trusted.contains(opening_of(finding)) ? Trust::user : Trust::project;
    const Remote& remote = finding.remote;
    auto rule = std::find_if(rules.begin(), rules.end(), [&](const ProposedRule& known) {
      return known.host == remote.host && known.is_tls_off == remote.is_tls_off &&
             known.trust == trust;
    });
    if (rule == rules.end()) {
      rule = rules.insert(rules.end(), {remote.host, remote.is_tls_off, trust, {}, {}, {}});
    }
    add_once(rule->ports, remote.port);
    std::sort(rule->ports.begin(), rule->ports.end());
    add_once(rule->tools, finding.tool);
    rule->places.push_back(finding.place);
  }
  std::stable_sort(rules.begin(), rules.end(), [](const ProposedRule& a, const ProposedRule& b) {
    return a.trust == Trust::user && b.trust != Trust::user;
  });
  return rules;
}

std::string to_yaml(const Findings& findings) {
  const auto rules = propose(findings);
  if (rules.empty() && findings.notes().empty()) return {};
  std::string text = fmt::format(
      "{}# What this project's tools are configured for; paste it under an agent's 'allow:'\n",
      indent);
  for (const ProposedRule& rule : rules) text += rule_text(rule);
  for (const std::string& note : findings.notes()) text += fmt::format("{}# {}\n", indent, note);
  return text;
}

std::string to_json(const Findings& findings) {
  nlohmann::ordered_json object;
  object["rules"] = nlohmann::ordered_json::array();
  for (const ProposedRule& rule : propose(findings)) object["rules"].push_back(to_object(rule));
  object["notes"] = findings.notes();
  object["warnings"] = nlohmann::ordered_json::array();
  for (const Warning& warning : findings.warnings()) {
    object["warnings"].push_back({{"file", warning.place.file},
                                  {"line", warning.place.line},
                                  {"what", warning.what},
                                  {"hint", warning.hint}});
  }
  object["left_out"] = findings.left_out(Trust::user) + findings.left_out(Trust::project) +
                       findings.warnings_left_out();
  // ASCII only and U+FFFD for what is no UTF-8: names of files are an agent's.
  return object.dump(2, ' ', true, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::vector<Error> complaints(const Findings& findings) {
  std::vector<Error> errors;
  for (const Warning& warning : findings.warnings()) {
    errors.push_back({Errc::bad_config, warning.what, warning.hint,
                      Mark{text::printable(warning.place.file), warning.place.line, 1}});
  }
  const auto tell = [&](std::size_t count, std::string_view what) {
    if (count > 0) errors.push_back({Errc::bad_config, left_out_text(count, what), {}, {}});
  };
  tell(findings.warnings_left_out(), "warnings");
  tell(findings.left_out(Trust::user), "findings in files of the user and the system");
  tell(findings.left_out(Trust::project), "findings in files of the project");
  return errors;
}

}  // namespace sluice::allowlists::discover
