#include "launcher/sandbox/command_line.h"

#include <charconv>
#include <cstring>
#include <string>
#include <string_view>

#include "base/io.h"

namespace sluice::launcher {
namespace {

// proc_pid_stat(5): fields 48 to 51 are arg_start, arg_end, env_start, env_end.
constexpr int arg_start_field = 48;
constexpr std::string_view shown_name = "sluice-init";

// The number that is field `wanted`; 0 where the kernel hides it. Field 2 may hold spaces and
// brackets.
std::uintptr_t field(std::string_view stat, int wanted) {
  stat.remove_prefix(std::min(stat.rfind(')') + 2, stat.size()));
  for (int at = 3; at < wanted; ++at) stat.remove_prefix(std::min(stat.find(' ') + 1, stat.size()));
  std::uintptr_t value = 0;
  std::from_chars(stat.data(), stat.data() + stat.size(), value);
  return value;
}

}  // namespace

Result<void> forget_command_line() {
  const auto stat = read_file("/proc/self/stat", 4096);
  if (!stat) return Failure(stat.error());
  for (const int first : {arg_start_field, arg_start_field + 2}) {
    const std::uintptr_t begin = field(*stat, first);
    const std::uintptr_t end = field(*stat, first + 1);
    // An empty environment begins where it ends.
    if (begin == 0 || end < begin)
      return fail(Errc::bug, "the kernel does not say where the arguments lie");
    // NOLINTNEXTLINE(performance-no-int-to-ptr): proc(5) tells addresses as numbers.
    std::memset(reinterpret_cast<void*>(begin), 0, end - begin);
  }
  const std::uintptr_t arguments = field(*stat, arg_start_field);
  const std::size_t room = field(*stat, arg_start_field + 1) - arguments;
  if (room == 0) return {};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): as above.
  std::memcpy(reinterpret_cast<void*>(arguments), shown_name.data(),
              std::min(room - 1, shown_name.size()));
  return {};
}

}  // namespace sluice::launcher
