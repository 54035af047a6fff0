#include "netns/datagram_count.h"

#include <utility>

namespace sluice::netns {
namespace {

constexpr std::chrono::seconds pause{10};

}  // namespace

Result<void> DatagramCount::start(Fd counter, Clock::time_point now) {
  auto adopted = RefusedUdp::adopt(std::move(counter));
  if (!adopted) return Failure(adopted.error());
  counter_ = std::move(*adopted);
  next_ = now + pause;
  return {};
}

Result<void> DatagramCount::tell(const Report& report, Clock::time_point now) {
  next_.reset();
  if (!counter_) return {};
  const auto count = counter_->read();
  if (!count) {
    counter_.reset();
    return Failure(count.error());
  }
  total_ = *count;
  next_ = now + pause;
  const Event event{Event::Kind::udp_refused, total_ - told_, {}};
  if (event.count > 0 && report(event)) told_ = total_;
  return {};
}

}  // namespace sluice::netns
