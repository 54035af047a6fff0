#include "base/io.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace sluice {

Result<std::string> read_fd(int fd, std::string_view name, std::size_t limit) {
  std::string bytes;
  std::array<char, 16384> chunk;
  for (;;) {
    const ssize_t size = ::read(fd, chunk.data(), chunk.size());
    if (size == 0) return bytes;
    if (size < 0) {
      if (errno == EINTR) continue;
      return fail_errno(Errc::unavailable, fmt::format("cannot read '{}'", name));
    }
    bytes.append(chunk.data(), static_cast<std::size_t>(size));
    if (bytes.size() > limit) {
      return fail(Errc::bad_config, fmt::format("'{}' is larger than {} bytes", name, limit),
                  "name a smaller file");
    }
  }
}

Result<std::string> read_file(const std::string& path, std::size_t limit) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer.
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(Errc::unavailable, fmt::format("cannot open '{}'", path));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0)
    return fail_errno(Errc::unavailable, fmt::format("'{}'", path));
  if (!S_ISREG(status.st_mode)) {
    return fail(Errc::bad_config, fmt::format("'{}' is no regular file", path), "name a file");
  }
  return read_fd(fd.get(), path, limit);
}

Result<void> write_all(int fd, std::string_view name, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd, bytes.data(), bytes.size());
    if (size < 0) {
      if (errno == EINTR) continue;
      return fail_errno(Errc::unavailable, fmt::format("cannot write '{}'", name));
    }
    bytes.remove_prefix(static_cast<std::size_t>(size));
  }
  return {};
}

Result<void> write_file(const std::string& path, std::string_view bytes) {
  const Fd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd)
    return fail_errno(Errc::not_permitted, fmt::format("cannot open '{}' for writing", path));
  return write_all(fd.get(), path, bytes);
}

Result<Fd> sealed_memfd(const char* name, std::string_view bytes) {
  Fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) return fail_errno(Errc::unavailable, "memfd_create");
  if (auto written = write_all(fd.get(), name, bytes); !written) return Failure(written.error());
  constexpr int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (::fcntl(fd.get(), F_ADD_SEALS, seals) != 0)
    return fail_errno(Errc::unavailable, "F_ADD_SEALS");
  if (::lseek(fd.get(), 0, SEEK_SET) != 0) return fail_errno(Errc::unavailable, "lseek");
  return fd;
}

}  // namespace sluice
