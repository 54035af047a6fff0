#include "netns/message_json.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"

namespace sluice::netns {
namespace {

constexpr std::array roles{Role::tproxy4, Role::tproxy6, Role::dns_udp,
                           Role::dns_tcp, Role::proxy,   Role::port};
constexpr std::size_t max_depth = 4;
constexpr std::size_t max_name_bytes = 253;      // RFC 1035 2.3.4, without the trailing dot
constexpr std::uint32_t max_index = 0x1ffff;     // addresses in 198.18.0.0/15
constexpr std::size_t max_denied_reasons = 128;  // more than there are reasons
constexpr std::string_view lower_digits = "abcdefghijklmnopqrstuvwxyz0123456789";
constexpr std::string_view upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

// Watches the parser: the library itself keeps the last of two equal keys, and any depth.
struct Watch {
  std::vector<std::set<std::string>> keys;
  bool duplicate = false;
  bool deep = false;

  bool operator()(int depth, Json::parse_event_t event, const Json& value) {
    if (static_cast<std::size_t>(depth) > max_depth) deep = true;
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end && !keys.empty()) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.empty()) {
      duplicate |= !keys.back().insert(value.get_ref<const std::string&>()).second;
    }
    return true;
  }
};

bool consists_of(std::string_view word, std::string_view first, std::string_view second) {
  return std::all_of(word.begin(), word.end(), [&](char c) {
    return first.find(c) != std::string_view::npos || second.find(c) != std::string_view::npos;
  });
}

}  // namespace

Failure refuse(std::string why) {
  return fail(Errc::not_permitted, fmt::format("handover message: {}", why));
}

Json to_json(const std::vector<Role>& sockets) {
  Json json = Json::array();
  for (const Role role : sockets) json.push_back(role_name(role));
  return json;
}

Json to_json(const std::vector<Binding>& names) {
  Json list = Json::array();
  for (const Binding& binding : names) {
    list.push_back({{"name", binding.name}, {"index", binding.index}});
  }
  return list;
}

Result<Json> parse(std::string_view message) {
  if (message.size() > max_message) {
    return refuse(fmt::format("{} bytes, more than {}", message.size(), max_message));
  }
  Watch watch;
  const auto watcher = [&watch](int depth, Json::parse_event_t event, const Json& value) {
    return watch(depth, event, value);
  };
  Json json = Json::parse(message.begin(), message.end(), watcher, false);
  if (json.is_discarded()) return refuse("not JSON");
  if (watch.duplicate) return refuse("a key is given twice");
  if (watch.deep) return refuse("nested too deeply");
  if (!json.is_object()) return refuse("not an object");
  const auto version = json.find("v");
  if (version == json.end() || !version->is_number_unsigned() || *version != 1U) {
    return refuse("key 'v' must be 1");
  }
  return json;
}

Result<void> require_keys(const Json& object, std::initializer_list<std::string_view> keys) {
  if (!object.is_object()) return refuse("not an object where one is expected");
  for (const std::string_view key : keys) {
    if (!object.contains(key)) return refuse(fmt::format("key '{}' is missing", key));
  }
  for (const auto& [key, value] : object.items()) {
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      return refuse(fmt::format("unknown key '{}'", text::printable(key)));
    }
  }
  return {};
}

Result<std::string> read_string(const Json& object, const char* key) {
  const Json& value = object.at(key);
  if (!value.is_string()) return refuse(fmt::format("key '{}' must be a string", key));
  return value.get<std::string>();
}

Result<std::string> read_line(const Json& object, const char* key) {
  auto line = read_string(object, key);
  if (!line) return line;
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  if (std::any_of(line->begin(), line->end(), control)) {
    return refuse(fmt::format("key '{}' must be one line without control characters", key));
  }
  return line;
}

Result<std::uint64_t> read_number(const Json& object, const char* key, std::uint64_t most) {
  const Json& value = object.at(key);
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > most) {
    return refuse(fmt::format("key '{}' must be a whole number up to {}", key, most));
  }
  return value.get<std::uint64_t>();
}

