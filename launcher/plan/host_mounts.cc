#include "launcher/plan/host_mounts.h"

#include <algorithm>

#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

std::string_view next_word(std::string_view& line) {
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(std::min(word.size() + 1, line.size()));
  return word;
}

bool is_octal(char c) { return c >= '0' && c <= '7'; }

// "\040" is a space (proc_pid_mountinfo(5)).
std::string unescape(std::string_view word) {
  std::string text;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const bool escape = word[i] == '\\' && i + 3 < word.size() && is_octal(word[i + 1]) &&
                        is_octal(word[i + 2]) && is_octal(word[i + 3]);
    if (!escape) {
      text += word[i];
      continue;
    }
    text +=
        static_cast<char>((word[i + 1] - '0') * 64 + (word[i + 2] - '0') * 8 + (word[i + 3] - '0'));
    i += 3;
  }
  return text;
}

// The part of `path` below `directory`, which is at or above it: "" or "/rest".
std::string below(const std::string& path, const std::string& directory) {
  return path.substr(directory == "/" ? 0 : directory.size());
}

std::string join(const std::string& directory, const std::string& rest) {
  return absolute(directory + "/" + rest);
}

// The mount that shows `path`: the last of the deepest at or above it.
const HostMount* showing(const std::vector<HostMount>& mounts, const std::string& path) {
  const HostMount* deepest = nullptr;
  for (const HostMount& mount : mounts) {
    if (!is_at_or_below(path, mount.point)) continue;
    if (deepest == nullptr || mount.point.size() >= deepest->point.size()) deepest = &mount;
  }
  return deepest;
}

}  // namespace

std::vector<HostMount> parse_mountinfo(std::string_view table) {
  std::vector<HostMount> mounts;
  while (!table.empty()) {
    std::string_view line = table.substr(0, table.find('\n'));
    table.remove_prefix(std::min(line.size() + 1, table.size()));
    next_word(line);  // mount id
    next_word(line);  // parent id
    HostMount mount;
    mount.device = next_word(line);
    mount.root = unescape(next_word(line));
    mount.point = unescape(next_word(line));
    mount.flags = next_word(line);
    // Any number of tags come before the dash.
    while (!line.empty() && next_word(line) != "-") {
    }
    mount.type = next_word(line);
    next_word(line);  // source
    mount.options = next_word(line);
    if (mount.root.starts_with('/') && mount.point.starts_with('/'))
      mounts.push_back(std::move(mount));
  }
  return mounts;
}

std::vector<std::string> other_paths(const std::vector<HostMount>& mounts,
                                     const std::string& path) {
  const HostMount* const own = showing(mounts, path);
  if (own == nullptr) return {};
  const std::string inside = join(own->root, below(path, own->point));
  std::vector<std::string> paths;
  for (const HostMount& mount : mounts) {
    if (mount.device != own->device) continue;
    std::string other;
    if (is_at_or_below(inside, mount.root)) {
      other = join(mount.point, below(inside, mount.root));
    } else if (is_at_or_below(mount.root, inside)) {
      other = mount.point;
    }
    if (!other.empty() && other != path && !is_at_or_below(other, path))
      paths.push_back(std::move(other));
  }
  std::sort(paths.begin(), paths.end());
  paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
  return paths;
}

}  // namespace sluice::launcher
