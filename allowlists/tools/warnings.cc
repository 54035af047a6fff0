#include "allowlists/tools/warnings.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "allowlists/address_guard.h"
#include "allowlists/agent_pattern.h"
#include "allowlists/language.h"
#include "allowlists/tools/mentions.h"
#include "allowlists/tools/shadowed.h"
#include "allowlists/tools/warnings_of_names.h"

namespace sluice::allowlists {
namespace {

using How = Shadowed::How;

// What a broader rule speaks of.
std::string reach_of(const Rule& rule) {
  switch (rule.scope) {
    case Scope::below:
    case Scope::tree:
      return fmt::format("every name below '{}'", rule.name);
    case Scope::any:
      return "every host";
    default:
      return in_quotes(subject_of(rule));
  }
}

std::string shadow_text(const Shadowed& one, std::string_view by) {
  const std::string subject = in_quotes(subject_of(*one.rule));
  const bool allow = one.rule->effect == Effect::allow;
  switch (one.how) {
    case How::same:
      return fmt::format("this rule changes nothing: {} says the same of {}", by, subject);
    case How::broader:
      return fmt::format("this rule changes nothing: {} says the same of {}", by,
                         reach_of(*one.by));
    case How::denied:
      return fmt::format("this rule allows nothing: {} denies {}", by, subject);
    case How::never:
      return fmt::format("this rule {} nothing: {}, under 'never', denies {}",
                         allow ? "allows" : "denies", by, reach_of(*one.by));
  }
  return {};
}

void add_shadowed(const PolicyText& text, std::vector<Error>& found) {
  for (const Shadowed& one : shadowed_rules(text)) {
    const bool contradicts =
        one.how == How::denied || (one.how == How::never && one.rule->effect == Effect::allow);
    found.push_back(warning_at(text.places[one.rule->id], shadow_text(one, text.places[one.by->id]),
                               contradicts ? "remove one of the two" : "remove it"));
  }
}

IpAddress from_bytes(const IpAddress::Bytes& bytes, const Cidr& range) {
  if (!range.network.is_v4()) return IpAddress::v6(bytes);
  return IpAddress::v4(std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                       std::uint32_t{bytes[2]} << 8 | bytes[3]);
}

// Whether nothing in a range is ever dialled: asked of the ends of its sixteenths.
bool is_forbidden(const Cidr& range) {
  const unsigned longest = range.network.is_v4() ? 32 : 128;
  const unsigned deeper = std::min(4U, longest - range.length);
  for (unsigned part = 0; part < 1U << deeper; ++part) {
    for (const bool fill : {false, true}) {
      IpAddress::Bytes bytes = range.network.bytes();
      for (unsigned bit = range.length; bit < longest; ++bit) {
        const unsigned behind = bit - range.length;
        const bool set = behind < deeper ? ((part >> (deeper - 1 - behind)) & 1U) != 0 : fill;
        std::uint8_t& byte = bytes[bit / 8];
        if (set) byte = static_cast<std::uint8_t>(byte | 0x80U >> bit % 8);
      }
      if (classify(from_bytes(bytes, range)) != AddressClass::forbidden) return false;
    }
  }
  return true;
}

void add_of_rule(const PolicyText& text, const Rule& rule, std::vector<Error>& found) {
  if (rule.effect != Effect::allow) return;
  const std::string_view place = text.places[rule.id];
  const bool is_one = rule.range.length == (rule.range.network.is_v4() ? 32 : 128);
  // Of a single address the loader says it.
  if (rule.scope == Scope::cidr && !is_one && is_forbidden(rule.range)) {
    found.push_back(warning_at(place,
                               fmt::format("nothing in '{}' is ever dialled, whatever a rule says",
                                           rule.range.to_string()),
                               "remove it"));
  }
  if (rule.scope == Scope::any) {
    found.push_back(warning_at(
        place, "'any: true' allows every host there is",
        "list hosts; to find out which, run in report mode and ask 'sluice policy suggest'"));
  }
}

// What a rule says, for comparing those of two entries.
std::string meaning_of(const Rule& rule) {
  std::string meaning = subject_of(rule);
  meaning += rule.effect == Effect::allow ? "+" : "-";
  for (const std::uint16_t port : ports_of(rule)) meaning += fmt::format(" {}", port);
  return meaning;
}

// Says of exact entries which rules of the pattern beside them they do without.
class Replaced {
 public:
  explicit Replaced(const PolicyText& text) {
    for (const AgentEntry& entry : text.agents) {
      if (!is_agent_name(entry.pattern)) globs_.push_back(&entry);
    }
    std::sort(globs_.begin(), globs_.end(), [](const AgentEntry* a, const AgentEntry* b) {
      return glob_precedes(a->pattern, b->pattern);
    });
  }

