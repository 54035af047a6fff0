// bulk: one direction of some tunnels at full speed.
#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>

#include "bench/load/modes.h"
#include "bench/load/plans.h"
#include "bench/load/report.h"
#include "bench/load/sockets.h"
#include "bench/load/tunnels.h"

namespace sluice::bench {
namespace {

constexpr auto opening_limit = std::chrono::seconds(20);
constexpr auto moving_limit = std::chrono::seconds(120);

// The payload of one tunnel.
class Transfer : public Watcher {
 public:
  struct What {
    const Loop& loop;
    Payload& payload;
    Direction direction;
    std::uint64_t bytes;
  };
  Transfer(const What& what, int fd) : what_(what), fd_(fd), left_(what.bytes) {}

  void begin() {
    const bool down = what_.direction == Direction::down;
    if (down && !send_all(fd_, std::string_view(&source_go, 1))) return end("cannot send");
    what_.loop.change(fd_, down ? EPOLLIN : EPOLLOUT, *this);
  }

  void ready(std::uint32_t) override {
    if (over_) return;
    if (left_ == 0) return hear_done();
    const Payload::Moved moved = what_.direction == Direction::down
                                     ? what_.payload.receive(fd_, at_, left_)
                                     : what_.payload.send(fd_, at_, left_);
    if (!moved) return end(fmt::format("broken or wrong near byte {}", at_));
    at_ += *moved;
    left_ -= *moved;
    if (left_ > 0) return;
    if (what_.direction == Direction::down) return end({});
    what_.loop.change(fd_, EPOLLIN, *this);
  }

  std::uint64_t moved() const noexcept { return at_; }
  bool over() const noexcept { return over_; }
  const std::string& wrong() const noexcept { return wrong_; }

 private:
  // The origin has read, counted and sampled all of it.
  void hear_done() {
    char byte = 0;
    const bool right = ::recv(fd_, &byte, 1, 0) == 1 && byte == sink_done;
    end(right ? "" : "the origin did not get what was sent");
  }
  void end(std::string wrong) {
    over_ = true;
    wrong_ = std::move(wrong);
    what_.loop.change(fd_, 0, *this);
  }

  const What& what_;
  const int fd_;
  std::uint64_t at_ = 0;
  std::uint64_t left_;
  bool over_ = false;
  std::string wrong_;
};

Plan opening(const Options& options) {
  Plan plan;
  const bool down = options.direction == Direction::down;
  for (Way& way : ways(options)) {
    Script script = std::move(way.open);
    const std::string order_said = order(down ? order_source : order_sink, options.bytes);
    script.push_back({way.prefix + order_said, Expect::ready});
    plan.scripts.push_back(std::move(script));
  }
  plan.to = destinations(options, options.proxy);
  plan.concurrency = options.streams;
  return plan;
}

// What is seen after the last byte: a byte too many in a tunnel would stand before its echo.
Tunnels::Counts echo(const Loop& loop, Tunnels& tunnels) {
  for (const auto& visit : tunnels.all()) {
    if (visit->is_open()) {
      loop.change(visit->fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, *visit);
    }
  }
  return tunnels.try_again(ping_script(), Clock::now() + opening_limit);
}

using Transfers = std::vector<std::unique_ptr<Transfer>>;

void move_all(const Loop& loop, const Transfers& transfers) {
  const Clock::time_point limit = Clock::now() + moving_limit;
  for (const auto& transfer : transfers) transfer->begin();
  const auto over = [](const auto& transfer) { return transfer->over(); };
  while (!std::all_of(transfers.begin(), transfers.end(), over) && Clock::now() < limit) {
    loop.run_once(Clock::now() + std::chrono::milliseconds(50));
  }
}

// Counts what came; adds errors to the report.
std::uint64_t account(const Transfers& transfers, Report& report) {
  std::uint64_t bytes = 0;
  for (const auto& transfer : transfers) {
    bytes += transfer->moved();
    if (!transfer->over()) report.errors(1, "not at its end in time");
    if (!transfer->wrong().empty()) report.errors(1, transfer->wrong());
  }
  return bytes;
}

}  // namespace

Result<int> run_bulk(const Options& options) {
  auto payload = Payload::make();
  if (!payload) return Failure(payload.error());
  const Loop loop;
  Tunnels tunnels(loop, opening(options), options.streams);
  const Tunnels::Counts opened = tunnels.open(Clock::now() + opening_limit);
  Report report(options);
  report.errors(opened.errors + opened.refused, opened.first_error);

  const Transfer::What what{loop, *payload, options.direction, options.bytes};
  Transfers transfers;
  for (const auto& visit : tunnels.all()) {
    if (visit->is_open()) transfers.push_back(std::make_unique<Transfer>(what, visit->fd()));
  }
  const ProcessTree proxy(options.pids);
  const ProcessorTime before = proxy.processor_time();
  const Clock::time_point began = Clock::now();
  move_all(loop, transfers);
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  const ProcessorTime used = proxy.processor_time() - before;
  const std::uint64_t bytes = account(transfers, report);
  const Tunnels::Counts echoed = echo(loop, tunnels);

  const double gib = static_cast<double>(bytes) / static_cast<double>(std::uint64_t{1} << 30);
  report.add("bytes", bytes).add("streams", std::uint64_t{options.streams});
  report.add("seconds", seconds).add("gbit_per_s", static_cast<double>(bytes) * 8e-9 / seconds);
  report.add(used).add("cpu_s_per_gib", gib > 0 ? used.sum() / gib : 0);
  report.add("answered", opened.open);
  report.errors(echoed.errors, echoed.first_error);
  return report.print();
}

}  // namespace sluice::bench
