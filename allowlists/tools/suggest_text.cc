#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>

#include "allowlists/address_guard.h"
#include "allowlists/policy_text.h"
#include "allowlists/tools/suggest.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_hosts_shown = 6;
constexpr std::size_t most_lines_shown = 200;

constexpr IpAddress loopback = IpAddress::v4(0x7f000001);

// For a comment. Letters that only look like others are told apart, and nothing is left that a YAML
// reader refuses (noncharacters) or takes for a line's end.
std::string shown(std::string_view untrusted) {
  std::string out;
  for (const char c : text::printable(untrusted)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x80 ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return out;
}

// "1 request", "2 requests"
std::string counted(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string size_text(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> units = {"B", "KiB", "MiB", "GiB", "TiB"};
  double size = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; size >= 1024 && unit + 1 < units.size(); ++unit) size /= 1024;
  const int digits = unit > 0 && size < 10 ? 1 : 0;
  return fmt::format("{:.{}f} {}", size, digits, units[unit]);
}

// "a.example.com, b.example.com and 12 more", escaped.
std::string some_of(const std::vector<std::string>& texts) {
  std::string out;
  for (std::size_t i = 0; i < std::min(texts.size(), most_hosts_shown); ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : ", ", shown(texts[i]));
  }
  if (texts.size() > most_hosts_shown) {
    out += fmt::format(" and {} more", texts.size() - most_hosts_shown);
  }
  return out;
}

std::string traffic_text(const SeenTraffic& traffic) {
  if (traffic.requests == 0) {
    return fmt::format("asked for in DNS only ({}): its ports are not known",
                       counted(traffic.questions, "question"));
  }
  std::string out = counted(traffic.requests, "request");
  if (traffic.refused == traffic.requests) return out + ", all refused";
  out +=
      fmt::format(", {} up, {} down", size_text(traffic.bytes_up), size_text(traffic.bytes_down));
  if (traffic.refused > 0) out += fmt::format(", {} refused", traffic.refused);
  return out;
}

std::string comment_of(const SuggestedRule& suggested) {
  std::string traffic = traffic_text(suggested.traffic);
  if (suggested.hosts.empty()) return traffic;
  return fmt::format("{} ({}{})", traffic, suggested.rule.scope == Scope::cidr ? "for " : "",
                     some_of(suggested.hosts));
}

// Plain where no YAML reader takes it for anything but this text: a letter first, a dot inside.
std::string scalar(const std::string& host) {
  const bool plain =
      host.front() >= 'a' && host.front() <= 'z' && host.find('.') != std::string::npos;
  return plain ? host : fmt::format("\"{}\"", host);
}

std::string ports_text(const std::vector<std::uint16_t>& ports) {
  return fmt::format("[{}]", fmt::join(ports, ", "));
}

void append_rule(std::string& out, const SuggestedRule& suggested) {
  const Rule& rule = suggested.rule;
  fmt::format_to(std::back_inserter(out), "      - {}: {}  # {}\n",
                 rule.scope == Scope::cidr ? "cidr" : "host",
                 rule.scope == Scope::cidr ? fmt::format("\"{}\"", rule.range.to_string())
                                           : scalar(subject_of(rule)),
                 comment_of(suggested));
  if (!rule.ports.empty()) out += fmt::format("        ports: {}\n", ports_text(rule.ports));
  if (rule.tls == TlsMode::match) {
    out +=
        "        tls: match  # passed on 443 without a server name; TLS without one takes "
        "\"off\"\n";
  }
}

void append_entry(std::string& out, const SuggestedEntry& entry) {
  const bool glob = entry.pattern != entry.agents.front();
  fmt::format_to(std::back_inserter(out), "  \"{}\":{}\n", entry.pattern,
                 glob ? fmt::format("  # {}", some_of(entry.agents)) : "");
  out += entry.rules.empty() ? "    allow: []\n" : "    allow:\n";
  for (const SuggestedRule& rule : entry.rules) append_rule(out, rule);
}

void append_doubt(std::string& out, const SuggestDoubt& doubt) {
  const bool names = doubt.kind == SuggestDoubt::Kind::data_in_names;
  fmt::format_to(
      std::back_inserter(out), "# warning: {}: {}: {} of {}{}; no rule is suggested\n",
      shown(doubt.agent),
      names ? "this looks like data in host names" : "this looks like a search for open ports",
      counted(doubt.different, names ? "random name" : "port"), shown(doubt.host),
      fmt::format(" in {}", counted(doubt.requests, "request")));
}

std::string target_text(const NotSuggested& left) {
  const std::string host = shown(left.spelling);
  if (left.port == 0) return host.empty() ? "(no host)" : host;
  const bool is_v6 = host.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_v6 ? "[{}]:{}" : "{}:{}"), host, left.port);
}

