#include "launcher/top/screen.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "base/io.h"

namespace sluice::launcher {
namespace {

using Style = FrameLine::Style;

constexpr std::string_view alternate_screen = "\x1b[?1049h\x1b[?25l";
constexpr std::string_view own_screen = "\x1b[0m\x1b[?25h\x1b[?1049l";
constexpr std::array ending = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string_view colour_of(Style style) {
  switch (style) {
    case Style::title:
      return "\x1b[1m";
    case Style::heading:
      return "\x1b[7m";
    case Style::denied:
      return "\x1b[31m";
    case Style::reported:
      return "\x1b[33m";
    case Style::faint:
      return "\x1b[2m";
    case Style::plain:
      break;
  }
  return "";
}

sigset_t watched_signals() {
  sigset_t set;
  ::sigemptyset(&set);
  for (const int number : ending) ::sigaddset(&set, number);
  for (const int number : {SIGTSTP, SIGWINCH}) ::sigaddset(&set, number);
  return set;
}

int milliseconds_to(std::chrono::steady_clock::time_point until) {
  const auto left = until - std::chrono::steady_clock::now();
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<std::int64_t>(ms, 0, 60'000));
}

}  // namespace

WithColour colour_of_stdout() {
  return WithColour(::isatty(STDOUT_FILENO) == 1 && variable("NO_COLOR").empty() &&
                    variable("TERM") != "dumb");
}

std::string coloured(const FrameLine& line, WithColour colour) {
  const std::string_view begin = colour ? colour_of(line.style) : "";
  if (begin.empty()) return line.text;
  return std::string(begin) + line.text + "\x1b[0m";
}

std::string drawn(const std::vector<FrameLine>& lines, WithColour colour) {
  std::string out = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    out += (i == 0 ? "" : "\r\n") + std::string("\x1b[2K") + coloured(lines[i], colour);
  }
  return out + "\x1b[J";
}

Result<Screen> Screen::open() {
  const sigset_t watched = watched_signals();
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &watched, &before);
  Fd signals(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals) {
    auto failed = fail_errno(Errc::unavailable, "signalfd");
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return failed;
  }
  Screen screen(std::move(signals), before);
  screen.enter();
  return screen;
}

Screen::Screen(Screen&& other) noexcept
    : signals_(std::move(other.signals_)),
      before_(other.before_),
      saved_(std::exchange(other.saved_, std::nullopt)),
      is_there_(std::exchange(other.is_there_, false)) {}

Screen::~Screen() {
  leave();
  if (signals_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void Screen::enter() {
  termios now{};
  if (::tcgetattr(STDIN_FILENO, &now) == 0) {
    saved_ = now;
    now.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
    now.c_cc[VMIN] = 1;
    now.c_cc[VTIME] = 0;
    ::tcsetattr(STDIN_FILENO, TCSADRAIN, &now);
  }
  is_there_ = true;
  (void)write_all(STDOUT_FILENO, "stdout", alternate_screen);
}

// A terminal that has gone needs nothing.
void Screen::leave() noexcept {
  if (!std::exchange(is_there_, false)) return;
  (void)write_all(STDOUT_FILENO, "stdout", own_screen);
  if (saved_) ::tcsetattr(STDIN_FILENO, TCSADRAIN, &*saved_);
  saved_.reset();
}

ScreenSize Screen::size() const {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {static_cast<std::size_t>(size.ws_col - 1), size.ws_row};
}

Result<void> Screen::show(const std::vector<FrameLine>& lines) {
  return write_all(STDOUT_FILENO, "the terminal", drawn(lines, colour_of_stdout()));
}

// One that ends the process; 0 for another, which is dealt with.
int Screen::heard_signal() {
  signalfd_siginfo heard{};
  if (::read(signals_.get(), &heard, sizeof heard) != sizeof heard) return 0;
  const int number = static_cast<int>(heard.ssi_signo);
  if (std::ranges::find(ending, number) != ending.end()) return number;
  if (number == SIGTSTP) {
    leave();
    ::raise(SIGSTOP);  // until the shell lets it go on
    enter();
  }
  return 0;
}

Screen::Wake Screen::wait(std::chrono::steady_clock::time_point until) {
  std::array<pollfd, 2> waits{
      {{signals_.get(), POLLIN, 0}, {saved_ ? STDIN_FILENO : -1, POLLIN, 0}}};
  if (::poll(waits.data(), waits.size(), milliseconds_to(until)) <= 0) return {};
  if ((waits[0].revents & POLLIN) != 0) return {.signal = heard_signal()};
  char key = 0;
  if (waits[1].revents != 0 && ::read(STDIN_FILENO, &key, 1) != 1) return {.signal = SIGHUP};
  return {.key = key};
}

}  // namespace sluice::launcher
