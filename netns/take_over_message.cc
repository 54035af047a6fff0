// The JSON of a take-over.
#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "netns/message_json.h"
#include "netns/take_over.h"

namespace sluice::netns {
namespace {

using Kind = OwnSocket::Kind;
constexpr std::array<std::pair<std::string_view, Kind>, 4> kinds = {
    {{"handover", Kind::handover},
     {"admin", Kind::admin},
     {"admin_address", Kind::admin_address},
     {"listen", Kind::listen}}};

Json totals_to_json(const Totals& totals) {
  return {{"allowed", totals.allowed},
          {"denied", totals.denied},
          {"bytes_up", totals.bytes_up},
          {"bytes_down", totals.bytes_down},
          {"reported", totals.reported}};
}

struct ToJson {
  Json operator()(const OwnSocket& message) const {
    const auto* const kind = std::find_if(
        kinds.begin(), kinds.end(), [&](const auto& one) { return one.second == message.kind; });
    return {{"op", "socket"}, {"kind", kind->first}};
  }
  Json operator()(const Names& message) const {
    return {{"op", "names"}, {"names", to_json(message.names)}};
  }
  Json operator()(const Sockets& message) const {
    return {{"op", "sockets"}, {"sockets", to_json(message.sockets)}};
  }
  Json operator()(const HandedPeer& message) const {
    return {{"op", "peer"},
            {"agent", message.agent},
            {"sockets", to_json(message.sockets)},
            {"counted", totals_to_json(message.counted)},
            {"holder", message.holder ? Json(*message.holder) : Json()},
            {"asked_ports", message.asked_ports},
            {"leased", message.leased}};
  }
  Json operator()(const Budgets& message) const {
    return {{"op", "budgets"}, {"lines", message.lines}};
  }
  Json operator()(const Spent& message) const {
    return {{"op", "spent"}, {"lines", message.lines}};
  }
  Json operator()(const Complete& message) const {
    return {{"op", "complete"}, {"peers", message.peers}};
  }
  Json operator()(const Taken&) const { return {{"op", "taken"}}; }
  Json operator()(const Yours&) const { return {{"op", "yours"}}; }
  Json operator()(const Counted& message) const {
    return {{"op", "counted"},
            {"agent_id", message.agent_id},
            {"more", totals_to_json(message.more)},
            {"last", message.last}};
  }
  Json operator()(const Ended& message) const {
    return {{"op", "ended"}, {"agent_id", message.agent_id}};
  }
  Json operator()(const Refused& message) const {
    return {{"ok", false}, {"error", message.error}};
  }
};

Result<Totals> read_totals(const Json& parent, const char* key) {
  const Json& json = parent.at(key);
  if (auto keys = require_keys(json, {"allowed", "denied", "bytes_up", "bytes_down", "reported"});
      !keys) {
    return Failure(keys.error());
  }
  const auto allowed = read_number(json, "allowed");
  if (!allowed) return Failure(allowed.error());
  auto denied = read_reason_counts(json, "denied");
  if (!denied) return Failure(denied.error());
  const auto up = read_number(json, "bytes_up");
  if (!up) return Failure(up.error());
  const auto down = read_number(json, "bytes_down");
  if (!down) return Failure(down.error());
  auto reported = read_reason_counts(json, "reported");
  if (!reported) return Failure(reported.error());
  return Totals{*allowed, std::move(*denied), *up, *down, std::move(*reported)};
}

Result<Transfer> read_socket(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "kind"}); !keys) return Failure(keys.error());
  const auto name = read_string(json, "kind");
  if (!name) return Failure(name.error());
  const auto* const kind =
      std::find_if(kinds.begin(), kinds.end(), [&](const auto& one) { return one.first == *name; });
  if (kind == kinds.end()) return refuse("key 'kind' names no kind of socket");
  return OwnSocket{kind->second};
}

Result<Transfer> read_names_message(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "names"}); !keys) return Failure(keys.error());
  return read_names(json).map(
      [](std::vector<Binding>&& names) -> Transfer { return Names{std::move(names)}; });
}

Result<Transfer> read_more_sockets(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "sockets"}); !keys) return Failure(keys.error());
  return read_sockets(json).map(
      [](std::vector<Role>&& sockets) -> Transfer { return Sockets{std::move(sockets)}; });
}

// "" or an agent name.
Result<std::string> read_optional_agent(const Json& json, const char* key) {
  auto agent = read_string(json, key);
  if (agent && !agent->empty() && !is_agent_name(*agent)) {
    return refuse(fmt::format("key '{}' is not an agent name", key));
  }
  return agent;
}

Result<std::optional<std::uint32_t>> read_holder(const Json& json) {
  if (json.at("holder").is_null()) return std::nullopt;
  return read_number(json, "holder", std::numeric_limits<std::uint32_t>::max())
      .map([](std::uint64_t uid) { return std::optional(static_cast<std::uint32_t>(uid)); });
}

