#include "launcher/roots/as_owner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "base/io.h"
#include "base/pipe.h"
#include "launcher/sandbox/namespaces.h"
#include "launcher/sandbox/privileges.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_said = 65536;
constexpr char done = 'd';
constexpr char failed = 'f';  // then the sentence, a line feed and the hint

// What is thrown must not reach the frames of the parent, whose run would be ended by them.
[[noreturn]] void be_owner(const SubIds& ids, const std::function<Result<std::string>()>& work,
                           int say) try {
  auto entered = enter_sub_ids(ids);
  if (entered) entered = die_with_parent();
  const auto answer = entered ? work() : Failure(entered.error());
  const std::string text =
      answer ? done + *answer : failed + answer.error().what + "\n" + answer.error().hint;
  ::_exit(write_all(say, "the answer", text) ? 0 : 1);
} catch (...) {
  ::_exit(1);
}

}  // namespace

Result<std::string> as_owner(const SubIds& ids, const std::function<Result<std::string>()>& work) {
  auto answer = make_pipe();
  if (!answer) return Failure(answer.error());
  const pid_t pid = ::fork();
  if (pid < 0) return fail_errno(Errc::unavailable, "fork");
  if (pid == 0) be_owner(ids, work, answer->write_end.get());
  answer->write_end.reset();
  const auto text = read_fd(answer->read_end.get(), "the answer", most_said);
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (!text) return Failure(text.error());
  if (text->starts_with(done)) return text->substr(1);
  if (!text->starts_with(failed)) {
    return fail(Errc::unavailable, "the process that works with your other ids died",
                "is the machine out of memory?");
  }
  const std::size_t line = text->find('\n');
  return fail(Errc::not_permitted, text->substr(1, line - 1), text->substr(line + 1));
}

}  // namespace sluice::launcher
