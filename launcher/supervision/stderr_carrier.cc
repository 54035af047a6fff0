#include "launcher/supervision/stderr_carrier.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <utility>

#include "launcher/supervision/carrier.h"
#include "launcher/supervision/own_lines.h"

namespace sluice::launcher {
namespace {

constexpr char mid_line = 'm';
constexpr char whole_line = 'w';

bool pass_to_caller(std::string_view bytes) { return pass_on(STDERR_FILENO, bytes); }

class Carrying {
 public:
  Carrying(Fd source, Fd supervisor)
      : source_(std::move(source)), supervisor_(std::move(supervisor)), lines_(pass_to_caller) {}

  // Its signals are blocked, as the supervisor's are: it ends with that.
  [[noreturn]] void run() {
    for (;;) {
      pollfd waits[] = {{source_.get(), POLLIN, 0},
                        {lines_.is_full() ? -1 : supervisor_.get(), POLLIN, 0}};
      const auto looked = OwnLines::Clock::now();
      if (::poll(waits, 2, ms_left()) < 0) continue;
      // The beginning of a line that is there already comes before ours.
      if (waits[0].revents != 0) hear();
      if (waits[1].revents != 0) on_word();
      lines_.tick(looked);  // theirs that came before what is due has passed
    }
  }

 private:
  // For poll(2).
  int ms_left() const {
    if (!lines_.due()) return -1;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(*lines_.due() - OwnLines::Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }

  void on_word() {
    std::array<char, longest_carried_line> word;
    const ssize_t size = ::read(supervisor_.get(), word.data(), word.size());
    if (size <= 0) ::_exit(1);
    const std::string_view said(word.data(), static_cast<std::size_t>(size));
    if (said != finish_carrying) return lines_.say(said, OwnLines::Clock::now());
    hear_rest();
    lines_.end(false);
    account_.is_mid_line = lines_.is_mid_line();
    const std::string account = account_.encode();
    ::_exit(::send(supervisor_.get(), account.data(), account.size(), MSG_NOSIGNAL) < 0 ? 1 : 0);
  }

  // What was read and passed on. Where the reader has gone, whoever writes gets SIGPIPE, as from
  // the caller's pipe.
  std::size_t hear() {
    const ssize_t size = ::read(source_.get(), chunk_.data(), chunk_.size());
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    const std::string_view said(chunk_.data(),
                                static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    account_.heard.feed(said);
    if (size <= 0 || !lines_.pass(said, pass_to_caller)) source_.reset();
    return said.size();
  }

  void hear_rest() {
    // What an accomplice outside writes to a descriptor that it was sent does not keep us here.
    int left = 0;
    if (::ioctl(source_.get(), FIONREAD, &left) != 0) left = 0;
    while (source_ && left > 0) {
      const std::size_t size = hear();
      if (size == 0) break;
      left -= static_cast<int>(size);
    }
    account_.heard.finish();
  }

  Fd source_;
  Fd supervisor_;
  OwnLines lines_;
  CarrierAccount account_;
  std::array<char, 65536> chunk_;
};

}  // namespace

std::string CarrierAccount::encode() const {
  return (is_mid_line ? mid_line : whole_line) + heard.account();
}

CarrierAccount CarrierAccount::decode(std::string_view encoded) {
  if (encoded.empty()) return {};
  return {encoded[0] == mid_line, ErofsWatch::of(encoded.substr(1))};
}

void carry_stderr(Fd source, Fd supervisor) noexcept {
  Carrying(std::move(source), std::move(supervisor)).run();
}

}  // namespace sluice::launcher
