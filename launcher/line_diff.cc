#include "launcher/line_diff.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t context = 3;
// Cells of the table below: 16 MiB.
constexpr std::size_t most_cells = std::size_t{4} * 1024 * 1024;

using Lines = std::vector<std::string_view>;

struct Edit {
  char kind = ' ';  // ' ', '-' or '+'
  std::string_view line;
};

// With their line feeds, so that a missing last one is a difference.
Lines split(std::string_view text) {
  Lines lines;
  while (!text.empty()) {
    const std::size_t size = std::min(text.find('\n'), text.size() - 1) + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

void add(std::vector<Edit>& edits, char kind, Lines::const_iterator begin,
         Lines::const_iterator end) {
  for (; begin != end; ++begin) edits.push_back({kind, *begin});
}

// Length of the longest common subsequence of the lines from (i, j) on.
class CommonLengths {
 public:
  CommonLengths(const Lines& before, const Lines& after)
      : width_(after.size() + 1), table_((before.size() + 1) * width_) {
    for (std::size_t i = before.size(); i-- > 0;) {
      for (std::size_t j = after.size(); j-- > 0;) {
        table_[i * width_ + j] =
            before[i] == after[j] ? at(i + 1, j + 1) + 1 : std::max(at(i + 1, j), at(i, j + 1));
      }
    }
  }
  std::uint32_t at(std::size_t i, std::size_t j) const { return table_[i * width_ + j]; }

 private:
  std::size_t width_;
  std::vector<std::uint32_t> table_;
};

// `before` and `after` have neither beginning nor end in common.
void compare_middle(const Lines& before, const Lines& after, std::vector<Edit>& edits) {
  std::size_t i = 0;
  std::size_t j = 0;
  if ((before.size() + 1) * (after.size() + 1) <= most_cells) {
    const CommonLengths common(before, after);
    while (i < before.size() && j < after.size()) {
      if (before[i] == after[j]) {
        edits.push_back({' ', before[i++]});
        ++j;
      } else if (common.at(i + 1, j) >= common.at(i, j + 1)) {
        edits.push_back({'-', before[i++]});
      } else {
        edits.push_back({'+', after[j++]});
      }
    }
  }
  add(edits, '-', before.begin() + static_cast<std::ptrdiff_t>(i), before.end());
  add(edits, '+', after.begin() + static_cast<std::ptrdiff_t>(j), after.end());
}

std::vector<Edit> compare(const Lines& before, const Lines& after) {
  const auto [a, b] = std::mismatch(before.begin(), before.end(), after.begin(), after.end());
  auto a_end = before.end();
  auto b_end = after.end();
  while (a_end != a && b_end != b && *(a_end - 1) == *(b_end - 1)) {
    --a_end;
    --b_end;
  }
  std::vector<Edit> edits;
  add(edits, ' ', before.begin(), a);
  compare_middle(Lines(a, a_end), Lines(b, b_end), edits);
  add(edits, ' ', a_end, before.end());
  return edits;
}

// Writes hunks until there are enough lines, then only counts.
class Printer {
 public:
  explicit Printer(DiffBounds bounds) : bounds_(bounds) {}

  void print(const std::vector<Edit>& edits) {
    std::size_t done = 0;
    for (std::size_t at = 0; at < edits.size(); ++at) {
      if (edits[at].kind == ' ' || at < done) continue;
      const std::size_t begin = std::max(done, at - std::min(at, context));
      advance(edits, done, begin);
      done = hunk_end(edits, at);
      print_hunk(edits, begin, done);
    }
  }

  std::string take() {
    if (left_out_ > 0) out_ += fmt::format("... and {} more lines\n", left_out_);
    return std::move(out_);
  }

 private:
  // Changes with at most twice the context between them share a hunk.
  static std::size_t hunk_end(const std::vector<Edit>& edits, std::size_t at) {
    std::size_t last = at;
    while (at < edits.size() && at - last <= 2 * context + 1) {
      if (edits[at].kind != ' ') last = at;
      ++at;
    }
    return std::min(edits.size(), last + 1 + context);
  }

  void advance(const std::vector<Edit>& edits, std::size_t from, std::size_t to) {
    for (; from < to; ++from) {
      before_ += edits[from].kind != '+' ? 1 : 0;
      after_ += edits[from].kind != '-' ? 1 : 0;
    }
  }

  void print_hunk(const std::vector<Edit>& edits, std::size_t begin, std::size_t end) {
    const std::size_t before = before_;
    const std::size_t after = after_;
    advance(edits, begin, end);
    const auto side = [](std::size_t start, std::size_t stop) {
      return fmt::format("{},{}", stop == start ? start : start + 1, stop - start);
    };
    line(fmt::format("@@ -{} +{} @@", side(before, before_), side(after, after_)));
    for (; begin < end; ++begin) {
      std::string_view text = edits[begin].line;
      const bool ended = text.ends_with('\n');
      if (ended) text.remove_suffix(1);
      line(edits[begin].kind + shown_line(text, bounds_.line_bytes));
      if (!ended) line("\\ no line feed at the end");
    }
  }

  void line(const std::string& text) {
    if (lines_++ < bounds_.lines) {
      out_ += text + '\n';
    } else {
      ++left_out_;
    }
  }

  DiffBounds bounds_;
  std::string out_;
  std::size_t before_ = 0;
  std::size_t after_ = 0;
  std::size_t lines_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace

std::string shown_line(std::string_view line, std::size_t most) {
  const std::string_view shown = line.substr(0, most);
  std::string text = text::printable(shown);
  if (shown.size() < line.size()) {
    text += fmt::format(" ... and {} more bytes", line.size() - shown.size());
  }
  return text;
}

std::string line_diff(std::string_view before, std::string_view after, DiffBounds bounds) {
  if (before == after) return {};
  Printer printer(bounds);
  printer.print(compare(split(before), split(after)));
  return printer.take();
}

}  // namespace sluice::launcher
