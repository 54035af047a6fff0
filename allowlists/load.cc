#include "allowlists/load.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "allowlists/compile.h"
#include "allowlists/read_policy.h"
#include "allowlists/reporter.h"
#include "base/io.h"

namespace sluice::allowlists {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_bytes = 50'000'000;

Error too_large(std::string_view name) {
  return {Errc::bad_config, fmt::format("'{}' is larger than 50 MB", name),
          "write suffixes instead of lists of hosts", std::nullopt};
}

// Hidden files are an editor's or, as "..data", a Kubernetes volume's own.
bool is_policy_file(const fs::path& path) {
  const bool hidden = path.filename().native().starts_with('.');
  return !hidden && (path.extension() == ".yaml" || path.extension() == ".yml");
}

Result<std::vector<fs::path>> policy_files(const fs::path& directory) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(directory, error); !error && at != fs::directory_iterator();
       at.increment(error)) {
    if (is_policy_file(at->path())) files.push_back(at->path());
  }
  if (error) {
    return Failure(errno_error(Errc::unavailable,
                               fmt::format("cannot list '{}'", directory.native()), error.value()));
  }
  if (files.empty()) {
    return fail(Errc::bad_config, fmt::format("'{}' has no *.yaml or *.yml", directory.native()),
                "put a policy file into it, or name one");
  }
  std::sort(files.begin(), files.end());
  return files;
}

}  // namespace

tl::expected<ReadText, std::vector<Error>> read_text(std::span<const Source> sources) {
  if (sources.empty()) {
    return tl::unexpected(std::vector{
        Error{Errc::bad_config, "there is no policy file to load", "name one", std::nullopt}});
  }
  std::size_t bytes = 0;
  for (const Source& source : sources) {
    bytes += source.text.size();
    if (bytes > max_bytes) return tl::unexpected(std::vector{too_large(source.name)});
  }
  Problems errors;
  Problems warnings;
  PolicyReader reader(errors, warnings);
  for (std::size_t i = 0; i < sources.size(); ++i) reader.read(sources[i], i);
  reader.finish();
  if (!errors.empty()) return tl::unexpected(errors.take());
  if (!reader.has_agents()) {
    warnings.add(0, Error{Errc::bad_config, "no agent has an entry, so everything is denied",
                          "add 'agents:' with an entry for each agent or pattern",
                          Mark{sources.front().name, 1, 1}});
  }
  return ReadText{reader.take(), warnings.take()};
}

tl::expected<Loaded, std::vector<Error>> load(std::span<const Source> sources) {
  auto read = read_text(sources);
  if (!read) return tl::unexpected(std::move(read.error()));
  return Loaded{compile(read->text), std::move(read->warnings)};
}

Result<std::vector<Source>> read_sources(const std::string& path) {
  std::vector<fs::path> files = {path};
  std::error_code error;
  if (fs::is_directory(path, error)) {
    auto listed = policy_files(path);
    if (!listed) return Failure(std::move(listed.error()));
    files = std::move(*listed);
  }
  std::vector<Source> sources;
  std::size_t bytes = 0;
  for (const fs::path& file : files) {
    auto text = read_file(file.native(), max_bytes);
    if (!text) {
      Error unreadable = std::move(text.error());
      if (unreadable.hint.empty())
        unreadable.hint = "name a policy file that exists and that you may read";
      return Failure(std::move(unreadable));
    }
    bytes += text->size();
    if (bytes > max_bytes) return Failure(too_large(path));
    sources.push_back({file.filename().native(), std::move(*text)});
  }
  return sources;
}

}  // namespace sluice::allowlists