bool is_agent_name(std::string_view name) {
  if (name.empty() || name.size() > 63) return false;
  std::string letters(lower_digits);
  letters += upper;
  return letters.find(name.front()) != std::string::npos && consists_of(name, letters, "._-");
}

namespace {

Result<Binding> read_binding(const Json& item) {
  if (auto keys = require_keys(item, {"name", "index"}); !keys) return Failure(keys.error());
  auto name = read_string(item, "name");
  if (!name) return Failure(name.error());
  if (name->empty() || name->size() > max_name_bytes || !consists_of(*name, lower_digits, "._-")) {
    return refuse(fmt::format("'{}' is not a host name", text::printable(name->substr(0, 253))));
  }
  const auto index = read_number(item, "index", max_index);
  if (!index) return Failure(index.error());
  return Binding{std::move(*name), static_cast<std::uint32_t>(*index)};
}

}  // namespace

Result<std::vector<Binding>> read_names(const Json& object) {
  const Json& list = object.at("names");
  if (!list.is_array()) return refuse("key 'names' must be a list");
  if (list.size() > max_names_per_message) {
    return refuse(fmt::format("{} names, more than {}", list.size(), max_names_per_message));
  }
  std::vector<Binding> names;
  names.reserve(list.size());
  for (const Json& item : list) {
    auto binding = read_binding(item);
    if (!binding) return Failure(binding.error());
    names.push_back(std::move(*binding));
  }
  return names;
}

Result<std::vector<Role>> read_sockets(const Json& object) {
  const Json& list = object.at("sockets");
  if (!list.is_array() || list.empty()) return refuse("key 'sockets' must be a list of roles");
  if (list.size() > max_sockets_per_message) {
    return refuse(fmt::format("{} sockets, more than {}", list.size(), max_sockets_per_message));
  }
  std::vector<Role> sockets;
  for (const Json& item : list) {
    const auto* role = std::find_if(roles.begin(), roles.end(), [&](Role candidate) {
      return item.is_string() && item.get_ref<const std::string&>() == role_name(candidate);
    });
    if (role == roles.end()) return refuse("key 'sockets' has an unknown role");
    if (*role != Role::port && std::find(sockets.begin(), sockets.end(), *role) != sockets.end()) {
      return refuse(fmt::format("socket '{}' is given twice", role_name(*role)));
    }
    sockets.push_back(*role);
  }
  return sockets;
}

Result<std::vector<std::uint16_t>> read_ports(const Json& object) {
  const Json& list = object.at("ports");
  if (!list.is_array() || list.size() > max_ports) {
    return refuse(fmt::format("key 'ports' must be a list of at most {} ports", max_ports));
  }
  std::vector<std::uint16_t> ports;
  for (const Json& item : list) {
    const bool is_port = item.is_number_unsigned() && item.get<std::uint64_t>() - 1 < 65535;
    if (!is_port || (!ports.empty() && item.get<std::uint16_t>() <= ports.back())) {
      return refuse("key 'ports' must be ports from 1 to 65535, sorted");
    }
    ports.push_back(item.get<std::uint16_t>());
  }
  return ports;
}

Result<Counts> read_reason_counts(const Json& json, const char* key) {
  const Json& counts = json.at(key);
  if (!counts.is_object() || counts.size() > max_denied_reasons) {
    return refuse(fmt::format("key '{}' must be an object of counts", key));
  }
  Counts denied;
  for (const auto& [reason, count] : counts.items()) {
    if (!consists_of(reason, lower_digits, "_") || reason.empty() || !count.is_number_unsigned()) {
      return refuse(fmt::format("key '{}' must be an object of counts", key));
    }
    denied.emplace(reason, count.get<std::uint64_t>());
  }
  return denied;
}

Result<std::string> read_op(const Json& json) {
  if (!json.contains("op")) return refuse("key 'op' is missing");
  return read_string(json, "op");
}

Failure unknown_op(std::string_view op) {
  return refuse(fmt::format("unknown op '{}'", text::printable(op.substr(0, 64))));
}

std::string to_message(Json json) {
  json["v"] = 1;
  // A byte that is not UTF-8 becomes U+FFFD: sentences may quote what an agent chose.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace sluice::netns
