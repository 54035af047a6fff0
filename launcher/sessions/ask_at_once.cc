#include "launcher/sessions/ask_at_once.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/fd.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

using Clock = std::chrono::steady_clock;
using Answer = Result<std::optional<std::string>>;

// A full backlog cannot be waited for with poll(2): it is tried again.
constexpr std::chrono::milliseconds retry{10};
constexpr std::size_t chunk_size = std::size_t{64} * 1024;

class Conversation {
 public:
  // `left`: bytes that all of them together may still hear.
  Conversation(const Question& question, const Patience& patience, std::size_t& left)
      : question_(&question), patience_(&patience), left_(&left) {}

  bool is_over() const noexcept { return answer_.has_value(); }
  // Takes a descriptor from begin() until is_over().
  bool has_begun() const noexcept { return bool(socket_); }
  // Else its listener's backlog was full.
  bool has_asked() const noexcept { return has_asked_; }
  int fd() const noexcept { return socket_.get(); }

  // Connects and asks.
  void begin();
  // When its socket can be read.
  void hear();
  void give_up_at(Clock::time_point now);
  Clock::time_point until() const noexcept { return until_; }
  Answer take_answer() { return std::move(*answer_); }

 private:
  void end(Answer answer) {
    answer_ = std::move(answer);
    socket_.reset();
  }

  const Question* question_;
  const Patience* patience_;
  std::size_t* left_;
  Fd socket_;
  Clock::time_point until_;
  bool has_asked_ = false;
  std::string heard_;
  std::optional<Answer> answer_;
};

void Conversation::begin() {
  if (!socket_) {
    auto opened = open_stream_socket(SOCK_NONBLOCK);
    if (!opened) return end(Failure(opened.error()));
    socket_ = std::move(*opened);
    until_ = Clock::now() + patience_->each;
  }
  const auto connected = connect_to(socket_.get(), question_->path);
  if (!connected) return end(Failure(connected.error()));
  if (*connected == Connected::nobody_listens) return end(std::optional<std::string>());
  if (*connected == Connected::later) return;
  const std::string& text = question_->text;
  const ssize_t sent = ::send(socket_.get(), text.data(), text.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return end(std::optional<std::string>(""));  // it has ended
  if (sent != static_cast<ssize_t>(text.size())) {
    return end(fail_errno(Errc::unavailable, "send"));
  }
  has_asked_ = true;
}

void Conversation::hear() {
  std::array<char, chunk_size> chunk;
  const ssize_t size = ::recv(socket_.get(), chunk.data(), chunk.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  // It ended with the question unread.
  if (size < 0 && errno == ECONNRESET && heard_.empty()) return end(std::optional<std::string>(""));
  if (size < 0) return end(fail_errno(Errc::unavailable, "recv"));
  if (size == 0) return end(std::optional<std::string>(std::move(heard_)));
  const auto more = static_cast<std::size_t>(size);
  const std::size_t largest = patience_->largest_answer;
  const bool fits = more <= *left_ && more + heard_.size() <= largest;
  if (!fits) {
    *left_ += heard_.size();
    return end(fail(Errc::unavailable,
                    fmt::format("it says more than {} bytes, or all together more than {}", largest,
                                patience_->all_answers)));
  }
  *left_ -= more;
  heard_.append(chunk.data(), more);
}

void Conversation::give_up_at(Clock::time_point now) {
  if (!has_begun() || now < until_) return;
  const double seconds = std::chrono::duration<double>(patience_->each).count();
  end(fail(Errc::unavailable, fmt::format("no answer within {:g} seconds", seconds)));
}

class Round {
 public:
  Round(const std::vector<Question>& questions, const Patience& patience)
      : most_open_(patience.most_open), left_(patience.all_answers) {
    for (const Question& question : questions) all_.emplace_back(question, patience, left_);
  }

  std::vector<Answer> run() {
    while (begin_more()) {
      // Whoever has no time left is looked at once more: this process may have stood still.
      const Clock::time_point now = Clock::now();
      wait();
      for (Conversation& one : all_) one.give_up_at(now);
    }
    std::vector<Answer> answers;
    answers.reserve(all_.size());
    for (Conversation& one : all_) answers.push_back(one.take_answer());
    return answers;
  }

 private:
  // No: all are over.
  bool begin_more() {
    auto open = static_cast<std::size_t>(std::ranges::count_if(
        all_, [](const Conversation& one) { return one.has_begun() && !one.is_over(); }));
    for (Conversation& one : all_) {
      if (one.is_over() || one.has_asked()) continue;
      if (!one.has_begun() && open == most_open_) continue;
      open += one.has_begun() ? 0 : 1;
      one.begin();
      open -= one.is_over() ? 1 : 0;
    }
    return std::ranges::any_of(all_, [](const Conversation& one) { return !one.is_over(); });
  }

  void wait() {
    std::vector<pollfd> waits;
    std::vector<Conversation*> heard;
    Clock::time_point until = Clock::time_point::max();
    for (Conversation& one : all_) {
      if (!one.has_begun()) continue;
      until = std::min(until, one.has_asked() ? one.until() : Clock::now() + retry);
      if (!one.has_asked()) continue;
      waits.push_back({one.fd(), POLLIN, 0});
      heard.push_back(&one);
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    const auto pause = std::max<std::chrono::milliseconds::rep>(left.count(), 0);
    (void)::poll(waits.data(), waits.size(), static_cast<int>(pause));
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents != 0) heard[i]->hear();
    }
  }

  const std::size_t most_open_;
  std::size_t left_;
  std::vector<Conversation> all_;
};

}  // namespace

std::vector<Answer> ask_at_once(const std::vector<Question>& questions, const Patience& patience) {
  return Round(questions, patience).run();
}

}  // namespace sluice::launcher
