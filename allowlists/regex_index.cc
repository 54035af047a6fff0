#include "allowlists/regex_index.h"

#include <algorithm>

namespace sluice::allowlists {
namespace {

bool is_default_port(std::uint16_t port) { return port == 80 || port == 443; }

}  // namespace

RE2::Options regex_options() {
  RE2::Options options;
  options.set_case_sensitive(false);
  options.set_log_errors(false);
  options.set_encoding(RE2::Options::EncodingLatin1);  // canonical names are ASCII
  options.set_never_capture(true);
  return options;
}

bool RegexIndex::Entry::has_port(std::uint16_t port) const noexcept {
  if (ports.empty()) return effect == Effect::deny || is_default_port(port);
  return std::find(ports.begin(), ports.end(), port) != ports.end();
}

RegexIndex::RegexIndex(std::span<const Rule> rules, std::int64_t set_memory) {
  RE2::Options options = regex_options();
  for (const Rule& rule : rules) {
    if (rule.scope != Scope::regex) continue;
    rules_.push_back({rule.id, rule.effect, rule.refuse_ech, rule.tls, rule.ports,
                      std::make_unique<RE2>(rule.name, options)});
    if (rule.effect != Effect::allow) continue;
    if (rule.ports.empty()) ports_.insert(ports_.end(), {80, 443});
    ports_.insert(ports_.end(), rule.ports.begin(), rule.ports.end());
  }
  if (rules_.empty()) return;
  std::sort(rules_.begin(), rules_.end(),
            [](const Entry& a, const Entry& b) { return a.id < b.id; });
  std::sort(ports_.begin(), ports_.end());
  ports_.erase(std::unique(ports_.begin(), ports_.end()), ports_.end());
  options.set_max_mem(set_memory);
  set_ = std::make_unique<RE2::Set>(options, RE2::ANCHOR_BOTH);
  for (const Entry& entry : rules_) set_->Add(entry.alone->pattern(), nullptr);
  if (!set_->Compile()) set_.reset();  // then one after the other, with the same answer
}

void RegexIndex::match(std::string_view name, std::vector<int>& found) const {
  found.clear();
  RE2::Set::ErrorInfo error{RE2::Set::kNoError};
  if (set_ != nullptr && (set_->Match(name, &found, &error) || error.kind == RE2::Set::kNoError)) {
    std::sort(found.begin(), found.end());
    return;
  }
  // The set did not fit into its memory (RE2 2022 says so when it compiles, its interface allows it
  // later too): a rule that denies must still be found.
  found.clear();
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (RE2::FullMatch(name, *rules_[i].alone)) found.push_back(static_cast<int>(i));
  }
}

Outcome RegexIndex::find(std::string_view name, std::uint16_t port) const noexcept {
  using Kind = Outcome::Kind;
  Outcome outcome;
  if (rules_.empty()) return outcome;
  thread_local std::vector<int> found;  // keeps its room from one decision to the next
  match(name, found);
  for (const int index : found) {
    const Entry& entry = rules_[static_cast<std::size_t>(index)];
    const bool listed = entry.has_port(port);
    if (entry.effect == Effect::deny) {
      if (listed) return {.kind = Kind::deny, .rule = entry.id};
    } else if (listed) {
      const TlsMode tls = entry.tls.value_or(port == 443 ? TlsMode::require : TlsMode::match);
      const bool first = outcome.kind != Kind::allow;
      outcome = {.kind = Kind::allow,
                 .tls = first ? tls : std::min(outcome.tls, tls),
                 .refuse_ech = entry.refuse_ech || (!first && outcome.refuse_ech),
                 .rule = first ? entry.id : outcome.rule};
    } else if (outcome.kind == Kind::none) {
      const Entry& level_begin = rules_[static_cast<std::size_t>(found.front())];
      outcome = {.kind = Kind::wrong_port, .rule = level_begin.id};
    }
  }
  return outcome;
}

}  // namespace sluice::allowlists
