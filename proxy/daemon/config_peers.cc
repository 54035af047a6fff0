// The part of the configuration that says who may hand over agents, and under which names.
#include <fmt/format.h>

#include "base/text.h"
#include "proxy/daemon/config_reader.h"
#include "proxy/daemon/peer_access.h"

namespace sluice::proxy {
namespace {

using Node = YAML::Node;
using Kind = Config::Peer::Kind;

constexpr std::size_t most_lines = 256;
constexpr std::size_t most_patterns = 256;  // of one line
// -1 is no identity (chown(2)).
constexpr std::uint64_t largest_id = 0xfffffffe;

class PeerReader {
 public:
  explicit PeerReader(ConfigReader& reader) : reader_(reader) {}
  void read(const Node& node, std::vector<Config::Peer>& out);

 private:
  void number(const Node& node, Kind kind);
  void name(const Node& node, Kind kind);
  void agents(const Node& node);

  ConfigReader& reader_;
  Config::Peer peer_;
};

void PeerReader::number(const Node& node, Kind kind) {
  const auto value = reader_.scalar(node, "a number");
  if (!value) return;
  const auto id = parse_number(*value);
  if (!id || *id > largest_id) {
    return reader_.wrong(node, kind == Kind::user ? "is no uid" : "is no gid",
                         kind == Kind::user ? "write the number that 'id -u NAME' prints, or user: "
                                              "NAME"
                                            : "write the number that 'getent group NAME' prints, "
                                              "or group: NAME");
  }
  peer_.kind = kind;
  peer_.id = static_cast<id_t>(*id);
}

void PeerReader::name(const Node& node, Kind kind) {
  const bool is_user = kind == Kind::user;
  const auto value = reader_.scalar(node, is_user ? "a user's name" : "a group's name");
  if (!value) return;
  const auto id = is_user ? user_id(*value) : group_id(*value);
  if (!id) {
    return reader_.wrong(node,
                         is_user ? "is no user of this machine" : "is no group of this machine",
                         is_user ? "create it first, or write its number: uid: 1000"
                                 : "create it first (groupadd(8)), or write its number: gid: 1000");
  }
  peer_.kind = kind;
  peer_.id = *id;
}

void PeerReader::agents(const Node& node) {
  reader_.list(
      node, "a list of agents", "write [\"coder-*\", \"${user}-*\"]", [&](const Node& item) {
        const auto value = reader_.scalar(item, "an agent's name");
        if (!value) return;
        if (!is_name_pattern(*value)) {
          return reader_.wrong(item, "is no agent's name",
                               "write letters, digits, '.', '_' and '-', '*' for any of them, and "
                               "${user} for the peer's user name");
        }
        if (peer_.agents.size() == most_patterns) {
          return reader_.error(item.Mark(),
                               fmt::format("more than {} names in one line", most_patterns),
                               "write '*' for what they share");
        }
        peer_.agents.push_back(*value);
      });
}

void PeerReader::read(const Node& node, std::vector<Config::Peer>& out) {
  reader_.section(node, "handover.peers",
                  {{"uid", [&](const Node& n) { number(n, Kind::user); }},
                   {"user", [&](const Node& n) { name(n, Kind::user); }},
                   {"gid", [&](const Node& n) { number(n, Kind::group); }},
                   {"group", [&](const Node& n) { name(n, Kind::group); }},
                   {"agents", [&](const Node& n) { agents(n); }}});
  if (!node.IsMap()) return;
  int whose = 0;
  for (const char* key : {"uid", "user", "gid", "group"}) whose += node[key] ? 1 : 0;
  if (whose != 1) {
    reader_.error(node.Mark(),
                  whose == 0 ? "the line does not say whose peers it is for"
                             : "the line says more than once whose peers it is for",
                  "write one of uid, user, gid and group");
  }
  const Node names = node["agents"];
  if (!names || (names.IsSequence() && names.size() == 0)) {
    reader_.error(node.Mark(), "the line gives no agent's name", "add agents: [\"${user}-*\"]");
  }
  out.push_back(std::move(peer_));
}

}  // namespace

void read_peers(ConfigReader& reader, const Node& node,
                std::optional<std::vector<Config::Peer>>& out) {
  std::vector<Config::Peer>& lines = out.emplace();
  reader.list(node, "a list of peers",
              "write one '- {group: sluice, agents: [\"${user}-*\"]}' a line",
              [&](const Node& item) {
                if (lines.size() == most_lines) {
                  return reader.error(item.Mark(), fmt::format("more than {} lines", most_lines),
                                      "admit a group");
                }
                PeerReader(reader).read(item, lines);
              });
}

}  // namespace sluice::proxy
