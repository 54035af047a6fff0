#include "allowlists/discover/git_config.h"

#include <optional>
#include <utility>

#include "allowlists/discover/lines.h"

namespace sluice::allowlists::discover {
namespace {

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

class GitConfigReader {
 public:
  explicit GitConfigReader(std::string_view text) : text_(text) {
    if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
  }

  tl::expected<std::vector<GitEntry>, Unreadable> read() {
    while (at_ < text_.size()) {
      if (!read_item()) return tl::unexpected(Unreadable{line_, "no git configuration"});
    }
    return std::move(entries_);
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\n'; }
  char next() {
    const char c = peek();
    ++at_;
    if (c == '\n') ++line_;
    return c;
  }
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(peek())) ++at_;
  }
  void skip_line() {
    while (next() != '\n') {
    }
  }

  bool read_item() {
    skip_blanks();
    const char c = peek();
    if (c == '\n' || c == '#' || c == ';') {
      skip_line();
      return true;
    }
    return c == '[' ? read_section() : read_entry();
  }

  // [section], [section "Subsection"], [section.subsection]
  bool read_section() {
    ++at_;
    section_.clear();
    subsection_.clear();
    while (is_name_char(peek()) || peek() == '.') section_ += next();
    section_ = lowered(section_);
    if (const auto dot = section_.find('.'); dot != std::string::npos) {
      subsection_ = section_.substr(dot + 1);
      section_.erase(dot);
    }
    skip_blanks();
    if (peek() == '"' && !read_subsection()) return false;
    return next() == ']' && !section_.empty();
  }

  bool read_subsection() {
    subsection_.clear();
    for (++at_; peek() != '"'; ++at_) {
      if (peek() == '\\') ++at_;
      if (peek() == '\n') return false;
      subsection_ += peek();
    }
    ++at_;
    return true;
  }

  bool read_entry() {
    GitEntry entry{section_, subsection_, {}, {}, line_};
    while (is_name_char(peek())) entry.key += next();
    entry.key = lowered(entry.key);
    if (entry.key.empty() || section_.empty()) return false;
    skip_blanks();
    if (peek() == '=') {
      ++at_;
      auto value = read_value();
      if (!value) return false;
      entry.value = std::move(*value);
    } else if (peek() == '\n' || peek() == '#' || peek() == ';') {
      skip_line();  // a key without a value is true
    } else {
      return false;
    }
    entries_.push_back(std::move(entry));
    return true;
  }

  // To the end of the line, or of the lines that a backslash joins.
  std::optional<std::string> read_value() {
    std::string value;
    std::size_t kept = 0;  // blanks behind it count only when something follows
    bool quoted = false;
    skip_blanks();
    for (;;) {
      const char c = next();
      if (c == '\n') break;
      if ((c == '#' || c == ';') && !quoted) {
        skip_line();
        break;
      }
      if (c == '"') {
        quoted = !quoted;
      } else if (c != '\\') {
        value += c;
      } else if (!read_escape(value)) {
        return std::nullopt;
      }
      if (quoted || !is_blank(c)) kept = value.size();
    }
    if (quoted) return std::nullopt;
    value.resize(kept);
    return value;
  }

  bool read_escape(std::string& value) {
    if (peek() == '\r') ++at_;
    switch (const char c = next(); c) {
      case '\n':
        return true;
      case 'n':
        value += '\n';
        return true;
      case 't':
        value += '\t';
        return true;
      case 'b':
        value += '\b';
        return true;
      case '"':
      case '\\':
        value += c;
        return true;
      default:
        return false;
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::string section_;
  std::string subsection_;
  std::vector<GitEntry> entries_;
};

}  // namespace

tl::expected<std::vector<GitEntry>, Unreadable> read_git_config(std::string_view text) {
  return GitConfigReader(text).read();
}

}  // namespace sluice::allowlists::discover
