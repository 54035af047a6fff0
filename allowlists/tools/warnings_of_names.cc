#include "allowlists/tools/warnings_of_names.h"

#include <fmt/core.h>

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "allowlists/public_suffix.h"
#include "allowlists/tools/known_hosts.h"
#include "allowlists/tools/loose_regex.h"
#include "allowlists/tools/warnings.h"

namespace sluice::allowlists {
namespace {

std::string_view parent(std::string_view name) {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
}

bool is_suffix_rule(const Rule& rule) {
  return rule.scope == Scope::below || rule.scope == Scope::tree;
}

// What a list of rules denies on every port, so that nobody is warned of it.
class Denied {
 public:
  explicit Denied(std::span<const Rule> rules) {
    for (const Rule& rule : rules) add(rule);
  }

  // Whether one of them covers the host, by a name longer than `length`.
  bool covers(const KnownHost& host, std::size_t length) const {
    const std::string_view name = host.name();
    if (host.covers_itself() && !host.covers_below() && exact_.contains(name)) return true;
    for (std::string_view at = name; at.size() > length; at = parent(at)) {
      const auto found = suffixes_.find(at);
      if (found == suffixes_.end()) continue;
      if (at != name || found->second || !host.covers_itself()) return true;
    }
    return false;
  }

 private:
  void add(const Rule& rule) {
    if (rule.effect != Effect::deny || !rule.ports.empty()) return;
    if (rule.scope == Scope::exact) exact_.insert(rule.name);
    if (!is_suffix_rule(rule)) return;
    bool& tree = suffixes_[rule.name];
    tree = tree || rule.scope == Scope::tree;
  }

  std::unordered_set<std::string_view> exact_;
  std::unordered_map<std::string_view, bool> suffixes_;  // whether the name itself is meant too
};

// Known hosts by what a rule may be called.
class Known {
 public:
  using List = std::vector<const KnownHost*>;

  Known() {
    for (const KnownHost& host : known_hosts()) {
      by_name_[host.name()].push_back(&host);
      for (std::string_view up = parent(host.name()); !up.empty(); up = parent(up)) {
        below_[up].push_back(&host);
      }
    }
  }

  // Those that the rule allows: first those that are all of it, then those below its name.
  List allowed_by(const Rule& rule) const {
    List hosts;
    const bool suffix = is_suffix_rule(rule);
    for (std::string_view at = rule.name; !at.empty(); at = parent(at)) {
      for (const KnownHost* host : list(by_name_, at)) {
        const bool whole = at == rule.name;
        const bool itself = host->covers_itself() && rule.scope != Scope::below;
        const bool fits = whole ? itself || (suffix && host->covers_below())
                                : host->covers_below() && host->kind != HostKind::whole_cloud;
        if (fits) hosts.push_back(host);
      }
    }
    if (!suffix) return hosts;
    const List& under = list(below_, rule.name);
    hosts.insert(hosts.end(), under.begin(), under.end());
    return hosts;
  }

 private:
  using Map = std::unordered_map<std::string_view, List>;

  static const List& list(const Map& map, std::string_view name) {
    static const List none;
    const auto found = map.find(name);
    return found == map.end() ? none : found->second;
  }

