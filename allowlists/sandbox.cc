#include "allowlists/sandbox.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace sluice::allowlists {
namespace {

using Json = nlohmann::json;

constexpr std::size_t most_paths = 1000;
constexpr std::size_t longest_path = 4095;  // PATH_MAX without its NUL

Failure unreadable(std::string_view why) {
  return fail(Errc::bad_config,
              fmt::format("sluiced asks for a sandbox that is unknown here: {}", why),
              "use sluice and sluiced of the same release");
}

std::optional<std::uint64_t> number(const Json& value, std::uint64_t most) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most) return std::nullopt;
  return value.get<std::uint64_t>();
}

bool read_path(const Json& value, std::string& path) {
  if (!value.is_string()) return false;
  path = value.get<std::string>();
  const bool is_path = path.starts_with('/') || path.starts_with("~/");
  return is_path && path.size() <= longest_path && path.find('\0') == std::string::npos;
}

Json to_json(const std::vector<SizedPath>& paths) {
  Json list = Json::array();
  for (const SizedPath& one : paths) {
    Json item = {{"path", one.path}};
    if (one.bytes) item["bytes"] = *one.bytes;
    list.push_back(std::move(item));
  }
  return list;
}

bool read_sized(const Json& list, std::vector<SizedPath>& paths) {
  if (!list.is_array() || list.size() > most_paths) return false;
  for (const Json& item : list) {
    SizedPath one;
    const bool has_bytes = item.is_object() && item.contains("bytes");
    if (!item.is_object() || item.size() != (has_bytes ? 2U : 1U) || !item.contains("path") ||
        !read_path(item["path"], one.path)) {
      return false;
    }
    if (has_bytes) one.bytes = number(item["bytes"], largest_sandbox_size);
    if (has_bytes && !one.bytes) return false;
    paths.push_back(std::move(one));
  }
  return true;
}

bool read_masks(const Json& list, std::vector<std::string>& masks) {
  if (!list.is_array() || list.size() > most_paths) return false;
  for (const Json& item : list) {
    std::string path;
    if (!read_path(item, path)) return false;
    masks.push_back(std::move(path));
  }
  return true;
}

bool read_protects(const Json& list, std::vector<std::string>& protects) {
  if (!list.is_array() || list.size() > most_paths) return false;
  for (const Json& item : list) {
    if (!item.is_string() || !is_path_of_workspace(item.get<std::string>())) return false;
    protects.push_back(item.get<std::string>());
  }
  return true;
}

template <class Value>
bool read_number(const Json& value, std::optional<Value>& into, std::uint64_t most) {
  const auto found = number(value, most);
  if (!found) return false;
  into = static_cast<Value>(*found);
  return true;
}

bool read_span(const Json& value, std::optional<std::chrono::milliseconds>& into) {
  constexpr std::uint64_t longest = std::uint64_t{366} * 86'400'000;
  const auto found = number(value, longest);
  if (!found) return false;
  into = std::chrono::milliseconds(static_cast<std::chrono::milliseconds::rep>(*found));
  return true;
}

bool read_key(const std::string& key, const Json& value, Sandbox& sandbox) {
  constexpr std::uint64_t most_thousandths = 8'192'000;
  if (key == "memory") return read_number(value, sandbox.memory, largest_sandbox_size);
  if (key == "swap") return read_number(value, sandbox.swap, largest_sandbox_size);
  if (key == "io_weight") return read_number(value, sandbox.io_weight, largest_io_weight);
  if (key == "cpu_thousandths")
    return read_number(value, sandbox.cpu_thousandths, most_thousandths);
  if (key == "pids") return read_number(value, sandbox.pids, most_pids);
  if (key == "timeout_ms") return read_span(value, sandbox.timeout);
  if (key == "tmpfs") return read_sized(value, sandbox.tmpfs);
  if (key == "seed") return read_sized(value, sandbox.seeds);
  if (key == "mask") return read_masks(value, sandbox.masks);
  if (key == "protect") return read_protects(value, sandbox.protects);
  if (key != "require_landlock" || !value.is_boolean()) return false;
  sandbox.requires_landlock = value.get<bool>();
  return true;
}

}  // namespace

bool is_path_of_workspace(std::string_view path) {
  if (path.size() > longest_path || path.starts_with('~')) return false;
  for (;;) {
    const std::size_t slash = path.find('/');
    const std::string_view name = path.substr(0, slash);
    if (name.empty() || name == "." || name == ".." || name.find('\0') != std::string_view::npos) {
      return false;
    }
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

std::string to_json(const Sandbox& sandbox) {
  Json json = Json::object();
  if (sandbox.memory) json["memory"] = *sandbox.memory;
  if (sandbox.swap) json["swap"] = *sandbox.swap;
  if (sandbox.io_weight) json["io_weight"] = *sandbox.io_weight;
  if (sandbox.cpu_thousandths) json["cpu_thousandths"] = *sandbox.cpu_thousandths;
  if (sandbox.pids) json["pids"] = *sandbox.pids;
  if (sandbox.timeout) json["timeout_ms"] = static_cast<std::uint64_t>(sandbox.timeout->count());
  if (!sandbox.tmpfs.empty()) json["tmpfs"] = to_json(sandbox.tmpfs);
  if (!sandbox.seeds.empty()) json["seed"] = to_json(sandbox.seeds);
  if (!sandbox.masks.empty()) json["mask"] = sandbox.masks;
  if (!sandbox.protects.empty()) json["protect"] = sandbox.protects;
  if (sandbox.requires_landlock) json["require_landlock"] = true;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Sandbox> sandbox_from_json(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return unreadable("it is no JSON object");
  Sandbox sandbox;
  for (const auto& [key, value] : json.items()) {
    if (!read_key(key, value, sandbox)) return unreadable(fmt::format("'{}'", key));
  }
  return sandbox;
}

}  // namespace sluice::allowlists
