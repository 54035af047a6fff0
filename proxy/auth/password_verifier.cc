#include "proxy/auth/password_verifier.h"

#include <crypt.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

#include "base/text.h"
#include "proxy/auth/password_hash.h"
#include "proxy/auth/proof_cache.h"
#include "proxy/auth/try_limit.h"

namespace sluice::proxy {
namespace {

// Callers that wait for the same answer.
constexpr std::size_t most_waiting = 1024;

// One caller that waits. Touched on its own io_context only; the thread just posts there.
struct Wait {
  explicit Wait(asio::io_context& io) : timer(io, Clock::time_point::max()) {}
  Timer timer;
  std::optional<Proof> proof;
};

struct Question {
  PairDigest digest{};
  wire::Credentials credentials;
  IpAddress from;
  std::vector<std::shared_ptr<Wait>> waits;
};

void tell(const std::shared_ptr<Wait>& wait, Proof proof) {
  const std::weak_ptr<Wait> weak = wait;
  asio::post(wait->timer.get_executor(), [weak, proof] {
    const auto still = weak.lock();
    if (!still) return;
    still->proof = proof;
    still->timer.cancel();
  });
}

}  // namespace

class PasswordVerifier::State {
 public:
  State(Users users, const PasswordRules& rules, PairKey key)
      : rules_(rules),
        key_(std::move(key)),
        users_(std::move(users)),
        cache_(rules.cached, rules.cached_for),
        tries_({rules.tries, rules.new_try_each, rules.addresses}) {
    std::sort(users_.begin(), users_.end());
    thread_ = std::thread([this] { run(); });
  }

  // Nothing: `wait` is told.
  std::optional<Proof> ask(wire::Credentials credentials, const IpAddress& from,
                           const std::shared_ptr<Wait>& wait);
  // Whoever waits ends before its io_context does, and says so here.
  void leave(const std::shared_ptr<Wait>& wait) noexcept;
  void stop();
  std::uint64_t hashed() const noexcept { return hashed_; }

 private:
  void run();
  bool is_right(const Question& question, crypt_data& scratch);
  void settle(Question& question, Proof proof);

  const PasswordRules rules_;
  const PairKey key_;
  Users users_;  // by name
  std::atomic<std::uint64_t> hashed_{0};

  std::mutex mutex_;  // guards what follows
  std::condition_variable asked_;
  bool stopping_ = false;
  ProofCache cache_;
  TryLimit tries_;
  std::unordered_map<PairDigest, std::shared_ptr<Question>, HashOfDigest> open_;
  std::deque<std::shared_ptr<Question>> queue_;  // of the open ones, those not begun

