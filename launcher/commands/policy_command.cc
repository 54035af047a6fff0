#include "launcher/commands/policy_command.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/io.h"

namespace sluice::launcher {

std::optional<Error> stdin_twice(const std::vector<std::string>& paths) {
  if (std::count(paths.begin(), paths.end(), "-") < 2) return std::nullopt;
  return Error{Errc::bad_config, "standard input is named twice and can be read once",
               "name a file for all but one", std::nullopt};
}

Result<std::vector<allowlists::Source>> read_files(const std::string& path) {
  if (path != "-") return allowlists::read_sources(path);
  constexpr std::size_t most_bytes = 50'000'000;  // as in a file
  auto text = read_fd(STDIN_FILENO, "standard input", most_bytes);
  if (!text) return Failure(std::move(text.error()));
  return std::vector<allowlists::Source>{{"stdin", std::move(*text)}};
}

tl::expected<ReadPolicy, std::vector<Error>> read_policy(const std::string& path) {
  const auto sources = read_files(path);
  if (!sources) return tl::unexpected(std::vector<Error>{sources.error()});
  auto read = allowlists::read_text(*sources);
  if (!read) return tl::unexpected(std::move(read.error()));
  auto policy = allowlists::compile(read->text);
  return ReadPolicy{std::move(read->text), std::move(policy), std::move(read->warnings)};
}

std::optional<ReadPolicy> read_policy_or_tell(const std::string& path) {
  auto read = read_policy(path);
  if (read) return std::move(*read);
  tell(read.error());
  return std::nullopt;
}

void tell(const std::vector<Error>& errors) {
  for (const Error& error : errors) {
    fmt::print(stderr, "{}{}\n", error.where ? "" : "sluice: ", to_string(error));
  }
}

std::string warning_text(const Error& warning) {
  std::string text;
  if (warning.where) {
    text = fmt::format("{}:{}:", warning.where->file, warning.where->line);
    if (warning.where->column > 0) text += fmt::format("{}:", warning.where->column);
    text += ' ';
  }
  text += fmt::format("warning: {}", warning.what);
  if (!warning.hint.empty()) text += fmt::format("\nhint: {}", warning.hint);
  return text;
}

int refuse(const Error& error) {
  tell({error});
  return usage_status;
}

}  // namespace sluice::launcher
