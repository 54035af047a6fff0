#include "allowlists/agent_pattern.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "allowlists/policy.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t max_agent_name = 63;

constexpr bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}
constexpr bool is_name_byte(char c) {
  return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
}

}  // namespace

bool is_agent_name(std::string_view name) noexcept {
  return !name.empty() && name.size() <= max_agent_name && is_alphanumeric(name.front()) &&
         std::all_of(name.begin(), name.end(), is_name_byte);
}

bool is_agent_glob(std::string_view pattern) noexcept {
  return pattern.find('*') != std::string_view::npos && pattern.size() <= 2 * max_agent_name &&
         (pattern.front() == '*' || is_alphanumeric(pattern.front())) &&
         std::all_of(pattern.begin(), pattern.end(),
                     [](char c) { return c == '*' || is_name_byte(c); });
}

bool glob_matches(std::string_view glob, std::string_view name) noexcept {
  std::size_t g = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;  // the last `*` seen, and where its text began
  std::size_t resume = 0;
  while (n < name.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = n;
    } else if (g < glob.size() && glob[g] == name[n]) {
      ++g;
      ++n;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

std::size_t literal_prefix(std::string_view glob) noexcept {
  return std::min(glob.find('*'), glob.size());
}

bool globs_overlap(std::string_view a, std::string_view b) {
  // reachable[j]: some text matches the first i bytes of `a` and the first j bytes of `b`.
  std::vector<char> reachable(b.size() + 1, 0);
  for (std::size_t i = 0; i <= a.size(); ++i) {
    char diagonal = 0;
    for (std::size_t j = 0; j <= b.size(); ++j) {
      const char above = i > 0 ? reachable[j] : char{0};
      const char left = j > 0 ? reachable[j - 1] : char{0};
      const bool a_star = i > 0 && a[i - 1] == '*';
      const bool b_star = j > 0 && b[j - 1] == '*';
      bool now = i == 0 && j == 0;
      // A star takes nothing, or one more byte of what the other pattern wants.
      if (a_star) now = now || above || left;
      if (b_star) now = now || above || left;
      if (i > 0 && j > 0 && a[i - 1] == b[j - 1]) now = now || diagonal;
      diagonal = above;
      reachable[j] = static_cast<char>(now);
    }
  }
  return reachable[b.size()] != 0;
}

bool glob_precedes(std::string_view a, std::string_view b) noexcept {
  return std::pair(literal_prefix(a), a.size()) > std::pair(literal_prefix(b), b.size());
}

}  // namespace sluice::allowlists
