// Takes connections off a listener, several at a turn, until it is closed.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "proxy/worker.h"

namespace sluice::proxy {

// Whose listeners they are: another user's may be changed by that user while they are served.
enum class Trust : std::uint8_t { own, foreign };

// One listener as one thread sees it.
class Intake {
 public:
  explicit Intake(Worker& worker, Trust trust = Trust::own)
      : worker_(worker), trust_(trust), acceptor_(worker.io) {}
  virtual ~Intake() = default;
  Intake(const Intake&) = delete;
  Intake& operator=(const Intake&) = delete;

  // Duplicates the descriptor; the kernel's listener is shared. Control thread, before serve().
  Result<void> open(int listener);
  // Accepts until close(). Pauses while it is full, and where accepting fails: whoever connects
  // meanwhile waits in the kernel's backlog.
  static Task<void> serve(std::shared_ptr<Intake> self);
  void close() noexcept;

  // Of the duplicate.
  int fd() noexcept { return acceptor_.native_handle(); }

 protected:
  Worker& worker() const noexcept { return worker_; }

 private:
  // Nobody more can be served now.
  virtual bool is_full() const noexcept = 0;
  // Where it throws, the connection is closed.
  virtual void take(Socket socket, const IpAddress& from) = 0;
  // "a connection on 10.1.0.1:3128"
  virtual std::string what() const = 0;

  enum class Then : std::uint8_t { wait, look_again, rest, recover };
  Then take_some() noexcept;
  Then take_one() noexcept;
  // One that would wait for ever is closed.
  Fd accept(TcpEndpoint& from);
  Then explain_failure(int error) const noexcept;

  Worker& worker_;
  const Trust trust_;
  Acceptor acceptor_;
};

}  // namespace sluice::proxy
