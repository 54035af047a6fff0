#include "allowlists/amend.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "allowlists/host.h"
#include "allowlists/load.h"
#include "allowlists/reporter.h"
#include "base/ip_address.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::string_view source_name = "flag";
constexpr const char* shape = "write HOST, HOST:PORT, 10.0.0.0/8:PORT or [2001:db8::1]:PORT";

// An --allow taken apart, nothing of it judged but the port.
struct Opening {
  std::string subject;
  std::optional<std::uint16_t> port;
  bool is_range = false;
};

Error refusal(std::string_view what, std::string hint) {
  return {Errc::bad_config, fmt::format("--allow: {}", what), std::move(hint), std::nullopt};
}

Result<std::uint16_t> parse_port(std::string_view digits) {
  std::uint16_t port = 0;
  const char* const end = digits.data() + digits.size();
  const auto [rest, error] = std::from_chars(digits.data(), end, port);
  if (error != std::errc() || rest != end || digits.front() == '0') {
    return Failure(refusal(fmt::format("port {} is not a number from 1 to 65535", quoted(digits)),
                           "write it in decimal: HOST:443"));
  }
  return port;
}

// "10.0.0.8" and "10.0.0.0/33" alike: what is wrong with it is said by whoever reads ranges.
bool is_meant_as_range(std::string_view text) {
  return text.find('/') != std::string_view::npos || IpAddress::parse(text);
}

// "2001:db8::1]:443" behind its bracket, "2001:db8::]/32" included.
Result<Opening> parse_bracketed(std::string_view text) {
  const std::size_t end = text.find(']');
  std::string_view rest = end == std::string_view::npos ? "" : text.substr(end + 1);
  Opening opening{std::string(text.substr(0, end)), std::nullopt, true};
  if (rest.starts_with('/')) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    opening.subject += rest.substr(0, colon);
    rest.remove_prefix(colon);
  }
  const auto address = IpAddress::parse(opening.subject.substr(0, opening.subject.find('/')));
  if (end == std::string_view::npos || !address || address->is_v4() ||
      (!rest.empty() && !rest.starts_with(':'))) {
    return Failure(refusal(
        fmt::format("{} is no IPv6 address in brackets", quoted("[" + std::string(text))), shape));
  }
  if (rest.empty()) return opening;
  const auto port = parse_port(rest.substr(1));
  if (!port) return Failure(port.error());
  opening.port = *port;
  return opening;
}

Result<Opening> parse_opening(std::string_view text) {
  if (text.find("://") != std::string_view::npos) {
    return Failure(refusal(fmt::format("{} is a URL, not a host", quoted(text)),
                           "write its host and port: example.com:443"));
  }
  if (text.starts_with('[')) return parse_bracketed(text.substr(1));
  const std::size_t colon = text.find(':');
  // A bare IPv6 address has colons of its own, and so no place for a port.
  const bool is_v6 = colon != std::string_view::npos && text.find(':', colon + 1) != text.npos &&
                     IpAddress::parse(text.substr(0, text.find('/')));
  const std::string_view subject = is_v6 ? text : text.substr(0, colon);
  Opening opening{std::string(subject), std::nullopt, is_meant_as_range(subject)};
  if (is_v6 || colon == std::string_view::npos) return opening;
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return Failure(port.error());
  opening.port = *port;
  return opening;
}

// What a policy would say, where the hint of a policy's reader would speak of YAML.
Result<void> refuse_special(const Opening& opening) {
  if (opening.is_range) return {};
  if (opening.subject == "*") {
    return Failure(
        refusal("'*' stands for every host there is",
                "--report lets every host pass and logs it; a policy may say any: true"));
  }
  const auto host = Host::parse(opening.subject);
  if (host && host->is_name() && host->name() == own_loopback_name) {
    return Failure(
        refusal(fmt::format("'{}' is this machine's loopback, which no name opens", host->name()),
                "write --allow 127.0.0.1:PORT"));
  }
  return {};
}

std::string as_yaml(const Opening& opening) {
  std::string rule = fmt::format("{{{}: \"", opening.is_range ? "cidr" : "host");
  text::append_json(rule, opening.subject);  // JSON's escapes are YAML's, 1.2.2 section 5.7
  rule += '"';
  if (opening.port) rule += fmt::format(", ports: [{}]", *opening.port);
  return rule + '}';
}

// A policy of these rules alone, the N-th on line N, so that the checks are the policy's own.
// Answers the errors found so far, each with its number.
std::vector<std::pair<int, Error>> write_policy(const std::vector<std::string>& openings,
                                                Source& source) {
  std::vector<std::pair<int, Error>> errors;
  source = {std::string(source_name), "{version: 1, agents: {flag: {allow: ["};
  int number = 0;
  for (const std::string& text : openings) {
    ++number;
    const auto opening = parse_opening(text);
    const auto fine = opening ? refuse_special(*opening) : Result<void>(Failure(opening.error()));
    if (fine) source.text += as_yaml(*opening) + ',';
    if (!fine) errors.emplace_back(number, fine.error());
    source.text += '\n';
  }
  source.text += "]}}}\n";
  return errors;
}

Error without_place(const Error& found) { return refusal(found.what, found.hint); }

tl::expected<ReadText, std::vector<Error>> read_openings(const std::vector<std::string>& openings) {
  Source source;
  auto errors = write_policy(openings, source);
  auto read = read_text(std::span(&source, 1));
  if (!read) {
    for (const Error& error : read.error()) {
      errors.emplace_back(error.where ? error.where->line : 0, without_place(error));
    }
  }
  if (errors.empty()) return read;
  std::stable_sort(errors.begin(), errors.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Error> in_order;
  in_order.reserve(errors.size());
  for (auto& [number, error] : errors) in_order.push_back(std::move(error));
  return tl::unexpected(std::move(in_order));
}

Error no_entry(const std::string& agent) {
  return {Errc::bad_config, fmt::format("no entry of the policy matches the agent '{}'", agent),
          "add it under 'agents:'", std::nullopt};
}

AgentEntry& own_entry(PolicyText& text, const AgentEntry& found, const std::string& agent) {
  if (found.pattern == agent) {
    return text.agents[static_cast<std::size_t>(&found - text.agents.data())];
  }
  AgentEntry own = found;
  own.pattern = agent;
  text.agents.push_back(std::move(own));
  return text.agents.back();
}

}  // namespace

PolicyText bare_policy(std::string_view agent) {
  PolicyText text;
  text.agents.push_back({std::string(agent), Mode::enforce, {}, std::string(source_name)});
  return text;
}

tl::expected<ReadText, std::vector<Error>> amend(PolicyText text, const Amendment& amendment) {
  auto read = read_openings(amendment.allow);
  if (!read) return read;
  const AgentEntry* const found = text.entry_for(amendment.agent);
  if (found == nullptr) return tl::unexpected(std::vector{no_entry(amendment.agent)});
  AgentEntry& entry = own_entry(text, *found, amendment.agent);
  if (amendment.mode) entry.mode = *amendment.mode;
  int number = 0;
  for (Rule& rule : read->text.agents.front().rules) {
    rule.id = text.places.add(source_name, ++number);
    entry.rules.push_back(std::move(rule));
  }
  ReadText amended{std::move(text), {}};
  for (const Error& warning : read->warnings) amended.warnings.push_back(without_place(warning));
  return amended;
}

}  // namespace sluice::allowlists
