#include "allowlists/tools/diff_settings.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/units.h"

namespace sluice::allowlists {
namespace {

std::string text_of(std::uint32_t number) { return std::to_string(number); }
std::string text_of(std::chrono::milliseconds span) { return units::duration_text(span); }
std::string size_text(std::uint64_t bytes) { return units::bytes_text(bytes); }
std::string speed_text(std::uint64_t bytes) { return size_text(bytes) + "/s"; }

std::string text_of(const Rate& rate) {
  const auto seconds = rate.per.count();
  return fmt::format("{}/{}", rate.count, seconds == 1 ? "s" : seconds == 60 ? "m" : "h");
}

std::string text_of(const Budget& budget) {
  const auto seconds = budget.per.count();
  return fmt::format("{}/{}", size_text(budget.bytes),
                     seconds == 60     ? "minute"
                     : seconds == 3600 ? "hour"
                                       : "day");
}

// Whether `now` gives no more than `old`, neither at once nor over any longer time. Of two periods
// of the language the longer one is a multiple of the other.
bool gives_no_more(std::uint64_t now, std::chrono::seconds now_per, std::uint64_t old,
                   std::chrono::seconds old_per) {
  if (now > old) return false;
  if (old_per <= now_per) return true;
  return now <= old / static_cast<std::uint64_t>(old_per / now_per);
}

template <class T>
bool is_tighter(const T& now, const T& old) {
  return now < old;
}
bool is_tighter(const Rate& now, const Rate& old) {
  return gives_no_more(now.count, now.per, old.count, old.per);
}
bool is_tighter(const Budget& now, const Budget& old) {
  return gives_no_more(now.bytes, now.per, old.bytes, old.per);
}

class SettingsDiffer {
 public:
  void tell_limits(const Limits& old, const Limits& now) {
    tell_most("limits.connections", old.connections, now.connections);
    tell_most("limits.connects", old.connects, now.connects);
    tell_most("limits.upload", old.upload, now.upload);
    tell_most("limits.download", old.download, now.download);
    tell_most("limits.bandwidth", old.bandwidth, now.bandwidth, speed_text);
  }

  void tell_sandbox(const Sandbox& old, const Sandbox& now) {
    tell_most("sandbox.memory", old.memory, now.memory, size_text);
    if (old.swap != now.swap) tell_swap(old, now);
    tell_most("sandbox.cpus", old.cpu_thousandths, now.cpu_thousandths, units::thousandths_text);
    tell_most("sandbox.io_weight", old.io_weight, now.io_weight);
    tell_most("sandbox.pids", old.pids, now.pids);
    tell_most("sandbox.timeout", old.timeout, now.timeout);
    tell_writable("sandbox.tmpfs", old.tmpfs, now.tmpfs);
    tell_writable("sandbox.seed", old.seeds, now.seeds);
    tell_closed("sandbox.mask", "hidden", old.masks, now.masks);
    tell_closed("sandbox.protect", "read-only", old.protects, now.protects);
    if (old.requires_landlock != now.requires_landlock) {
      const auto text = [](bool required) { return required ? "true" : ""; };
      add(now.requires_landlock ? DiffChange::closes : DiffChange::opens,
          "sandbox.require_landlock", "", text(old.requires_landlock), text(now.requires_landlock));
    }
  }

  std::vector<DiffSetting> take() {
    std::stable_sort(told_.begin(), told_.end(), [](const DiffSetting& a, const DiffSetting& b) {
      return a.change < b.change;
    });
    return std::move(told_);
  }

 private:
  void add(DiffChange change, std::string_view key, std::string subject, std::string before,
           std::string after) {
    told_.push_back(
        {change, std::string(key), std::move(subject), std::move(before), std::move(after)});
  }

  template <class T, class Text>
  void tell_most(std::string_view key, const std::optional<T>& old, const std::optional<T>& now,
                 Text text) {
    if (old == now) return;
    const bool closes = now && (!old || is_tighter(*now, *old));
    add(closes ? DiffChange::closes : DiffChange::opens, key, "", old ? text(*old) : "",
        now ? text(*now) : "");
  }
  template <class T>
  void tell_most(std::string_view key, const std::optional<T>& old, const std::optional<T>& now) {
    tell_most(key, old, now, [](const T& value) { return text_of(value); });
  }

  // Beside a limit of memory no word of swap means none; without one there is no limit.
  void tell_swap(const Sandbox& old, const Sandbox& now) {
    const auto kept = [](const Sandbox& sandbox) {
      return sandbox.memory ? std::optional(sandbox.swap.value_or(0)) : sandbox.swap;
    };
    tell_most("sandbox.swap", kept(old), kept(now), size_text);
  }

  // What is not there any more may be a path that every sandbox has, with another cap: neither
  // opened nor closed.
  void tell_writable(std::string_view key, const std::vector<SizedPath>& old,
                     const std::vector<SizedPath>& now) {
    const auto at = [](const std::vector<SizedPath>& paths, const std::string& path) {
      const auto found = std::find_if(paths.begin(), paths.end(),
                                      [&](const SizedPath& one) { return one.path == path; });
      return found == paths.end() ? nullptr : &*found;
    };
    const auto text = [](const SizedPath* path) -> std::string {
      if (path == nullptr) return "";
      return path->bytes ? "at most " + size_text(*path->bytes) : "writable";
    };
    for (const SizedPath& path : now) {
      const SizedPath* const was = at(old, path.path);
      if (was != nullptr && was->bytes == path.bytes) continue;
      const bool closes = was != nullptr && path.bytes && was->bytes && *path.bytes < *was->bytes;
      add(closes ? DiffChange::closes : DiffChange::opens, key, path.path, text(was), text(&path));
    }
    for (const SizedPath& path : old) {
      if (at(now, path.path) == nullptr) add(DiffChange::changes, key, path.path, text(&path), "");
    }
  }

  void tell_closed(std::string_view key, const std::string& word,
                   const std::vector<std::string>& old, const std::vector<std::string>& now) {
    const auto has = [](const std::vector<std::string>& paths, const std::string& path) {
      return std::find(paths.begin(), paths.end(), path) != paths.end();
    };
    for (const std::string& path : old) {
      if (!has(now, path)) add(DiffChange::opens, key, path, word, "");
    }
    for (const std::string& path : now) {
      if (!has(old, path)) add(DiffChange::closes, key, path, "", word);
    }
  }

  std::vector<DiffSetting> told_;
};

}  // namespace

std::vector<DiffSetting> diff_settings(const AgentEntry& before, const AgentEntry& after) {
  SettingsDiffer differ;
  differ.tell_limits(before.limits, after.limits);
  differ.tell_sandbox(before.sandbox, after.sandbox);
  return differ.take();
}

std::string settings_key(const AgentEntry& entry) {
  std::string key;
  for (const DiffSetting& setting : diff_settings({}, entry)) {
    key += fmt::format("{} {}\n{}\n", setting.key, setting.subject, setting.after);
  }
  return key;
}

}  // namespace sluice::allowlists
