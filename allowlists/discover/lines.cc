#include "allowlists/discover/lines.h"

#include <algorithm>

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view blanks = " \t\r\f\v";

bool is_comment(std::string_view line) { return line.starts_with('#') || line.starts_with(';'); }

// "[name]" -> name
bool read_section(std::string_view line, std::string& section) {
  if (!line.starts_with('[')) return false;
  const std::size_t end = line.find(']');
  if (end == std::string_view::npos) return false;
  section = trimmed(line.substr(1, end - 1));
  return true;
}

std::vector<std::string> path_of(const std::string& section, std::string_view key) {
  std::vector<std::string> path;
  if (!section.empty()) path.push_back(section);
  path.emplace_back(key);
  return path;
}

void add_words(Settings& settings, const std::vector<std::string>& path, std::string_view value,
               int line) {
  for (const std::string_view word : words_of(value)) {
    settings.push_back({path, std::string(word), line});
  }
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

std::string_view unquoted(std::string_view text) {
  const bool is_quoted = text.size() >= 2 && (text.front() == '"' || text.front() == '\'') &&
                         text.back() == text.front();
  return is_quoted ? text.substr(1, text.size() - 2) : text;
}

std::string lowered(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (std::size_t begin = text.find_first_not_of(blanks); begin != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_of(blanks, begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(blanks, end);
  }
  return words;
}

std::vector<Line> split_lines(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<Line> lines;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.push_back({std::string(line), number});
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::vector<Line> join_continued(std::string_view text) {
  std::vector<Line> lines;
  bool goes_on = false;
  for (Line& line : split_lines(text)) {
    const bool has_more = line.text.ends_with('\\');
    if (has_more) line.text.pop_back();
    if (goes_on) {
      lines.back().text += line.text;
    } else {
      lines.push_back(std::move(line));
    }
    goes_on = has_more;
  }
  return lines;
}

Settings read_npmrc(std::string_view text) {
  Settings settings;
  std::string section;
  for (const Line& line : split_lines(text)) {
    const std::string_view content = trimmed(line.text);
    if (content.empty() || is_comment(content) || read_section(content, section)) continue;
    const std::size_t equals = content.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view key = trimmed(unquoted(trimmed(content.substr(0, equals))));
    if (key.ends_with("[]")) key.remove_suffix(2);
    std::string_view value = trimmed(content.substr(equals + 1));
    // Comments may stand behind a value. What looks like one inside of it stays: cutting a URL at
    // the '#' of its password would leave something that looks like a host.
    if (!value.starts_with('"') && !value.starts_with('\'')) {
      value = value.substr(0, value.find_first_of(blanks));
    }
    settings.push_back({path_of(section, key), std::string(unquoted(value)), line.number});
  }
  return settings;
}

Settings read_python_ini(std::string_view text) {
  Settings settings;
  std::string section;
  std::vector<std::string> path;  // of the value that an indented line goes on with
  for (const Line& line : split_lines(text)) {
    const std::string_view content = trimmed(line.text);
    if (content.empty() || is_comment(content)) continue;
    if (blanks.find(line.text.front()) != std::string_view::npos && !path.empty()) {
      add_words(settings, path, content, line.number);
      continue;
    }
    if (read_section(content, section)) {
      path.clear();
      continue;
    }
    const std::size_t equals = content.find_first_of("=:");
    if (equals == std::string_view::npos) continue;
    std::string key = lowered(trimmed(content.substr(0, equals)));
    std::replace(key.begin(), key.end(), '_', '-');  // pip takes both spellings
    path = path_of(section, key);
    add_words(settings, path, content.substr(equals + 1), line.number);
  }
  return settings;
}

Settings read_key_values(std::string_view text) {
  Settings settings;
  for (const Line& line : split_lines(text)) {
    const std::string_view content = trimmed(line.text);
    const std::size_t equals = content.find('=');
    if (content.starts_with('#') || equals == std::string_view::npos) continue;
    const std::string_view value = unquoted(trimmed(content.substr(equals + 1)));
    settings.push_back(
        {{std::string(trimmed(content.substr(0, equals)))}, std::string(value), line.number});
  }
  return settings;
}

}  // namespace sluice::allowlists::discover
