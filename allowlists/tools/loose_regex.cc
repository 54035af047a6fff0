#include "allowlists/tools/loose_regex.h"

#include <fmt/core.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>
#include <vector>

#include "allowlists/public_suffix.h"
#include "allowlists/regex_index.h"
#include "allowlists/tools/warnings.h"

namespace sluice::allowlists {
namespace {

constexpr std::array<std::string_view, 7> fillers = {
    "sluice-probe", "sluiceprobe", "7", "x", "net", ".", "sluice-probe.com"};
constexpr std::array<std::string_view, 3> real_endings = {".com", ".net", ".co.uk"};
constexpr std::size_t most_gaps = 3;  // of which every combination of fillers is tried

bool is_letter_or_digit(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

// The literal texts of a regex; between each two of them is a gap that it fills with something.
class Literals {
 public:
  explicit Literals(std::string_view regex) {
    for (at_ = 0; at_ < regex.size();) read(regex);
  }

  std::vector<std::string> texts = {""};
  // Where a '.' that is not escaped stands between letters or digits.
  std::optional<std::size_t> plain_dot;

 private:
  void read(std::string_view regex) {
    const char c = regex[at_];
    const char next = at_ + 1 < regex.size() ? regex[at_ + 1] : '\0';
    if (c == '\\') {
      at_ += 2;
      if (is_letter_or_digit(next)) {
        gap();  // \d, \w and the like
      } else {
        texts.back() += next;
      }
    } else if (c == '[') {
      at_ = end_of_class(regex);
      gap();
    } else if (c == '.') {
      const bool between = at_ > 0 && is_letter_or_digit(regex[at_ - 1]) &&
                           is_letter_or_digit(next) && !texts.back().empty();
      if (between && !plain_dot) plain_dot = at_;
      ++at_;
      gap();
    } else if (c == '{') {
      at_ = std::min(regex.find('}', at_), regex.size() - 1) + 1;
    } else if (c == '(' && next == '?') {
      at_ = std::min(regex.find_first_of(":)>", at_), regex.size() - 1) + 1;
    } else {
      if (is_letter_or_digit(c) || c == '-' || c == '_') texts.back() += c;
      ++at_;
    }
  }

  // Behind the ']' of the class that begins at at_.
  std::size_t end_of_class(std::string_view regex) const {
    std::size_t at = at_ + 1;
    if (at < regex.size() && regex[at] == '^') ++at;
    if (at < regex.size() && regex[at] == ']') ++at;
    while (at < regex.size() && regex[at] != ']') {
      const bool named = regex.substr(at, 2) == "[:";
      at = named ? std::min(regex.find(":]", at), regex.size() - 2) + 2
                 : at + (regex[at] == '\\' ? 2 : 1);
    }
    return at + 1;
  }

  void gap() {
    if (!texts.back().empty() || texts.size() == 1) texts.emplace_back();
  }

  std::size_t at_ = 0;
};

// A name that may fit, and which of its bytes no literal of the regex asks for.
struct Probe {
  std::string name;
  std::vector<bool> filled;

  void add(std::string_view text, bool is_filler) {
    name += text;
    filled.insert(filled.end(), text.size(), is_filler);
  }
};

// Where the part begins that one has to register; npos where nobody can.
std::size_t registered_part(const std::string& name) {
  std::size_t before = std::string::npos;
  for (std::size_t at = 0; at < name.size();) {
    if (is_public_suffix(name.substr(at))) return before;
    before = at;
    const std::size_t dot = name.find('.', at);
    if (dot == std::string::npos) break;
    at = dot + 1;
  }
  return std::string::npos;
}

bool is_name(const std::string& name) {
  return !name.empty() && name.size() <= 253 && name.front() != '.' && name.back() != '.' &&
         name.find("..") == std::string::npos && name.find('.') != std::string::npos;
}

bool is_for_strangers(const RE2& regex, const Probe& probe) {
  if (!is_name(probe.name) || !RE2::FullMatch(probe.name, regex)) return false;
  const bool real = std::any_of(real_endings.begin(), real_endings.end(),
                                [&](std::string_view end) { return probe.name.ends_with(end); });
  if (probe.filled.back() && !real) return false;
  const std::size_t begin = registered_part(probe.name);
  return begin != std::string::npos &&
         std::find(probe.filled.begin() + static_cast<std::ptrdiff_t>(begin), probe.filled.end(),
                   true) != probe.filled.end();
}

// `choice` in the base of the number of fillers, a digit for each gap; all alike for many gaps.
Probe fill(const std::vector<std::string>& texts, std::size_t choice) {
  Probe probe;
  const bool alike = texts.size() - 1 > most_gaps;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i > 0) {
      probe.add(fillers[choice % fillers.size()], true);
      if (!alike) choice /= fillers.size();
    }
    probe.add(texts[i], false);
  }
  return probe;
}

std::vector<Probe> probes_of(const std::vector<std::string>& texts) {
  std::vector<Probe> probes(4);
  probes[0].add("sluice-probe.com", true);
  probes[1].add("x.sluice-probe.net", true);
  probes[2].add("sluice-probe.co.uk", true);
  probes[3].add("sluiceprobe.com", true);
  for (const std::string& text : texts) {
    if (text.size() < 2) continue;
    Probe& before = probes.emplace_back();
    before.add("sluice-probe", true);
    before.add(text, false);
    Probe& behind = probes.emplace_back();
    behind.add(text, false);
    behind.add(".sluice-probe.com", true);
  }
  const std::size_t gaps = texts.size() - 1;
  std::size_t choices = gaps == 0 ? 0 : fillers.size();
  for (std::size_t i = 1; i < gaps && gaps <= most_gaps; ++i) choices *= fillers.size();
  for (std::size_t choice = 0; choice < choices; ++choice) probes.push_back(fill(texts, choice));
  return probes;
}

// The letters, digits and dots around a place.
std::string_view word_around(std::string_view regex, std::size_t place) {
  const auto in_word = [](char c) { return is_letter_or_digit(c) || c == '.' || c == '-'; };
  std::size_t begin = place;
  std::size_t end = place;
  while (begin > 0 && in_word(regex[begin - 1])) --begin;
  while (end < regex.size() && in_word(regex[end])) ++end;
  // A dot that is escaped is no part of it.
  if (begin > 0 && regex[begin - 1] == '\\') ++begin;
  return regex.substr(begin, end - begin);
}

}  // namespace

std::optional<LooseRegex> loose_regex(const std::string& regex) {
  const Literals literals(regex);
  if (literals.plain_dot) {
    return LooseRegex{fmt::format("a '.' in {} fits any character",
                                  in_quotes(word_around(regex, *literals.plain_dot))),
                      R"(write '\.', which is "\\." in double quotes)"};
  }
  const RE2 compiled(regex, regex_options());
  if (!compiled.ok()) return std::nullopt;
  for (const Probe& probe : probes_of(literals.texts)) {
    if (!is_for_strangers(compiled, probe)) continue;
    return LooseRegex{
        fmt::format("{} fits '{}', which a stranger can register", in_quotes(regex), probe.name),
        R"(end it with a whole domain of yours: "...\\.example\\.com")"};
  }
  return std::nullopt;
}

}  // namespace sluice::allowlists
