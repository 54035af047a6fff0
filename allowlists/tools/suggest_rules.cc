#include "allowlists/tools/suggest_rules.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "allowlists/public_suffix.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t siblings_needed = 3;
constexpr std::size_t most_ports = 32;
// Data in host names: more than this many names below one domain, each asked for a few times only
// (A and AAAA, asked twice), whose own labels are long and look random.
constexpr std::size_t most_random_names = 30;
constexpr std::uint64_t few_requests = 4;
constexpr std::size_t long_label = 12;
constexpr double random_bits = 2.9;     // a byte; 12 random hexadecimal digits have about 3.0
constexpr std::size_t most_labels = 8;  // of a domain that is looked at

struct Candidate {
  SuggestedRule suggested;
  bool used = false;
};
using Candidates = std::map<std::string, Candidate, std::less<>>;  // by name
using Shape = std::pair<std::vector<std::uint16_t>, std::optional<TlsMode>>;

Shape shape_of(const Candidate& candidate) {
  return {candidate.suggested.rule.ports, candidate.suggested.rule.tls};
}

std::size_t labels_of(std::string_view name) {
  return static_cast<std::size_t>(std::count(name.begin(), name.end(), '.')) + 1;
}

// The last `labels` labels of a name that has more; else empty.
std::string_view domain_of(std::string_view name, std::size_t labels) {
  std::size_t dot = name.size();
  for (std::size_t i = 0; i < labels; ++i) {
    if (dot == 0) return {};
    dot = name.rfind('.', dot - 1);
    if (dot == std::string_view::npos) return {};
  }
  return name.substr(dot + 1);
}

std::string reversed(std::string_view name) { return {name.rbegin(), name.rend()}; }

// "com example api": names sorted by it stand beside those of the same domain.
std::string by_labels(std::string_view name) {
  std::string out;
  while (!name.empty()) {
    const std::size_t dot = name.rfind('.');
    const std::size_t begin = dot == std::string_view::npos ? 0 : dot + 1;
    out += name.substr(begin);
    out += ' ';
    name = name.substr(0, begin == 0 ? 0 : dot);
  }
  return out;
}

// Names below which nothing is generalised, in an order in which those below one domain are
// neighbours.
class Barred {
 public:
  void add(std::string_view name) { reversed_.insert(reversed(name)); }
  bool any_below(std::string_view domain) const {
    const std::string prefix = reversed(domain) + '.';
    const auto first = reversed_.lower_bound(prefix);
    return first != reversed_.end() && first->starts_with(prefix);
  }

 private:
  std::set<std::string> reversed_;
};

bool looks_random(std::string_view text) {
  if (text.size() < long_label) return false;
  std::array<std::size_t, 256> counts{};
  for (const char c : text) ++counts[static_cast<unsigned char>(c)];
  const double size = static_cast<double>(text.size());
  double bits = 0;
  for (const std::size_t count : counts) {
    if (count == 0) continue;
    const double share = static_cast<double>(count) / size;
    bits -= share * std::log2(share);
  }
  return bits >= random_bits;
}

