#include "launcher/probes/mount_table.h"

#include <algorithm>
#include <array>

#include "base/io.h"

namespace sluice::launcher::probes {
namespace {

constexpr std::size_t largest_table = std::size_t{64} * 1024 * 1024;

std::vector<std::string_view> words(std::string_view line) {
  std::vector<std::string_view> all;
  while (!line.empty()) {
    const std::size_t space = std::min(line.find(' '), line.size());
    if (space > 0) all.push_back(line.substr(0, space));
    line.remove_prefix(std::min(space + 1, line.size()));
  }
  return all;
}

}  // namespace

bool MountLine::has(std::string_view option) const {
  const std::string all = "," + options + ",";
  return all.find("," + std::string(option) + ",") != std::string::npos;
}

std::vector<MountLine> parse_mount_table(std::string_view text) {
  std::vector<MountLine> mounts;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto all = words(line);
    constexpr std::size_t before_tags = 6;
    const auto dash = std::find(all.begin(), all.end(), "-");
    if (all.size() <= before_tags || dash == all.end() || dash + 1 == all.end()) continue;
    mounts.push_back(
        {std::string(all[3]), std::string(all[4]), std::string(all[5]), std::string(*(dash + 1))});
  }
  return mounts;
}

Result<std::vector<MountLine>> read_mount_table() {
  const auto text = read_file("/proc/self/mountinfo", largest_table);
  if (!text) return Failure(text.error());
  return parse_mount_table(*text);
}

bool is_device_file(const MountLine& mount) {
  constexpr std::array<std::string_view, 6> nodes{"/null",   "/zero",    "/full",
                                                  "/random", "/urandom", "/tty"};
  return std::find(nodes.begin(), nodes.end(), mount.root) != nodes.end();
}

}  // namespace sluice::launcher::probes
