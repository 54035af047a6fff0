// How messages between sluice's own processes are read and written: JSON with exactly the keys of
// its kind.
#pragma once

#include <initializer_list>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "netns/handover.h"

namespace sluice::netns {

using Json = nlohmann::json;
using Counts = std::map<std::string, std::uint64_t>;

// An error of what came: "handover message: WHY".
Failure refuse(std::string why);

// The text of a message, with its version.
std::string to_message(Json json);
Json to_json(const std::vector<Binding>& names);
Json to_json(const std::vector<Role>& sockets);

// An object of at most max_message bytes and of version 1, no key twice, not nested deeply.
Result<Json> parse(std::string_view message);
// All of these keys and no other.
Result<void> require_keys(const Json& object, std::initializer_list<std::string_view> keys);

// Values of keys that are there.
Result<std::string> read_string(const Json& object, const char* key);
// Text that a person will read: one line, nothing that moves a cursor.
Result<std::string> read_line(const Json& object, const char* key);
Result<std::uint64_t> read_number(const Json& object, const char* key,
                                  std::uint64_t most = std::numeric_limits<std::uint64_t>::max());
bool is_agent_name(std::string_view name);
// At most max_names_per_message.
Result<std::vector<Binding>> read_names(const Json& object);
// Each but `port` at most once, at least one, at most max_sockets_per_message.
Result<std::vector<Role>> read_sockets(const Json& object);
// From 1 to 65535, each greater than the one before, at most max_ports.
Result<std::vector<std::uint16_t>> read_ports(const Json& object);
Result<Counts> read_reason_counts(const Json& object, const char* key);
// The kind of a message.
Result<std::string> read_op(const Json& message);
Failure unknown_op(std::string_view op);

}  // namespace sluice::netns
