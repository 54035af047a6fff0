#include "launcher/roots/layer_watch.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/io.h"
#include "base/pipe.h"
#include "launcher/roots/layer_room.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"

namespace sluice::launcher {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t most_said = 4096;
constexpr char ready = 'r';
constexpr char failed = 'f';  // then why
constexpr int look_each_ms = 100;
constexpr int rest_per_look = 10;  // times as long as a look at the whole layer took

// What closes a directory to its owner does not close it to this process.
Result<void> enter_namespace(const std::optional<SubIds>& ids) {
  return ids ? enter_sub_ids(*ids) : nest_user_namespace(::geteuid(), ::getegid());
}

class Watcher {
 public:
  Watcher(int upper, std::uint64_t bytes) : upper_(upper), bytes_(bytes) {}

  // "" while the agent may go on.
  std::string look() {
    const auto room = room_of(upper_);
    if (!room) return room.error().what;
    if (std::string lacking = without_room(*room); !lacking.empty()) {
      return "the agent was ended: " + lacking;
    }
    const std::uint64_t written = free_ > room->bytes ? free_ - room->bytes : 0;
    if (Clock::now() < next_ && written < left_) return {};
    const auto began = Clock::now();
    const auto use = measure_layer(upper_, bytes_);
    if (!use) return use.error().what;
    free_ = room->bytes;
    left_ = bytes_ - std::min(use->bytes, bytes_);
    next_ = Clock::now() + (Clock::now() - began) * rest_per_look;
    return over_cap(*use, bytes_);
  }

 private:
  int upper_;
  std::uint64_t bytes_;
  std::uint64_t free_ = 0;  // of the file system, when the layer was looked at
  std::uint64_t left_ = 0;  // to the cap, then
  Clock::time_point next_{};
};

// Until there is something to say, or nobody to whom.
std::string watch(int upper, std::uint64_t bytes, int say) {
  Watcher watcher(upper, bytes);
  for (;;) {
    std::string why = watcher.look();
    if (!why.empty()) return why;
    pollfd reader{say, 0, 0};
    if (::poll(&reader, 1, look_each_ms) > 0) return {};
  }
}

[[noreturn]] void be_watcher(int upper, std::uint64_t bytes, const std::optional<SubIds>& ids,
                             int say) {
  auto fenced = enter_namespace(ids);
  if (fenced) fenced = die_with_parent();
  if (fenced) fenced = close_all_but({upper, say});
  const std::string word = fenced ? std::string(1, ready) : failed + fenced.error().what;
  if (!write_all(say, "the watch", word) || !fenced) ::_exit(1);
  ::_exit(write_all(say, "the watch", watch(upper, bytes, say)) ? 0 : 1);
}

}  // namespace

Result<LayerWatch> LayerWatch::start(int upper, std::uint64_t bytes,
                                     const std::optional<SubIds>& ids) {
  auto pipe = make_pipe();
  if (!pipe) return Failure(pipe.error());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) {
    pipe->read_end.reset();
    be_watcher(upper, bytes, ids, pipe->write_end.get());
  }
  pipe->write_end.reset();
  LayerWatch watch(pid, std::move(pipe->read_end));
  char word = 0;
  ssize_t size = 0;
  do {
    size = ::read(watch.said_.get(), &word, 1);
  } while (size < 0 && errno == EINTR);
  if (size == 1 && word == ready) return watch;
  return fail(Errc::not_permitted, "the overlay cannot be watched: " + watch.why(),
              "'sluice doctor' says what user namespaces need here");
}

LayerWatch::~LayerWatch() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void LayerWatch::on_child(pid_t pid) noexcept {
  if (pid == pid_) pid_ = -1;
}

std::string LayerWatch::why() const {
  const auto text = read_fd(said_.get(), "the watch", most_said);
  if (text && !text->empty()) return *text;
  return "the agent was ended: what watches its overlay died";
}

}  // namespace sluice::launcher
