// The listening socket an embedded proxy answers `ps`, `top` and `logs` on; its name reserves the
// agent's.
#pragma once

#include <string>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

class AdminSocket {
 public:
  // DIRECTORY/AGENT.sock. The directory is made with mode 0700 and must belong to the caller. A
  // socket that answers means that the name is taken; one that nobody listens on is replaced.
  static Result<AdminSocket> listen(const std::string& directory, const std::string& agent);

  AdminSocket(AdminSocket&& other) noexcept;
  AdminSocket(const AdminSocket&) = delete;
  AdminSocket& operator=(const AdminSocket&) = delete;
  AdminSocket& operator=(AdminSocket&&) = delete;
  ~AdminSocket();

  int fd() const noexcept { return socket_.get(); }

 private:
  AdminSocket(std::string path, Fd socket) : path_(std::move(path)), socket_(std::move(socket)) {}
  std::string path_;
  Fd socket_;
};

}  // namespace sluice::launcher
