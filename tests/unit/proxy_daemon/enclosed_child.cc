#include "tests/unit/proxy_daemon/enclosed_child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"

namespace sluice::proxy {

Enclosure enclosure() { return ::geteuid() == 0 ? Enclosure{test_uid} : Enclosure{}; }

void Report::say(std::string_view sentence) {
  (void)write_all(fd_, "report", fmt::format("{}\n", sentence));
}

void Report::want(bool holds, std::string_view sentence) {
  if (!holds) say(fmt::format("{} (errno {})", sentence, errno));
}

void Report::refused(std::string_view name, long result, int error_number) {
  const int found = errno;
  if (result >= 0) return say(fmt::format("{} was allowed", name));
  if (found != error_number) say(fmt::format("{}: errno {}, not {}", name, found, error_number));
}

Pipe::Pipe() {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  reader.reset(ends[0]);
  writer.reset(ends[1]);
}

Outcome in_child(const Body& body) {
  Pipe pipe;
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(60);
    Report report(pipe.writer.get());
    body(report);
    ::_exit(0);
  }
  pipe.writer.reset();
  Outcome outcome;
  outcome.report = read_fd(pipe.reader.get(), "report", 1 << 20).value_or("");
  EXPECT_EQ(::waitpid(child, &outcome.status, 0), child);
  return outcome;
}

static Outcome enclosed(const Body& body) {
  return in_child([&](Report& report) {
    if (const auto closed = enclose(enclosure()); !closed)
      return report.say(to_string(closed.error()));
    body(report);
  });
}

void expect_holds(const Body& body) {
  const Outcome outcome = enclosed(body);
  EXPECT_EQ(outcome.report, "");
  EXPECT_TRUE(WIFEXITED(outcome.status)) << "status " << outcome.status;
}

void expect_killed(const Body& body) {
  const Outcome outcome = enclosed([&](Report& report) {
    body(report);
    report.say("lived on");
  });
  EXPECT_EQ(outcome.report, "");
  EXPECT_TRUE(WIFSIGNALED(outcome.status)) << "status " << outcome.status;
}

sockaddr_in loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

Fd bound(int type, sockaddr_in& address) {
  Fd socket(::socket(AF_INET, type | SOCK_CLOEXEC, 0));
  address = loopback();
  EXPECT_EQ(::bind(socket.get(), any(address), sizeof address), 0);
  if (type == SOCK_STREAM) {
    EXPECT_EQ(::listen(socket.get(), 8), 0);
  }
  socklen_t size = sizeof address;
  EXPECT_EQ(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return socket;
}

}  // namespace sluice::proxy