Result<Transfer> read_peer(const Json& json) {
  if (auto keys = require_keys(
          json, {"v", "op", "agent", "sockets", "counted", "holder", "asked_ports", "leased"});
      !keys) {
    return Failure(keys.error());
  }
  HandedPeer peer;
  auto agent = read_optional_agent(json, "agent");
  if (!agent) return Failure(agent.error());
  peer.agent = std::move(*agent);
  if (!peer.agent.empty()) {
    auto sockets = read_sockets(json);
    if (!sockets) return Failure(sockets.error());
    peer.sockets = std::move(*sockets);
  } else if (json.at("sockets") != Json::array()) {
    return refuse("there are sockets of no agent");
  }
  auto counted = read_totals(json, "counted");
  if (!counted) return Failure(counted.error());
  peer.counted = std::move(*counted);
  const auto holder = read_holder(json);
  if (!holder) return Failure(holder.error());
  peer.holder = *holder;
  if (peer.holder && peer.agent.empty()) return refuse("there is a lease of no agent");
  auto asked = read_optional_agent(json, "asked_ports");
  if (!asked) return Failure(asked.error());
  peer.asked_ports = std::move(*asked);
  auto leased = read_optional_agent(json, "leased");
  if (!leased) return Failure(leased.error());
  peer.leased = std::move(*leased);
  return peer;
}

template <class Message>
Result<Transfer> read_lines(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "lines"}); !keys) return Failure(keys.error());
  return read_string(json, "lines").map([](std::string&& lines) -> Transfer {
    return Message{std::move(lines)};
  });
}

template <class Message>
Result<Transfer> read_bare(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op"}); !keys) return Failure(keys.error());
  return Message{};
}

Result<Transfer> read_complete(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "peers"}); !keys) return Failure(keys.error());
  return read_number(json, "peers").map([](std::uint64_t peers) -> Transfer {
    return Complete{peers};
  });
}

Result<Transfer> read_counted(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "agent_id", "more", "last"}); !keys) {
    return Failure(keys.error());
  }
  auto id = read_line(json, "agent_id");
  if (!id) return Failure(id.error());
  auto more = read_totals(json, "more");
  if (!more) return Failure(more.error());
  const Json& last = json.at("last");
  if (!last.is_boolean()) return refuse("key 'last' must be true or false");
  return Counted{std::move(*id), std::move(*more), last.get<bool>()};
}

Result<Transfer> read_ended(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "agent_id"}); !keys) return Failure(keys.error());
  return read_line(json, "agent_id").map([](std::string&& id) -> Transfer {
    return Ended{std::move(id)};
  });
}

Result<Transfer> read_refused(const Json& json) {
  if (auto keys = require_keys(json, {"v", "ok", "error"}); !keys) return Failure(keys.error());
  if (json.at("ok") != false) return refuse("key 'ok' must be false");
  return read_line(json, "error").map([](std::string&& error) -> Transfer {
    return Refused{std::move(error)};
  });
}

constexpr std::array<std::pair<std::string_view, Result<Transfer> (*)(const Json&)>, 11> readers = {
    {{"socket", read_socket},
     {"names", read_names_message},
     {"sockets", read_more_sockets},
     {"peer", read_peer},
     {"budgets", read_lines<Budgets>},
     {"spent", read_lines<Spent>},
     {"complete", read_complete},
     {"taken", read_bare<Taken>},
     {"yours", read_bare<Yours>},
     {"counted", read_counted},
     {"ended", read_ended}}};

void subtract(Counts& counts, const Counts& before) {
  for (const auto& [reason, count] : before) counts[reason] -= count;
  std::erase_if(counts, [](const auto& one) { return one.second == 0; });
}

}  // namespace

std::string encode(const Transfer& message) { return to_message(std::visit(ToJson{}, message)); }

Result<Transfer> decode_transfer(std::string_view message) {
  const auto json = parse(message);
  if (!json) return Failure(json.error());
  if (json->contains("ok")) return read_refused(*json);
  const auto op = read_op(*json);
  if (!op) return Failure(op.error());
  for (const auto& [name, read] : readers) {
    if (*op == name) return read(*json);
  }
  return unknown_op(*op);
}

void add(Totals& totals, const Totals& more) {
  totals.allowed += more.allowed;
  totals.bytes_up += more.bytes_up;
  totals.bytes_down += more.bytes_down;
  for (const auto& [reason, count] : more.denied) totals.denied[reason] += count;
  for (const auto& [reason, count] : more.reported) totals.reported[reason] += count;
}

Totals difference(const Totals& now, const Totals& before) {
  Totals rest = now;
  rest.allowed -= before.allowed;
  rest.bytes_up -= before.bytes_up;
  rest.bytes_down -= before.bytes_down;
  subtract(rest.denied, before.denied);
  subtract(rest.reported, before.reported);
  return rest;
}

}  // namespace sluice::netns