// What an operator may paste if it is meant, for a private address; empty where that is not known.
std::string lines_to_paste(const NotSuggested& left) {
  if (left.reason != Reason::address_private || left.port == 0) return {};
  const auto host = Host::parse(left.spelling);
  if (!host) return {};
  std::vector<std::string> subjects;
  if (host->is_name() && host->name() != own_loopback_name) {
    subjects.push_back(fmt::format("host: {}", scalar(host->name())));
  }
  const IpAddress address = !host->is_name() ? host->address() : left.address.value_or(loopback);
  if (classify(address) == AddressClass::forbidden) return {};
  for (const IpAddress& part : parts_to_cover(address)) {
    const Cidr range = Cidr::around(part, part.is_v4() ? 32 : 128);
    subjects.push_back(fmt::format("cidr: \"{}\"", range.to_string()));
  }
  std::string out;
  for (const std::string& subject : subjects) {
    out += fmt::format("#     - {}\n#       ports: [{}]\n", subject, left.port);
  }
  return out;
}

std::string_view advice_on(Reason reason) {
  switch (reason) {
    case Reason::not_tls:
      return "; its rule lets it pass with tls: match";
    case Reason::sni_missing:
      return "; its rule lets it pass with tls: \"off\"";
    default:
      return "";
  }
}

void append_not_suggested(std::string& out, const Suggestion& suggestion) {
  std::uint64_t beyond = suggestion.not_listed_here;
  if (!suggestion.not_suggested.empty()) {
    out += "\n# Not in the rules above, because something else than a missing rule refused it:\n";
  }
  for (std::size_t i = 0; i < suggestion.not_suggested.size(); ++i) {
    const NotSuggested& left = suggestion.not_suggested[i];
    if (i >= most_lines_shown) {
      beyond += left.count;
      continue;
    }
    const std::string paste = lines_to_paste(left);
    fmt::format_to(std::back_inserter(out), "# {}: {}: {}{} ({}){}\n{}", shown(left.agent),
                   reason_name(left.reason), target_text(left),
                   left.address ? fmt::format(" at {}", left.address->to_string()) : "",
                   counted(left.count, "time"),
                   paste.empty() ? advice_on(left.reason) : "; if it is meant:", paste);
  }
  if (beyond > 0) out += fmt::format("# and {} more\n", beyond);
  if (suggestion.reverse_lookups > 0) {
    out += fmt::format("# {} of addresses (below arpa) are left out: nobody waits for them\n",
                       counted(suggestion.reverse_lookups, "lookup"));
  }
}

Json to_object(const SuggestedRule& suggested) {
  const Rule& rule = suggested.rule;
  Json object = {{rule.scope == Scope::cidr ? "cidr" : "host", subject_of(rule)}};
  object["ports"] = rule.ports.empty() ? std::vector<std::uint16_t>{80, 443} : rule.ports;
  if (rule.tls == TlsMode::match) object["tls"] = "match";
  object["requests"] = suggested.traffic.requests;
  object["refused"] = suggested.traffic.refused;
  object["questions"] = suggested.traffic.questions;
  object["bytes_up"] = suggested.traffic.bytes_up;
  object["bytes_down"] = suggested.traffic.bytes_down;
  object["hosts"] = suggested.hosts;
  return object;
}

Json to_object(const NotSuggested& left) {
  return {{"agent", left.agent},
          {"host", left.spelling},
          {"port", left.port},
          {"reason", reason_name(left.reason)},
          {"address", left.address ? left.address->to_string() : ""},
          {"count", left.count}};
}

Json to_object(const SuggestDoubt& doubt) {
  const bool names = doubt.kind == SuggestDoubt::Kind::data_in_names;
  return {{"kind", names ? "data_in_names" : "port_sweep"},
          {"agent", doubt.agent},
          {"host", doubt.host},
          {"different", doubt.different},
          {"requests", doubt.requests}};
}

}  // namespace

std::string to_yaml(const Suggestion& suggestion) {
  std::string out = fmt::format(
      "# Made by 'sluice policy suggest' of {}. The agents chose these names: read before use.\n",
      counted(suggestion.decisions, "decision"));
  for (const SuggestDoubt& doubt : suggestion.doubts) append_doubt(out, doubt);
  out += "version: 1\n\n";
  out += suggestion.entries.empty() ? "agents: {}\n" : "agents:\n";
  for (const SuggestedEntry& entry : suggestion.entries) append_entry(out, entry);
  append_not_suggested(out, suggestion);
  return out;
}

std::string to_json(const Suggestion& suggestion) {
  Json agents = Json::array();
  for (const SuggestedEntry& entry : suggestion.entries) {
    Json rules = Json::array();
    for (const SuggestedRule& rule : entry.rules) rules.push_back(to_object(rule));
    agents.push_back({{"pattern", entry.pattern}, {"agents", entry.agents}, {"allow", rules}});
  }
  Json not_suggested = Json::array();
  for (const NotSuggested& left : suggestion.not_suggested)
    not_suggested.push_back(to_object(left));
  Json doubts = Json::array();
  for (const SuggestDoubt& doubt : suggestion.doubts) doubts.push_back(to_object(doubt));
  const Json object = {{"version", 1},
                       {"agents", agents},
                       {"not_suggested", not_suggested},
                       {"not_listed_here", suggestion.not_listed_here},
                       {"reverse_lookups", suggestion.reverse_lookups},
                       {"doubts", doubts},
                       {"decisions", suggestion.decisions}};
  return object.dump(-1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace sluice::allowlists
