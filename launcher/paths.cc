#include "launcher/paths.h"

#include <fmt/core.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <filesystem>
#include <memory>

namespace sluice::launcher {
namespace {

void push_components(std::deque<std::string>& rest, std::string_view path) {
  std::deque<std::string> components;
  for (const auto& component : std::filesystem::path(path).relative_path()) {
    if (!component.empty()) components.push_back(component.string());
  }
  rest.insert(rest.begin(), components.begin(), components.end());
}

std::string parent(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

}  // namespace

bool is_at_or_below(std::string_view path, std::string_view ancestor) noexcept {
  if (ancestor == "/") return true;
  return path.starts_with(ancestor) &&
         (path.size() == ancestor.size() || path[ancestor.size()] == '/');
}

std::string absolute(std::string_view path) {
  std::error_code ignored;  // no current directory: the text stays relative and is refused later
  std::string text = std::filesystem::absolute(path, ignored).lexically_normal().string();
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  if (text.starts_with("//")) text.erase(0, text.find_first_not_of('/') - 1);
  return text;
}

Result<std::string> real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&::free)> resolved(::realpath(path.c_str(), nullptr),
                                                          &::free);
  if (!resolved) {
    return fail_errno(Errc::bad_config, fmt::format("cannot find '{}'", path),
                      "name a path that exists and that you can reach");
  }
  return std::string(resolved.get());
}

std::vector<std::string> touched_paths(std::string_view path) {
  std::vector<std::string> touched{absolute(path)};
  std::deque<std::string> rest;
  // Not touched.front(): ".." behind a symbolic link is not what the text says.
  std::error_code ignored;
  push_components(rest, std::filesystem::absolute(path, ignored).string());
  std::string current = "/";
  for (int links = 0; !rest.empty();) {
    const std::string name = std::move(rest.front());
    rest.pop_front();
    if (name == ".") continue;
    if (name == "..") {
      current = parent(current);
      continue;
    }
    const std::string next = fmt::format("{}/{}", current == "/" ? "" : current, name);
    std::array<char, PATH_MAX> link;
    const ssize_t size = ::readlink(next.c_str(), link.data(), link.size());
    if (size < 0) {
      current = next;
      continue;
    }
    touched.push_back(next);
    if (++links > 40) break;
    const std::string_view to(link.data(), static_cast<std::size_t>(size));
    push_components(rest, to);
    if (to.starts_with('/')) current = "/";
  }
  touched.push_back(current);
  return touched;
}

}  // namespace sluice::launcher
