// Runs probes in a child that has enclosed itself, and tells what they found.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "proxy/daemon/enclose.h"

namespace sluice::proxy {

inline constexpr uid_t test_uid = 1895890943;

// For whoever runs the test.
Enclosure enclosure();

// What a child found wrong, one sentence a line.
class Report {
 public:
  explicit Report(int fd) : fd_(fd) {}
  void say(std::string_view sentence);
  void want(bool holds, std::string_view sentence);
  // `result` is what a system call answered just before.
  void refused(std::string_view name, long result, int error_number);

 private:
  int fd_;
};

struct Pipe {
  Pipe();
  Fd reader;
  Fd writer;
};

struct Outcome {
  std::string report;
  int status = 0;  // waitpid(2)
};

using Body = std::function<void(Report&)>;

// Runs `body` in a child and waits for its end.
Outcome in_child(const Body& body);
// The same in an enclosed child: it must find nothing wrong, or be killed by a signal.
void expect_holds(const Body& body);
void expect_killed(const Body& body);

sockaddr_in loopback();
inline const sockaddr* any(const sockaddr_in& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}
// A socket on a free port of 127.0.0.1, as one that was handed over.
Fd bound(int type, sockaddr_in& address);

}  // namespace sluice::proxy
