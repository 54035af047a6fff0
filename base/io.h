// Whole reads and writes on descriptors, with errors that name the file.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice {

// Reads a regular file to its end; more than `limit` bytes is an error, and so is anything that is
// no regular file, without waiting for it.
Result<std::string> read_file(const std::string& path, std::size_t limit);
// The same for an open file, pipe or socket.
Result<std::string> read_fd(int fd, std::string_view name, std::size_t limit);

// Writes all of `bytes`, through short writes and EINTR.
Result<void> write_all(int fd, std::string_view name, std::string_view bytes);

// open(2) for writing, write_all, close: for the small files of /proc and cgroupfs.
Result<void> write_file(const std::string& path, std::string_view bytes);

// A memfd with `bytes` in it, sealed against every change (memfd_create(2), F_ADD_SEALS).
Result<Fd> sealed_memfd(const char* name, std::string_view bytes);

}  // namespace sluice
