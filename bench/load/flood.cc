// flood: what one agent notices of another that opens as many tunnels as it can.
#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "bench/load/modes.h"
#include "bench/load/plans.h"
#include "bench/load/report.h"
#include "bench/load/tunnels.h"

namespace sluice::bench {
namespace {

constexpr auto opening_limit = std::chrono::seconds(60);

// What the flooding process says once it has tried all.
struct Flooded {
  std::uint64_t open = 0;
  std::uint64_t refused = 0;
  std::uint64_t waiting = 0;  // no answer, because the proxy takes no more
  std::uint64_t errors = 0;
};

// The flooding agent, in a process of its own: its work must not delay the other's clock. Begins
// when it is told, says what came of it, holds its tunnels until it is told to end.
class Flood {
 public:
  explicit Flood(const Options& options);
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;
  ~Flood() { reap(); }

  void begin() const noexcept { (void)!::write(order_.get(), "b", 1); }
  bool has_opened() noexcept;
  const Flooded& flooded() const noexcept { return flooded_; }
  // True when every tunnel it held still echoed.
  bool end() noexcept;

 private:
  int reap() noexcept;
  [[noreturn]] static void live(const Options& options, int orders, int answers);

  Fd order_;
  Fd answer_;
  pid_t child_ = -1;
  Flooded flooded_;
  bool opened_ = false;
};

Flood::Flood(const Options& options) {
  std::array<int, 2> order{};
  std::array<int, 2> answer{};
  if (::pipe2(order.data(), O_CLOEXEC) != 0 || ::pipe2(answer.data(), O_CLOEXEC) != 0) return;
  const pid_t parent = ::getpid();
  child_ = ::fork();
  if (child_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::close(order[1]);
    live(options, order[0], answer[1]);
  }
  ::close(order[0]);
  ::close(answer[1]);
  order_.reset(order[1]);
  answer_.reset(answer[0]);
}

void Flood::live(const Options& options, int orders, int answers) {
  char byte = 0;
  if (::read(orders, &byte, 1) != 1) ::_exit(0);
  Plan plan;
  plan.scripts = ping_scripts(options);
  plan.to = destinations(options, options.flood_proxy);
  plan.concurrency = options.concurrency;
  const Loop loop;
  Tunnels tunnels(loop, std::move(plan), options.count);
  const Tunnels::Counts counts = tunnels.press(Clock::now() + opening_limit);
  if (counts.errors > 0) fmt::print(stderr, "flood: {}\n", counts.first_error);
  const Flooded flooded{counts.open, counts.refused, counts.waiting, counts.errors};
  if (::write(answers, &flooded, sizeof(flooded)) != sizeof(flooded)) ::_exit(1);
  (void)!::read(orders, &byte, 1);
  ::_exit(tunnels.try_again(ping_script(), Clock::now() + opening_limit).errors == 0 ? 0 : 1);
}

bool Flood::has_opened() noexcept {
  pollfd answer{answer_.get(), POLLIN, 0};
  if (!opened_ && ::poll(&answer, 1, 0) > 0) {
    if (::read(answer_.get(), &flooded_, sizeof(flooded_)) != sizeof(flooded_)) {
      flooded_.errors = 1;
    }
    opened_ = true;
  }
  return opened_;
}

bool Flood::end() noexcept {
  order_.reset();
  pollfd answer{answer_.get(), POLLIN, 0};
  if (::poll(&answer, 1, 60'000) != 1) return false;  // it hangs up when it ends
  const int status = reap();
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// A process that has ended by itself keeps its own status.
int Flood::reap() noexcept {
  int status = SIGKILL;
  if (child_ < 0) return status;
  char byte = 0;
  if (::read(answer_.get(), &byte, 1) != 0) ::kill(child_, SIGKILL);
  ::waitpid(std::exchange(child_, -1), &status, 0);
  return status;
}

}  // namespace

Result<int> run_flood(const Options& options) {
  Flood flood(options);
  Plan plan;
  plan.scripts = ping_scripts(options);
  plan.to = destinations(options, options.proxy);
  plan.concurrency = options.concurrency;
  plan.rate = options.rate > 0 ? options.rate : 200;
  const Loop loop;
  Load other(loop, std::move(plan));
  const Tally warm = other.measure(Clock::now() + seconds_of(options.warmup));
  const Tally alone = other.measure(Clock::now() + seconds_of(options.seconds));
  flood.begin();
  const Tally opening =
      other.measure(Clock::now() + opening_limit, [&] { return flood.has_opened(); });
  const Tally held = other.measure(Clock::now() + seconds_of(options.seconds));
  const Tally late = other.finish();
  const bool echoed = flood.end();

  Report report(options);
  report.add("alone_", alone).add("opening_", opening).add("held_", held);
  report.add("flood_open", flood.flooded().open).add("flood_refused", flood.flooded().refused);
  report.add("flood_waiting", flood.flooded().waiting);
  report.add("answered", other.answered() + flood.flooded().open);
  report.errors(warm.errors, warm.first_error).errors(late.errors, late.first_error);
  report.errors(flood.flooded().errors, "the flooding agent saw errors");
  if (!echoed) report.errors(1, "a tunnel of the flooding agent did not echo at the end");
  return report.print();
}

}  // namespace sluice::bench
