#include "launcher/probes/attempt.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace sluice::launcher::probes {

bool is_refusal(int error_number) noexcept {
  switch (error_number) {
    case EPERM:
    case EACCES:
    case ENOSYS:
    case EROFS:
    case EAFNOSUPPORT:
    case EPROTONOSUPPORT:
    case ESOCKTNOSUPPORT:
      return true;
    default:
      return false;
  }
}

std::string let_in(std::string_view name, long result, int error_number) {
  if (result >= 0) return fmt::format("{}, which worked", name);
  const char* const error = ::strerrorname_np(error_number);
  return fmt::format("{}, which answered {}", name, error == nullptr ? "an error" : error);
}

Answer refused(const Call& call) {
  const auto& a = call.arguments;
  const long result = ::syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (result < 0 && is_refusal(errno)) return held();
  return reached(let_in(call.name, result, errno));
}

Answer refused(std::initializer_list<Call> calls) {
  for (const Call& call : calls) {
    if (Answer answer = refused(call); answer.kind != Answer::Kind::held) return answer;
  }
  return held();
}

Answer cannot_open(std::initializer_list<std::string> paths, int flags) {
  for (const std::string& path : paths) {
    const int fd = ::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) continue;
    ::close(fd);
    return reached(path);
  }
  return held();
}

}  // namespace sluice::launcher::probes