  std::thread thread_;
};

std::optional<Proof> PasswordVerifier::State::ask(wire::Credentials credentials,
                                                  const IpAddress& from,
                                                  const std::shared_ptr<Wait>& wait) {
  const auto digest = key_.digest(credentials);
  const auto now = Clock::now();
  const std::scoped_lock lock(mutex_);
  if (stopping_) return Proof::busy;
  if (digest && cache_.has(*digest, now)) return Proof::right;
  if (!digest) return tries_.take(from, now) ? Proof::wrong : Proof::too_many_tries;
  if (const auto same = open_.find(*digest); same != open_.end()) {
    auto& waits = same->second->waits;
    if (waits.size() >= most_waiting) return Proof::busy;
    waits.push_back(wait);
    return std::nullopt;
  }
  if (queue_.size() >= rules_.queue) return Proof::busy;
  if (!tries_.take(from, now)) return Proof::too_many_tries;
  auto question = std::make_shared<Question>(
      Question{*digest, std::move(credentials), from, std::vector{wait}});
  open_.emplace(*digest, question);
  queue_.push_back(std::move(question));
  asked_.notify_one();
  return std::nullopt;
}

void PasswordVerifier::State::leave(const std::shared_ptr<Wait>& wait) noexcept {
  const std::scoped_lock lock(mutex_);
  for (const auto& [digest, question] : open_) std::erase(question->waits, wait);
}

// A name that nobody has costs as much as one that somebody has: always the same user's hash is
// computed for it, chosen by a digest, and never matches.
bool PasswordVerifier::State::is_right(const Question& question, crypt_data& scratch) {
  const std::string& name = question.credentials.user;
  const auto found = std::lower_bound(
      users_.begin(), users_.end(), name,
      [](const auto& user, const std::string& wanted) { return user.first < wanted; });
  const bool known = found != users_.end() && found->first == name;
  const auto of_name = key_.digest({name, wire::Secret()});
  const std::size_t other = (of_name ? HashOfDigest()(*of_name) : 0) % users_.size();
  ++hashed_;
  const std::string& hash = known ? found->second : users_[other].second;
  return matches(question.credentials.password, hash, scratch) && known;
}

void PasswordVerifier::State::settle(Question& question, Proof proof) {
  for (const auto& wait : question.waits) tell(wait, proof);
  question.waits.clear();
  open_.erase(question.digest);
}

void PasswordVerifier::State::run() {
  const auto scratch = std::make_unique<crypt_data>();
  std::unique_lock lock(mutex_);
  for (;;) {
    asked_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    const std::shared_ptr<Question> question = std::move(queue_.front());
    queue_.pop_front();
    bool right = false;
    if (!question->waits.empty()) {  // else all who asked are gone
      lock.unlock();
      right = is_right(*question, *scratch);
      question->credentials.password.wipe();
      lock.lock();
    }
    if (right) {
      const auto now = Clock::now();
      cache_.add(question->digest, now);
      tries_.give_back(question->from, now);
    }
    settle(*question, right ? Proof::right : Proof::wrong);
  }
}

void PasswordVerifier::State::stop() {
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
  const std::scoped_lock lock(mutex_);
  queue_.clear();
  while (!open_.empty()) {
    const std::shared_ptr<Question> question = open_.begin()->second;
    settle(*question, Proof::busy);
  }
}

PasswordVerifier::PasswordVerifier(std::shared_ptr<State> state) noexcept
    : state_(std::move(state)) {}
// Nobody may wait on: without memory to say so, sluiced ends.
// NOLINTNEXTLINE(bugprone-exception-escape)
PasswordVerifier::~PasswordVerifier() { state_->stop(); }

Result<std::unique_ptr<PasswordVerifier>> PasswordVerifier::create(Users users,
                                                                   PasswordRules rules) {
  if (users.empty()) {
    return fail(Errc::bad_config, "there is no user who could show a password",
                "name at least one under 'users:'");
  }
  std::sort(users.begin(), users.end());
  for (std::size_t i = 0; i < users.size(); ++i) {
    const auto& [name, hash] = users[i];
    if (i > 0 && users[i - 1].first == name) {
      return fail(Errc::bad_config, fmt::format("user '{}' is named twice", text::printable(name)),
                  "leave one of both out");
    }
    if (auto good = check_password_hash(name, hash); !good) return Failure(good.error());
  }
  auto key = PairKey::draw();
  if (!key) return fail(Errc::unavailable, "the system has no random bytes");
  return std::unique_ptr<PasswordVerifier>(
      new PasswordVerifier(std::make_shared<State>(std::move(users), rules, std::move(*key))));
}

std::uint64_t PasswordVerifier::hashed() const noexcept { return state_->hashed(); }

Task<Proof> PasswordVerifier::verify(asio::io_context& io, wire::Credentials credentials,
                                     IpAddress from) {
  struct Leaving {
    ~Leaving() { state->leave(wait); }
    std::shared_ptr<State> state;
    std::shared_ptr<Wait> wait;
  };
  const auto wait = std::make_shared<Wait>(io);
  const std::shared_ptr<State> state = state_;
  const auto known = state->ask(std::move(credentials), from, wait);
  if (known) co_return *known;
  const Leaving leaving{state, wait};
  while (!wait->proof) {
    const auto [cancelled] = co_await wait->timer.async_wait();
    if (cancelled && !wait->proof) co_return Proof::busy;
  }
  co_return *wait->proof;
}

}  // namespace sluice::proxy