  void add(const AgentEntry& entry, std::vector<Error>& found) {
    if (!is_agent_name(entry.pattern)) return;
    const auto glob = std::find_if(globs_.begin(), globs_.end(), [&](const AgentEntry* one) {
      return glob_matches(one->pattern, entry.pattern);
    });
    if (glob == globs_.end()) return;
    const auto& theirs = meanings(**glob);
    std::unordered_set<std::string> shared;
    for (const Rule& rule : entry.rules) {
      std::string meaning = meaning_of(rule);
      if (theirs.contains(meaning)) shared.insert(std::move(meaning));
    }
    const std::size_t missing = theirs.size() - shared.size();
    if (missing == 0) return;
    found.push_back(warning_at(
        entry.place,
        fmt::format("'{}' does without {} rule{} of '{}' ({}): entries replace each other, they "
                    "never merge",
                    entry.pattern, missing, missing == 1 ? "" : "s", (*glob)->pattern,
                    (*glob)->place),
        "put what both need into a group, and 'use' it in both"));
  }

 private:
  const std::unordered_set<std::string>& meanings(const AgentEntry& glob) {
    const auto [at, added] = meanings_.try_emplace(&glob);
    if (added) {
      for (const Rule& rule : glob.rules) at->second.insert(meaning_of(rule));
    }
    return at->second;
  }

  std::vector<const AgentEntry*> globs_;  // the first that matches would be the entry
  std::unordered_map<const AgentEntry*, std::unordered_set<std::string>> meanings_;
};

void add_of_entries(const PolicyText& text, std::vector<Error>& found) {
  Replaced replaced(text);
  std::vector<bool> seen(text.places.size());
  for (const AgentEntry& entry : text.agents) {
    if (entry.mode == Mode::report) {
      found.push_back(warning_at(
          entry.place,
          fmt::format("'{}' is in report mode: what no rule lists is logged and not blocked",
                      entry.pattern),
          "write mode: enforce once 'sluice policy replay' shows nothing you would miss"));
    }
    replaced.add(entry, found);
    for (const Rule& rule : entry.rules) {
      if (!seen[rule.id]) add_of_rule(text, rule, found);
      seen[rule.id] = true;
    }
  }
}

}  // namespace

std::string in_quotes(std::string_view subject) {
  constexpr std::size_t most_shown = 80;
  const bool cut = subject.size() > most_shown;
  return fmt::format("'{}{}'", subject.substr(0, most_shown), cut ? "..." : "");
}

Error warning_at(std::string_view place, std::string what, std::string hint) {
  const std::size_t colon = place.rfind(':');
  const std::string_view digits = place.substr(colon + 1);
  int line = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), line);
  return {Errc::bad_config, std::move(what), std::move(hint),
          Mark{std::string(place.substr(0, colon)), line, 0}};
}

std::vector<Error> warnings_of(const PolicyText& text) {
  std::vector<Error> found;
  add_shadowed(text, found);
  add_of_entries(text, found);
  add_of_names(text, found);
  sort_by_place(found);
  return found;
}

std::vector<Error> unused_rules(const PolicyText& text,
                                const std::unordered_set<std::string>& used) {
  std::vector<Error> found;
  std::vector<bool> seen(text.places.size());
  for (const AgentEntry& entry : text.agents) {
    for (const Rule& rule : entry.rules) {
      const std::string_view place = text.places[rule.id];
      const bool asked = rule.effect == Effect::allow && rule.scope != Scope::cidr &&
                         !place.starts_with(preset_prefix) && !seen[rule.id];
      seen[rule.id] = true;
      if (!asked || used.contains(std::string(place))) continue;
      found.push_back(warning_at(
          place, fmt::format("no decision in the log names {}", in_quotes(subject_of(rule))),
          "remove the rule, if the log is of this policy and long enough"));
    }
  }
  sort_by_place(found);
  return found;
}

void sort_by_place(std::vector<Error>& warnings) {
  const auto key = [](const Error& one) {
    return std::tie(one.where->file, one.where->line, one.where->column);
  };
  std::stable_sort(warnings.begin(), warnings.end(),
                   [&](const Error& a, const Error& b) { return key(a) < key(b); });
}

}  // namespace sluice::allowlists
