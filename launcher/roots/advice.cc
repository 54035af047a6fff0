#include "launcher/roots/advice.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>

#include "base/text.h"
#include "launcher/options.h"

namespace sluice::launcher {
namespace {

constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
constexpr std::uint64_t least_mebibytes = 16;
constexpr std::size_t few = 5;  // directories, that are a short answer
constexpr std::uint64_t page = 4096;

std::size_t depth_of(const std::string& path) {
  return static_cast<std::size_t>(std::count(path.begin(), path.end(), '/'));
}

// The directory at `depth` that `path` is or lies in; "" where it lies higher.
std::string prefix_of(const std::string& path, std::size_t depth) {
  std::size_t end = 0;
  for (; depth > 0 && end != std::string::npos; --depth) end = path.find('/', end + 1);
  return depth > 0 ? "" : path.substr(0, end);
}

// The deepest first, so that no more is copied than makes the answer short.
std::vector<Written> brought_together(std::vector<Written> places, const LookAtRoot& look) {
  std::size_t depth = 0;
  for (const Written& place : places) depth = std::max(depth, depth_of(place.directory));
  while (depth > 1 && places.size() > few) {
    --depth;
    for (std::size_t begin = 0, end = 0; begin < places.size(); begin = end) {
      const std::string prefix = prefix_of(places[begin].directory, depth);
      for (end = begin + 1; end < places.size(); ++end) {
        if (prefix_of(places[end].directory, depth) != prefix) break;
      }
      if (end - begin == 1 || prefix.empty() || look(prefix).is_more) continue;
      for (std::size_t i = begin; i < end; ++i) places[i].directory = prefix;
    }
    places = without_nested(std::move(places));
  }
  return places;
}

std::uint64_t size_for(const Written& place, const Existing& existing) {
  const std::uint64_t inodes = existing.entries + place.entries + 1;
  // Each file may end in the middle of a page.
  const std::uint64_t data = existing.bytes + place.bytes + place.files * page;
  const std::uint64_t wanted = 2 * std::max(data, inodes * page);
  const std::uint64_t mebibytes = (wanted + mebibyte - 1) / mebibyte;
  return std::bit_ceil(std::max(mebibytes, least_mebibytes)) * mebibyte;
}

// As both a shell's word and YAML's scalar once it is in quotes, and as an option is read.
bool can_be_written(const std::string& path) {
  return path.find(':') == std::string::npos && path.find('\\') == std::string::npos &&
         text::printable(path) == path;
}

void judge(const Written& place, const Root& root, const LookAtRoot& look, Advice& advice) {
  const std::string& path = place.directory;
  if (path == "/") {
    advice.cannot.push_back({path, "files of '/' itself stay as they are"});
    return;
  }
  if (place.is_missing && root.is_host()) {
    advice.cannot.push_back({path, "the machine has no such directory to mount on"});
    return;
  }
  if (!can_be_written(path)) {
    advice.cannot.push_back({path, "its name cannot be written in an option"});
    return;
  }
  Existing existing = place.is_missing ? Existing{} : look(path);
  Allowance allowance{.path = path};
  allowance.hides = existing.is_more;
  if (existing.is_more && !place.is_all_new) {
    advice.cannot.push_back({path, "what the root has there is too much to copy"});
    return;
  }
  if (existing.is_more) existing = {};
  if (existing.entries > 0) allowance.kind = Allowance::Kind::seed;
  allowance.bytes = size_for(place, existing);
  advice.allow.push_back(std::move(allowance));
}

}  // namespace

const std::vector<std::string>& own_files_of_a_read_only_root() {
  static const std::vector<std::string> files{"/etc/hosts",       "/etc/hostname",
                                              "/etc/resolv.conf", "/etc/nsswitch.conf",
                                              "/etc/passwd",      "/etc/group"};
  return files;
}

Advice advise(WrittenTree tree, const Root& root, const LookAtRoot& look) {
  Advice advice;
  advice.has_other_owners = tree.has_other_owners;
  advice.untold = tree.untold;
  advice.unseen = std::move(tree.unseen);
  advice.written = brought_together(std::move(tree.places), look);
  keep_largest(advice.written, advice.untold);
  for (const Written& place : advice.written) judge(place, root, look, advice);
  for (const std::string& file : tree.files) {
    advice.cannot.push_back({file, "it is the sandbox's own under a read-only root"});
  }
  return advice;
}

}  // namespace sluice::launcher
