// The text of a state file.
#include <fmt/core.h>

#include <array>
#include <nlohmann/json.hpp>

#include "netns/named/state.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;
using Kind = LeaseState::Kind;

constexpr std::array kinds{Kind::named, Kind::cni, Kind::oci, Kind::attached};

Result<Kind> read_kind(const std::string& name) {
  for (const Kind kind : kinds) {
    if (kind_name(kind) == name) return kind;
  }
  return fail(Errc::bad_config, "a state file of an unknown kind");
}

LeaseState from_json(const Json& json) {
  LeaseState state;
  json.at("id").get_to(state.id);
  json.at("agent").get_to(state.agent);
  json.at("netns").get_to(state.netns);
  json.at("proxy").get_to(state.proxy);
  json.at("netns_cookie").get_to(state.netns_cookie);
  json.at("complete").get_to(state.complete);
  json.at("supervisor").get_to(state.supervisor);
  json.at("supervisor_born").get_to(state.supervisor_born);
  json.at("withdrawn").get_to(state.withdrawn);
  json.at("facts").get_to(state.facts);
  return state;
}

}  // namespace

std::string_view kind_name(Kind kind) noexcept {
  switch (kind) {
    case Kind::named:
      return "named";
    case Kind::cni:
      return "cni";
    case Kind::oci:
      return "oci";
    case Kind::attached:
      break;
  }
  return "attached";
}

std::string encode(const LeaseState& state) {
  const Json json{{"v", 1},
                  {"kind", kind_name(state.kind)},
                  {"id", state.id},
                  {"agent", state.agent},
                  {"netns", state.netns},
                  {"proxy", state.proxy},
                  {"netns_cookie", state.netns_cookie},
                  {"complete", state.complete},
                  {"supervisor", state.supervisor},
                  {"supervisor_born", state.supervisor_born},
                  {"withdrawn", state.withdrawn},
                  {"facts", state.facts}};
  // Paths and container ids need not be UTF-8.
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

Result<LeaseState> decode_state(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (json.at("v") != 1) return fail(Errc::bad_config, "a state file of another version");
    auto kind = read_kind(json.at("kind").get<std::string>());
    if (!kind) return Failure(kind.error());
    LeaseState state = from_json(json);
    state.kind = *kind;
    if (json.size() != 12) return fail(Errc::bad_config, "a state file with an unknown key");
    return state;
  } catch (const Json::exception& error) {
    return fail(Errc::bad_config, fmt::format("no state file: {}", error.what()));
  }
}

}  // namespace sluice::netns