bool is_own_loopback(const IpAddress& address) {
  constexpr IpAddress loopback6 = IpAddress::v6({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
  return address == IpAddress::v4(0x7f000001) || address == loopback6;
}

// As a rule says it: no list means 80 and 443.
std::vector<std::uint16_t> written(std::vector<std::uint16_t> ports) {
  if (ports == std::vector<std::uint16_t>{80, 443}) ports.clear();
  return ports;
}

class Rules {
 public:
  Rules(const std::string& agent, const SeenAgent& seen, std::vector<SuggestDoubt>& doubts)
      : agent_(agent), seen_(seen), doubts_(doubts) {}

  std::vector<SuggestedRule> make() {
    for (const auto& [name, port] : seen_.barred) barred_.add(name);
    for (const auto& [name, target] : seen_.names) add_candidate(name, target);
    for (std::size_t labels = most_labels; labels >= 2; --labels) drop_floods(labels);
    unite_siblings();
    for (auto& [name, candidate] : candidates_) {
      if (!candidate.used) made_.push_back(std::move(candidate.suggested));
    }
    std::sort(made_.begin(), made_.end(), [](const SuggestedRule& a, const SuggestedRule& b) {
      return std::pair(by_labels(a.rule.name), a.rule.scope) <
             std::pair(by_labels(b.rule.name), b.rule.scope);
    });
    for (const auto& [address, target] : seen_.addresses) add_range(address, target);
    return std::move(made_);
  }

 private:
  // The ports a rule for it lists; nothing when there is no port to open.
  std::optional<std::vector<std::uint16_t>> ports_of(const std::string& host,
                                                     const SeenTarget& target) {
    if (seen_.barred.contains({host, 0})) return {};
    std::vector<std::uint16_t> ports = target.ports;
    if (ports.empty()) ports = {80, 443};
    std::erase_if(ports, [&](std::uint16_t port) { return seen_.barred.contains({host, port}); });
    if (ports.size() > most_ports) {
      doubts_.push_back(
          {SuggestDoubt::Kind::port_sweep, agent_, host, ports.size(), target.traffic.requests});
      return {};
    }
    if (ports.empty()) return {};
    return written(std::move(ports));
  }

  void add_candidate(const std::string& name, const SeenTarget& target) {
    auto ports = ports_of(name, target);
    if (!ports) return;
    SuggestedRule suggested;
    suggested.rule.name = name;
    suggested.rule.ports = std::move(*ports);
    if (target.unnamed_on_443) suggested.rule.tls = TlsMode::match;
    suggested.traffic = target.traffic;
    candidates_.emplace(name, Candidate{std::move(suggested)});
  }

  // A range that opens 127.0.0.1 or ::1 opens the name of the own loopback with it.
  bool refuses_own_loopback(const SeenTarget& target) const {
    const std::string name(own_loopback_name);
    return seen_.barred.contains({name, 0}) ||
           std::any_of(target.ports.begin(), target.ports.end(), [&](std::uint16_t port) {
             return seen_.barred.contains({name, port});
           });
  }

  void add_range(const IpAddress& address, const SeenTarget& target) {
    auto ports = ports_of(address.to_string(), target);
    if (!ports || (is_own_loopback(address) && refuses_own_loopback(target))) return;
    SuggestedRule suggested;
    suggested.rule.scope = Scope::cidr;
    suggested.rule.range = Cidr::around(address, address.is_v4() ? 32 : 128);
    suggested.rule.ports = std::move(*ports);
    suggested.traffic = target.traffic;
    suggested.hosts.assign(target.names.begin(), target.names.end());
    made_.push_back(std::move(suggested));
  }

  // Deepest domains first, so that the domain that is named is the one the data stands below.
  void drop_floods(std::size_t labels) {
    std::unordered_map<std::string_view, std::size_t> random_names;
    for (const auto& [name, candidate] : candidates_) {
      const std::string_view domain = domain_of(name, labels);
      const SeenTraffic& traffic = candidate.suggested.traffic;
      if (domain.empty() || traffic.requests + traffic.questions > few_requests) continue;
      const std::size_t own = name.size() - domain.size() - 1;
      if (looks_random(std::string_view(name).substr(0, own))) ++random_names[domain];
    }
    std::map<std::string, SuggestDoubt, std::less<>> floods;
    for (const auto& [domain, names] : random_names) {
      const std::string parent(domain);
      if (names <= most_random_names || is_public_suffix(parent)) continue;
      floods[parent] = {SuggestDoubt::Kind::data_in_names, agent_, parent, 0, 0};
      barred_.add(parent);
    }
    if (floods.empty()) return;
    std::erase_if(candidates_, [&](const auto& entry) {
      const auto flood = floods.find(domain_of(entry.first, labels));
      if (flood == floods.end()) return false;
      const SeenTraffic& traffic = entry.second.suggested.traffic;
      ++flood->second.different;
      flood->second.requests += traffic.requests + traffic.questions;
      return true;
    });
    for (auto& [parent, flood] : floods) doubts_.push_back(std::move(flood));
  }

  void unite_siblings() {
    std::map<std::string_view, std::vector<Candidate*>> children;
    for (auto& [name, candidate] : candidates_) {
      const std::size_t dot = name.find('.');
      if (dot == std::string::npos) continue;
      const std::string_view parent = std::string_view(name).substr(dot + 1);
      if (parent.find('.') != std::string_view::npos) children[parent].push_back(&candidate);
    }
    std::vector<std::string_view> parents;
    parents.reserve(children.size());
    for (const auto& [parent, of] : children) parents.push_back(parent);
    std::stable_sort(parents.begin(), parents.end(), [](std::string_view a, std::string_view b) {
      return labels_of(a) > labels_of(b);
    });
    for (const std::string_view parent : parents) unite(std::string(parent), children[parent]);
  }

  // Those that agree, if there are enough of them. Only one such group: rules of one wildcard
  // would unite their ports.
  void unite(const std::string& parent, const std::vector<Candidate*>& children) {
    std::map<Shape, std::vector<Candidate*>> by_shape;
    for (Candidate* child : children) {
      if (!child->used) by_shape[shape_of(*child)].push_back(child);
    }
    const auto largest = std::max_element(
        by_shape.begin(), by_shape.end(),
        [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    if (largest == by_shape.end() || largest->second.size() < siblings_needed) return;
    if (is_public_suffix(parent) || barred_.any_below(parent)) return;
    SuggestedRule united;
    united.rule.scope = Scope::below;
    united.rule.name = parent;
    united.rule.ports = largest->first.first;
    united.rule.tls = largest->first.second;
    const auto own = candidates_.find(parent);
    if (own != candidates_.end() && !own->second.used && shape_of(own->second) == largest->first) {
      united.rule.scope = Scope::tree;
      largest->second.insert(largest->second.begin(), &own->second);
    }
    for (Candidate* member : largest->second) {
      member->used = true;
      united.traffic.add(member->suggested.traffic);
      united.hosts.push_back(member->suggested.rule.name);
    }
    made_.push_back(std::move(united));
  }

  const std::string& agent_;
  const SeenAgent& seen_;
  std::vector<SuggestDoubt>& doubts_;
  Barred barred_;
  Candidates candidates_;
  std::vector<SuggestedRule> made_;
};

}  // namespace

std::vector<SuggestedRule> suggest_rules(const std::string& agent, const SeenAgent& seen,
                                         std::vector<SuggestDoubt>& doubts) {
  return Rules(agent, seen, doubts).make();
}

}  // namespace sluice::allowlists
