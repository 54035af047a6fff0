#include "allowlists/tools/diff_agents.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "allowlists/agent_pattern.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t longest_name = 63;
constexpr std::size_t most_states = 50'000;
constexpr std::size_t most_positions = 2'000'000;  // of all states together
constexpr std::string_view first_bytes =
    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view later_bytes =
    "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-_.";

struct Glob {
  std::string_view text;
  int entry = EntryPair::none;
};

// The entries of one policy in the order in which they are asked.
struct Entries {
  explicit Entries(const PolicyText& policy) {
    for (std::size_t i = 0; i < policy.agents.size(); ++i) {
      const std::string& pattern = policy.agents[i].pattern;
      const int number = static_cast<int>(i);
      if (is_agent_glob(pattern)) {
        globs.push_back({pattern, number});
      } else {
        exact.emplace(pattern, number);
      }
    }
    std::sort(globs.begin(), globs.end(),
              [](const Glob& a, const Glob& b) { return glob_precedes(a.text, b.text); });
  }

  int find(std::string_view agent) const {
    if (const auto at = exact.find(agent); at != exact.end()) return at->second;
    const auto fits = [&](const Glob& glob) { return glob_matches(glob.text, agent); };
    const auto at = std::find_if(globs.begin(), globs.end(), fits);
    return at == globs.end() ? EntryPair::none : at->entry;
  }

  std::unordered_map<std::string_view, int> exact;
  std::vector<Glob> globs;
};

// The exact names: a name among them is no witness for a pattern.
class Trie {
 public:
  static constexpr int off = -1;

  void add(std::string_view name) {
    int node = 0;
    for (const char c : name) {
      auto& children = nodes_[static_cast<std::size_t>(node)].children;
      const std::size_t at = children.find(c);
      if (at == std::string::npos) {
        const int child = static_cast<int>(nodes_.size());
        nodes_[static_cast<std::size_t>(node)].children += c;
        nodes_[static_cast<std::size_t>(node)].next.push_back(child);
        nodes_.emplace_back();
        node = child;
      } else {
        node = nodes_[static_cast<std::size_t>(node)].next[at];
      }
    }
    nodes_[static_cast<std::size_t>(node)].is_name = true;
  }

  int step(int node, char c) const {
    if (node == off) return off;
    const Node& at = nodes_[static_cast<std::size_t>(node)];
    const std::size_t child = at.children.find(c);
    return child == std::string::npos ? off : at.next[child];
  }
  std::string_view children(int node) const {
    return node == off ? std::string_view() : nodes_[static_cast<std::size_t>(node)].children;
  }
  bool is_name(int node) const {
    return node != off && nodes_[static_cast<std::size_t>(node)].is_name;
  }

 private:
  struct Node {
    std::string children;
    std::vector<int> next;
    bool is_name = false;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
};

// All names at once, byte by byte: a state is what every pattern of both sides has matched so far.
class Search {
 public:
  Search(const Entries& before, const Entries& after)
      : before_count_(static_cast<std::uint32_t>(before.globs.size())) {
    for (const Entries* side : {&before, &after}) {
      globs_.insert(globs_.end(), side->globs.begin(), side->globs.end());
      for (const auto& [name, entry] : side->exact) exact_.add(name);
    }
    for (const Glob& glob : globs_) used_ += glob.text;
    std::sort(used_.begin(), used_.end());
    used_.erase(std::unique(used_.begin(), used_.end()), used_.end());
    std::erase(used_, '*');
  }

  // False when it gave up.
  bool run() {
    State start;
    for (std::uint32_t glob = 0; glob < globs_.size(); ++glob) enter(start, glob, 0);
    states_.push_back(std::move(start));
    std::size_t begin = 0;
    for (std::size_t length = 1; length <= longest_name; ++length) {
      const std::size_t end = states_.size();
      for (std::size_t i = begin; i < end; ++i) {
        if (!extend(i, length == 1 ? first_bytes : later_bytes)) return false;
      }
      begin = end;
    }
    return true;
  }

  std::vector<EntryPair> take() { return std::move(found_); }

 private:
  struct State {
    std::vector<std::uint32_t> at;  // glob * 128 + bytes of it that are matched, ascending
    int node = 0;                   // in exact_
    std::size_t parent = 0;
    char byte = 0;  // that led here from `parent`
  };

  // Codes come in ascending order. Where a star is reached, what stands before it in its glob no
  // longer matters: the star matches more.
  void enter(State& state, std::uint32_t glob, std::uint32_t position) const {
    const std::string_view text = globs_[glob].text;
    std::vector<std::uint32_t>& at = state.at;
    for (; position < text.size() && text[position] == '*'; ++position) {
      while (!at.empty() && at.back() / 128 == glob) at.pop_back();
      at.push_back(glob * 128 + position);
    }
    if (at.empty() || at.back() != glob * 128 + position) at.push_back(glob * 128 + position);
  }

