// host_regex rules: one RE2::Set for all of them, asked only where no exact or suffix rule decides.
#pragma once

#include <re2/re2.h>
#include <re2/set.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/rule.h"
#include "allowlists/rule_index.h"

namespace sluice::allowlists {

// What bounds the work and the memory of one name against all regexes of an agent: RE2 runs in
// time linear in the name (at most 253 bytes) times the size of its program.
inline constexpr std::size_t longest_regex = 1000;     // bytes
inline constexpr int largest_regex_program = 5000;     // instructions, RE2::ProgramSize()
inline constexpr int largest_regex_programs = 50'000;  // of one agent, or under never

// How the policy language reads a regex: whole name, ASCII, case-insensitive.
RE2::Options regex_options();

class RegexIndex {
 public:
  // `set_memory`: bytes for the automaton of all regexes together. Where it does not suffice they
  // are asked one after the other, with the same answer.
  explicit RegexIndex(std::span<const Rule> rules,
                      std::int64_t set_memory = std::int64_t{64} * 1024 * 1024);

  // All regexes that match are one level: their ports united, deny first.
  Outcome find(std::string_view name, std::uint16_t port) const noexcept;
  // The ports that find() might allow for some name, in order.
  std::span<const std::uint16_t> ports() const noexcept { return ports_; }
  bool empty() const noexcept { return rules_.empty(); }

 private:
  struct Entry {
    std::uint32_t id = 0;
    Effect effect = Effect::allow;
    bool refuse_ech = false;
    std::optional<TlsMode> tls;
    std::vector<std::uint16_t> ports;
    std::unique_ptr<const RE2> alone;

    bool has_port(std::uint16_t port) const noexcept;
  };
  // Indices into rules_, ascending.
  void match(std::string_view name, std::vector<int>& found) const;

  std::vector<Entry> rules_;  // by id
  std::unique_ptr<RE2::Set> set_;
  std::vector<std::uint16_t> ports_;
};

}  // namespace sluice::allowlists
