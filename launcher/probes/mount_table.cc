#include "launcher/probes/mount_table.h"

#include <algorithm>
#include <array>

#include "base/io.h"

namespace sluice::launcher::probes {
namespace {

constexpr std::size_t largest_table = std::size_t{64} * 1024 * 1024;

}  // namespace

Result<std::vector<HostMount>> read_mount_table() {
  const auto text = read_file("/proc/self/mountinfo", largest_table);
  if (!text) return Failure(text.error());
  return parse_mountinfo(*text);
}

bool has_option(const HostMount& mount, std::string_view option) {
  const std::string all = "," + mount.flags + ",";
  return all.find("," + std::string(option) + ",") != std::string::npos;
}

bool is_device_file(const HostMount& mount) {
  constexpr std::array<std::string_view, 6> nodes{"/null",   "/zero",    "/full",
                                                  "/random", "/urandom", "/tty"};
  return std::find(nodes.begin(), nodes.end(), mount.root) != nodes.end();
}

}  // namespace sluice::launcher::probes