  Map by_name_;
  Map below_;
};

struct Found {
  const Rule& rule;
  const KnownHost& host;  // the first of its kind
  std::size_t more = 0;   // of its kind
  bool inside = false;    // the host is but one of those that the rule allows
};

std::string what_of(const Found& found, std::string_view subject) {
  switch (found.host.kind) {
    case HostKind::upload:
      return fmt::format("strangers can read what is uploaded to '{}' ({}){}", subject,
                         found.host.what,
                         found.more == 0 ? "" : fmt::format(", and to {} more", found.more));
    case HostKind::dns_over_https:
      return fmt::format("'{}' answers DNS over HTTPS ({}), which carries data out in questions",
                         subject, found.host.what);
    case HostKind::ech_public_name:
      return fmt::format(
          "'{}' is a public name of Encrypted ClientHello ({}): as SNI it stands for any customer",
          subject, found.host.what);
    case HostKind::shared_front:
      return fmt::format(
          "'{}' shares its front end with strangers ({}): without inspection another tenant behind "
          "it is not excluded",
          subject, found.host.what);
    case HostKind::whole_cloud:
      return fmt::format("'{}' is more than one owner's: {}", subject, found.host.what);
    case HostKind::own_machine:
      return fmt::format("'{}' is the machine itself ({})", subject, found.host.what);
  }
  return {};
}

std::string hint_of(const Found& found) {
  if (found.inside) {
    return fmt::format("name the hosts you need, or add to 'deny': - host: \"{}\"",
                       found.host.pattern);
  }
  switch (found.host.kind) {
    case HostKind::upload:
      return "keep it only if what the agent can read may be published there";
    case HostKind::dns_over_https:
      return "remove it: sluice answers the agent's DNS itself";
    case HostKind::ech_public_name:
      return "remove it, or write ech: deny";
    case HostKind::shared_front:
      return "prefer a host name of the owner's own, where there is one";
    case HostKind::whole_cloud:
      return "name the hosts you need";
    case HostKind::own_machine:
      return "to open one of its ports write cidr: 127.0.0.1/32 with that port";
  }
  return {};
}

class NameWarnings {
 public:
  NameWarnings(const PolicyText& text, std::vector<Error>& found)
      : text_(text), found_(found), never_(text.never) {}

  void add(const AgentEntry& entry, std::vector<bool>& seen) {
    const Denied denied(entry.rules);
    for (const Rule& rule : entry.rules) {
      if (rule.effect != Effect::allow || seen[rule.id]) continue;
      seen[rule.id] = true;
      if (rule.scope == Scope::regex) add_regex(rule);
      if (rule.scope == Scope::exact || is_suffix_rule(rule)) add_name(rule, denied);
    }
  }

 private:
  void add_regex(const Rule& rule) {
    if (auto one = loose_regex(rule.name)) warn(rule, std::move(one->what), std::move(one->hint));
  }

  void add_name(const Rule& rule, const Denied& denied) {
    const bool open_to_all = is_suffix_rule(rule) && is_public_suffix(rule.name);
    if (open_to_all) {
      warn(rule,
           fmt::format("strangers can register names below '{}', and '{}' allows them all",
                       rule.name, subject_of(rule)),
           fmt::format("name the domain you trust: {}example.{}",
                       rule.scope == Scope::below ? "*." : ".", rule.name));
    }
    std::vector<Found> kinds;
    for (const KnownHost* host : known_.allowed_by(rule)) {
      const bool inside = host->name().size() > rule.name.size();
      const bool harmless =
          (host->kind == HostKind::ech_public_name && rule.refuse_ech) ||
          (host->kind == HostKind::shared_front && (open_to_all || inside)) ||
          (host->kind == HostKind::whole_cloud && open_to_all) ||
          (inside && (never_.covers(*host, 0) || denied.covers(*host, rule.name.size())));
      if (harmless) continue;
      const auto known = std::find_if(kinds.begin(), kinds.end(), [&](const Found& one) {
        return one.host.kind == host->kind;
      });
      if (known == kinds.end()) {
        kinds.push_back({rule, *host, 0, inside});
      } else {
        ++known->more;
      }
    }
    for (const Found& one : kinds) {
      warn(rule, what_of(one, one.inside ? std::string(one.host.pattern) : subject_of(rule)),
           hint_of(one));
    }
  }

  void warn(const Rule& rule, std::string what, std::string hint) {
    found_.push_back(warning_at(text_.places[rule.id], std::move(what), std::move(hint)));
  }

  const PolicyText& text_;
  std::vector<Error>& found_;
  Known known_;
  Denied never_;
};

}  // namespace

void add_of_names(const PolicyText& text, std::vector<Error>& found) {
  NameWarnings warnings(text, found);
  std::vector<bool> seen(text.places.size());
  for (const AgentEntry& entry : text.agents) warnings.add(entry, seen);
}

}  // namespace sluice::allowlists
