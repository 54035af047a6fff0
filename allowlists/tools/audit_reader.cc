#include "allowlists/tools/audit_reader.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/fd.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

// Hands out the lines of a descriptor; those longer than max_audit_line only as too long.
class Lines {
 public:
  explicit Lines(int fd) : fd_(fd), buffer_(4 * max_audit_line, '\0') {}

  enum class Next : std::uint8_t { line, too_long, end };

  // `line` lives until the next call. Fails with errno.
  tl::expected<Next, int> next(std::string_view& line) {
    for (;;) {
      const std::string_view held(buffer_.data() + begin_, end_ - begin_);
      const std::size_t newline = held.find('\n', scanned_);
      if (newline != std::string_view::npos) return finish(line, held.substr(0, newline), 1);
      scanned_ = held.size();
      if (held.size() > max_audit_line) drop_held();
      if (ended_) {
        if (held.empty() && !overlong_) return Next::end;
        return finish(line, held, 0);
      }
      if (const int error = fill()) return tl::unexpected(error);
    }
  }

 private:
  Next finish(std::string_view& line, std::string_view text, std::size_t newline) {
    line = text;
    const bool fits = !std::exchange(overlong_, false) && text.size() <= max_audit_line;
    begin_ = std::min(begin_ + text.size() + newline, end_);
    scanned_ = 0;
    return fits ? Next::line : Next::too_long;
  }

  void drop_held() {
    overlong_ = true;
    begin_ = end_ = scanned_ = 0;
  }

  int fill() {
    if (begin_ > 0) {
      std::copy(buffer_.data() + begin_, buffer_.data() + end_, buffer_.data());
      end_ -= begin_;
      begin_ = 0;
    }
    for (;;) {
      const ssize_t got = ::read(fd_, buffer_.data() + end_, buffer_.size() - end_);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return errno;
      ended_ = got == 0;
      end_ += static_cast<std::size_t>(got);
      return 0;
    }
  }

  int fd_;
  std::string buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t scanned_ = 0;  // behind begin_, without a newline
  bool overlong_ = false;    // bytes of the current line are gone already
  bool ended_ = false;
};

}  // namespace

AuditReader::AuditReader(std::optional<std::string> only_agent, AuditSink sink)
    : only_agent_(std::move(only_agent)), sink_(std::move(sink)) {}

Result<void> AuditReader::read(const std::string& path) {
  if (path == "-") return read_open(STDIN_FILENO, "stdin");
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot open the audit log '{}'", text::printable(path)),
                      "name a file that exists and that you may read, or - for standard input");
  }
  return read_open(fd.get(), path);
}

Result<void> AuditReader::read_open(int fd, const std::string& name) {
  Lines lines(fd);
  for (std::uint64_t number = 1;; ++number) {
    std::string_view line;
    const auto next = lines.next(line);
    if (!next) {
      return Failure(errno_error(
          Errc::unavailable, fmt::format("cannot read the audit log '{}'", text::printable(name)),
          next.error(), "name the log itself, or - for standard input"));
    }
    if (*next == Lines::Next::end) return {};
    ++counts_.lines;
    if (*next == Lines::Next::too_long) {
      misunderstand(name, number);
    } else if (auto taken = take(line, name, number); !taken) {
      return taken;
    }
  }
}

Result<void> AuditReader::take(std::string_view line, const std::string& name,
                               std::uint64_t number) {
  switch (line_.parse(line)) {
    case AuditLine::Kind::not_understood:
      misunderstand(name, number);
      return {};
    case AuditLine::Kind::event:
      ++counts_.events;
      counts_.left_out += line_.left_out();
      return {};
    case AuditLine::Kind::decision:
      break;
  }
  if (only_agent_ && line_.decision().agent != *only_agent_) {
    ++counts_.other_agents;
    return {};
  }
  ++counts_.decisions;
  return sink_(line_.decision());
}

void AuditReader::misunderstand(const std::string& name, std::uint64_t number) {
  if (counts_.not_understood++ == 0) {
    counts_.first_not_understood = fmt::format("{}:{}", text::printable(name), number);
  }
}

Result<AuditCounts> read_audit(const std::vector<std::string>& paths,
                               const std::optional<std::string>& only_agent,
                               const AuditSink& sink) {
  AuditReader reader(only_agent, sink);
  for (const std::string& path : paths) {
    if (auto read = reader.read(path); !read) return Failure(std::move(read.error()));
  }
  const AuditCounts& counts = reader.counts();
  if (counts.lines > 0 && counts.not_understood == counts.lines) {
    return fail(Errc::bad_config,
                fmt::format("none of {} lines is a line of an audit log, the first at {}",
                            counts.lines, counts.first_not_understood),
                "name what sluiced or 'sluice run --audit' wrote, unpacked");
  }
  if (only_agent && counts.decisions == 0) {
    return fail(Errc::bad_config,
                fmt::format("no decision is about agent '{}'", text::printable(*only_agent)),
                "leave out --agent to see every agent's");
  }
  return counts;
}

std::vector<std::string> notes_on(const AuditCounts& counts) {
  std::vector<std::string> notes;
  if (counts.not_understood == 1) {
    notes.push_back(fmt::format("1 line was not understood, at {}", counts.first_not_understood));
  } else if (counts.not_understood > 1) {
    notes.push_back(fmt::format("{} lines were not understood, the first at {}",
                                counts.not_understood, counts.first_not_understood));
  }
  if (counts.left_out > 0) {
    notes.push_back(
        fmt::format("the log says that {} of its lines were left out or lost", counts.left_out));
  }
  return notes;
}

}  // namespace sluice::allowlists