  State after(const State& state, char byte) const {
    State next;
    next.at.reserve(state.at.size());
    next.node = exact_.step(state.node, byte);
    for (const std::uint32_t code : state.at) {
      const std::uint32_t glob = code / 128;
      const std::uint32_t matched = code % 128;
      const std::string_view text = globs_[glob].text;
      if (matched == text.size()) continue;
      if (text[matched] == '*') enter(next, glob, matched);
      if (text[matched] == byte) enter(next, glob, matched + 1);
    }
    return next;
  }

  bool extend(std::size_t from, std::string_view alphabet) {
    const std::string_view children = exact_.children(states_[from].node);
    bool other_done = false;
    for (const char byte : alphabet) {
      const bool told_apart =
          used_.find(byte) != std::string::npos || children.find(byte) != std::string_view::npos;
      if (!told_apart && std::exchange(other_done, true)) continue;
      State next = after(states_[from], byte);
      if (next.at.empty() || !is_new(next)) continue;
      next.parent = from;
      next.byte = byte;
      positions_ += next.at.size();
      states_.push_back(std::move(next));
      note(states_.size() - 1);
      if (states_.size() > most_states || positions_ > most_positions) return false;
    }
    return true;
  }

  bool is_new(const State& state) {
    std::string key(reinterpret_cast<const char*>(state.at.data()),
                    state.at.size() * sizeof(std::uint32_t));
    key.append(reinterpret_cast<const char*>(&state.node), sizeof(state.node));
    return known_.insert(std::move(key)).second;
  }

  void note(std::size_t index) {
    const State& state = states_[index];
    if (exact_.is_name(state.node)) return;
    EntryPair pair;
    for (const std::uint32_t code : state.at) {
      const std::uint32_t glob = code / 128;
      if (code % 128 != globs_[glob].text.size()) continue;
      int& winner = glob < before_count_ ? pair.before : pair.after;
      if (winner == EntryPair::none) winner = globs_[glob].entry;
    }
    if (pair.before == EntryPair::none && pair.after == EntryPair::none) return;
    if (!pairs_.emplace(pair.before, pair.after).second) return;
    for (std::size_t at = index; at != 0; at = states_[at].parent) pair.agent += states_[at].byte;
    std::reverse(pair.agent.begin(), pair.agent.end());
    found_.push_back(std::move(pair));
  }

  std::vector<Glob> globs_;  // in the order in which each side asks them
  std::uint32_t before_count_;
  Trie exact_;
  std::string used_;  // bytes that occur in a glob: all others are alike
  std::vector<State> states_;
  std::size_t positions_ = 0;
  std::unordered_set<std::string> known_;
  std::set<std::pair<int, int>> pairs_;
  std::vector<EntryPair> found_;
};

// Every pair of patterns that some text fits, also where a third pattern takes all of it.
void add_possible(const Entries& before, const Entries& after, std::vector<EntryPair>& pairs) {
  std::set<std::pair<int, int>> known;
  for (const EntryPair& pair : pairs) known.emplace(pair.before, pair.after);
  const auto add = [&](int old, int now) {
    if (known.emplace(old, now).second) pairs.push_back({.before = old, .after = now});
  };
  for (const Glob& old : before.globs) {
    add(old.entry, EntryPair::none);
    for (const Glob& now : after.globs) {
      if (globs_overlap(old.text, now.text)) add(old.entry, now.entry);
    }
  }
  for (const Glob& now : after.globs) add(EntryPair::none, now.entry);
}

}  // namespace

EntryPairs entry_pairs(const PolicyText& before, const PolicyText& after) {
  const Entries old(before);
  const Entries now(after);
  std::set<std::string_view> names;
  for (const Entries* side : {&old, &now}) {
    for (const auto& [name, entry] : side->exact) names.insert(name);
  }
  EntryPairs result;
  for (const std::string_view name : names) {
    result.pairs.push_back({old.find(name), now.find(name), std::string(name), true});
  }
  Search search(old, now);
  result.gave_up = !search.run();
  std::vector<EntryPair> found = search.take();
  if (result.gave_up) add_possible(old, now, found);
  result.pairs.insert(result.pairs.end(), found.begin(), found.end());
  return result;
}

std::optional<EntryPair> entry_pair_of(const PolicyText& before, const PolicyText& after,
                                       const std::string& agent) {
  EntryPair pair{Entries(before).find(agent), Entries(after).find(agent), agent, true};
  if (pair.before == EntryPair::none && pair.after == EntryPair::none) return {};
  return pair;
}

}  // namespace sluice::allowlists
