#include "launcher/protection/second_look.h"

#include <fmt/core.h>

#include <new>

#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_told = 100;  // enough that nothing hides behind a few others
// Both fit a std::string without memory of its own.
constexpr const char* no_memory = "out of memory";
constexpr const char* an_error = "an error";

bool is_new_repository(std::string_view git, const Sight& before, const Sight& now) {
  return now.repositories.contains(git) && !before.repositories.contains(git);
}

bool is_in_new_repository(std::string_view path, const Sight& before, const Sight& now) {
  for (; !path.empty(); path = path.substr(0, path.rfind('/'))) {
    if (is_new_repository(path, before, now)) return true;
  }
  return false;
}

// "" when `work` was done.
template <class Work>
const char* why_not(const Work& work) noexcept {
  try {
    work();
    return "";
  } catch (const std::bad_alloc&) {
    return no_memory;
  } catch (...) {
    return an_error;
  }
}

}  // namespace

void tell_changes(const Sight& before, const Sight& now, const Say& say) {
  std::size_t told = 0;
  std::size_t others = 0;
  const auto tell = [&](const std::string& path, std::string_view reason) {
    const auto spell = [&] { say(fmt::format("{}: {}", in_quotes(path), reason)); };
    if (told == most_told || *why_not(spell) != '\0') {
      ++others;
    } else {
      ++told;
    }
  };
  for (const auto& [git, reason] : now.repositories) {
    if (is_new_repository(git, before, now)) tell(git, reason);
  }
  for (const auto& [path, what] : now.paths) {
    if (!what.found || is_in_new_repository(path, before, now)) continue;
    const auto old = before.paths.find(path);
    if (old == before.paths.end() || old->second.found != what.found) tell(path, what.reason);
  }
  if (others != 0) say(fmt::format("and {} more", others));
}

void look_again(const LookOrder& order, const Sight& before, const Say& say) noexcept {
  Sight now;
  if (const char* why = why_not([&] { look_at(order, now); }); *why != '\0') now.unseen = why;
  const auto tell = [&](std::string_view change) {
    say(fmt::format("made or changed during this run, look at it before you work there: {}",
                    change));
  };
  if (const char* why = why_not([&] { tell_changes(before, now, tell); }); *why != '\0') {
    now.unseen = why;
  }
  if (now.is_whole()) return;
  const char* const silenced = why_not([&] {
    say(fmt::format(
        "not everything in {} was looked at again, so that what this run planted there is not "
        "named: {}",
        in_quotes(order.source), now.unseen));
  });
  if (*silenced == '\0') return;
  (void)why_not([&] { say("not everything that this run may have planted was looked at again"); });
}

}  // namespace sluice::launcher
