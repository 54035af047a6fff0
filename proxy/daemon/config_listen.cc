// The part of the configuration that names explicit listeners, and who arrives on each.
#include <fmt/format.h>

#include <array>
#include <map>
#include <set>
#include <span>

#include "allowlists/policy.h"
#include "base/text.h"
#include "proxy/auth/password_hash.h"
#include "proxy/daemon/config_reader.h"

namespace sluice::proxy {
namespace {

using Node = YAML::Node;
using Listener = Config::Listener;

constexpr std::size_t most_listeners = 256;

bool is_mapped_v4(const IpAddress& address) {
  return !address.is_v4() && Cidr::parse("::ffff:0:0/96")->contains(address);
}

bool is_loopback(const IpAddress& address) {
  return Cidr::parse(address.is_v4() ? "127.0.0.0/8" : "::1/128")->contains(address);
}

bool is_every_address(const IpAddress& address) {
  return address == IpAddress() || address == IpAddress::v6({});
}

std::string shown(const Endpoint& at) {
  const std::string address = at.address.to_string();
  return at.address.is_v4() ? fmt::format("{}:{}", address, at.port)
                            : fmt::format("[{}]:{}", address, at.port);
}

class ListenReader {
 public:
  ListenReader(ConfigReader& reader, std::vector<Listener>& out) : reader_(reader), out_(out) {}
  void item(const Node& node);

 private:
  // What stands under a key, by key; nothing is read before all keys are known.
  using Values = std::map<std::string_view, Node>;
  Values values(const Node& node, std::string_view name, std::span<const std::string_view> keys);
  std::optional<std::string> agent_name(const Node& node);
  void address(const Node& node, Listener& listener);
  void tls(const Node& node, Listener& listener);
  void agents(const Node& node, Listener& listener);
  void each(const Node& agents, const Node& map, std::string_view hint,
            const std::function<void(const Node&, const Node&)>& read);
  void by_source(const Node& agents, const Node& map, Listener& listener);
  void by_password(const Node& agents, const Node& map, Listener& listener);
  void source(const Node& range, const Node& name, Listener::BySource& out);
  void user(const Node& name, const Node& hash, Listener::ByPassword& out);
  void warn(const Node& node, const Listener& listener);

  ConfigReader& reader_;
  std::vector<Listener>& out_;
  std::set<std::pair<IpAddress, std::uint16_t>> addresses_;
};

ListenReader::Values ListenReader::values(const Node& node, std::string_view name,
                                          std::span<const std::string_view> keys) {
  Values found;
  ConfigReader::Fields fields;
  for (const std::string_view key : keys) {
    fields.push_back({key, [&found, key](const Node& value) { found.emplace(key, value); }});
  }
  reader_.section(node, name, fields);
  return found;
}

void ListenReader::item(const Node& node) {
  static constexpr std::array<std::string_view, 4> keys = {"address", "agent", "agents", "tls"};
  if (out_.size() == most_listeners) {
    return reader_.error(node.Mark(), fmt::format("more than {} listeners", most_listeners),
                         "one listener can have many agents");
  }
  const Values given = values(node, "listen", keys);
  if (!node.IsMap()) return;
  Listener listener;
  if (given.contains("address")) {
    address(given.at("address"), listener);
  } else {
    reader_.error(node.Mark(), "the listener has no 'address'", "add 'address: 127.0.0.1:3128'");
  }
  if (given.contains("tls")) tls(given.at("tls"), listener);
  if (given.contains("agent") == given.contains("agents")) {
    reader_.error(node.Mark(),
                  given.contains("agent") ? "the listener has both 'agent' and 'agents'"
                                          : "the listener does not say who arrives there",
                  "write either 'agent: NAME' or 'agents: {by: source_address, map: …}'");
  } else if (given.contains("agent")) {
    if (auto name = agent_name(given.at("agent"))) {
      listener.who = Listener::Fixed{std::move(*name)};
    }
  } else {
    agents(given.at("agents"), listener);
  }
  warn(node, listener);
  out_.push_back(std::move(listener));
}

std::optional<std::string> ListenReader::agent_name(const Node& node) {
  auto name = reader_.scalar(node, "the name of an agent");
  if (!name || allowlists::is_agent_name(*name)) return name;
  reader_.wrong(node, "is no agent name", "letters, digits, '.', '_' and '-', at most 63");
  return std::nullopt;
}

void ListenReader::address(const Node& node, Listener& listener) {
  const auto value = reader_.scalar(node, "an address and a port");
  if (!value) return;
  const auto endpoint = parse_endpoint(*value, std::nullopt);
  if (!endpoint || is_mapped_v4(endpoint->address)) {
    return reader_.wrong(node, "is not an address and a port",
                         "write 127.0.0.1:3128, [::1]:3128, or 0.0.0.0:3128 for every address");
  }
  listener.address = *endpoint;
  if (!addresses_.emplace(endpoint->address, endpoint->port).second) {
    reader_.wrong(node, "is the address of another listener", "choose another port");
  }
}

void ListenReader::tls(const Node& node, Listener& listener) {
  static constexpr std::array<std::string_view, 3> keys = {"cert", "key", "client_ca"};
  const Values given = values(node, "listen.tls", keys);
  Listener::Tls files;
  if (given.contains("cert")) reader_.path(given.at("cert"), files.cert);
  if (given.contains("key")) reader_.path(given.at("key"), files.key);
  if (given.contains("client_ca")) reader_.path(given.at("client_ca"), files.client_ca);
  for (const std::string_view key : {"cert", "key"}) {
    if (!node.IsMap() || given.contains(key)) continue;
    reader_.error(node.Mark(), fmt::format("'listen.tls.{}' is missing", key),
                  "name a PEM file, as in 'tls: {cert: proxy.pem, key: proxy.key}'");
  }
  listener.tls = std::move(files);
}

void ListenReader::agents(const Node& node, Listener& listener) {
  static constexpr std::array<std::string_view, 3> keys = {"by", "map", "users"};
  static constexpr std::string_view ways = "write source_address, proxy_auth or client_certificate";
  const Values given = values(node, "listen.agents", keys);
  if (!node.IsMap()) return;
  if (!given.contains("by")) {
    return reader_.error(node.Mark(), "'listen.agents.by' is missing", std::string(ways));
  }
  const Node& way = given.at("by");
  const auto by = reader_.scalar(way, "a way to know agents");
  if (!by) return;
  const std::string_view own = *by == "source_address" ? "map" : *by == "proxy_auth" ? "users" : "";
  for (const std::string_view key : {"map", "users"}) {
    if (!given.contains(key) || key == own) continue;
    reader_.error(
        given.at(key).Mark(),
        fmt::format("'listen.agents.{}' means nothing with 'by: {}'", key, text::printable(*by)),
        "leave it out");
  }
  const Node none;
  const Node& names = given.contains(own) ? given.at(own) : none;
  if (*by == "source_address") return by_source(node, names, listener);
  if (*by == "proxy_auth") return by_password(node, names, listener);
  if (*by != "client_certificate") {
    return reader_.wrong(way, "is no way to know agents", std::string(ways));
  }
  listener.who = Listener::ByCertificate();
  if (!listener.tls || listener.tls->client_ca.empty()) {
    reader_.error(way.Mark(), "'client_certificate' needs 'tls' with 'client_ca'",
                  "add 'tls: {cert: proxy.pem, key: proxy.key, client_ca: agents-ca.pem}'");
  }
}

// Every entry of a map that has at least one.
void ListenReader::each(const Node& agents, const Node& map, std::string_view hint,
                        const std::function<void(const Node&, const Node&)>& read) {
  if (!map.IsMap() || map.size() == 0) {
    reader_.error((map.IsNull() ? agents : map).Mark(), "'listen.agents' names nobody",
                  std::string(hint));
    return;
  }
  for (const auto& entry : map) read(entry.first, entry.second);
}

void ListenReader::by_source(const Node& agents, const Node& map, Listener& listener) {
  Listener::BySource out;
  each(agents, map, "add 'map: {10.1.0.7: NAME, 10.1.0.0/24: NAME}'",
       [&](const Node& range, const Node& name) { source(range, name, out); });
  listener.who = std::move(out);
}

void ListenReader::source(const Node& range, const Node& name, Listener::BySource& out) {
  const auto text = reader_.scalar(range, "an address or a range");
  const auto agent = agent_name(name);
  if (!text) return;
  const auto cidr = Cidr::parse(*text);
  if (!cidr || is_mapped_v4(cidr->network)) {
    return reader_.wrong(range, "is no address or range",
                         "write 10.1.0.7, 10.1.0.0/24 or 2001:db8::/64, without set host bits");
  }
  for (const auto& [other, whose] : out.agents) {
    if (other == *cidr) {
      return reader_.wrong(range, fmt::format("is given twice: it is agent '{}' already", whose),
                           "keep one of them");
    }
  }
  if (agent) out.agents.emplace_back(*cidr, *agent);
}

void ListenReader::by_password(const Node& agents, const Node& map, Listener& listener) {
  Listener::ByPassword out;
  each(agents, map, "add 'users: {NAME: \"$y$…\"}', a hash by 'mkpasswd -m yescrypt'",
       [&](const Node& name, const Node& hash) { user(name, hash, out); });
  listener.who = std::move(out);
}

void ListenReader::user(const Node& name, const Node& hash, Listener::ByPassword& out) {
  const auto agent = agent_name(name);
  const auto text = reader_.scalar(hash, "the hash of a password");
  if (text) {
    // Shown without its value: it may be a password.
    if (const auto good = check_password_hash(agent.value_or(""), *text); !good) {
      reader_.error(hash.Mark(), good.error().what, good.error().hint);
    }
  }
  if (!agent || !text) return;
  for (const auto& [other, ignored] : out.users) {
    if (other == *agent) return reader_.wrong(name, "is given twice", "keep one of them");
  }
  out.users.emplace_back(*agent, *text);
}

void ListenReader::warn(const Node& node, const Listener& listener) {
  const IpAddress& at = listener.address.address;
  if (listener.address.port == 0) return;  // an error already
  if (std::holds_alternative<Listener::ByPassword>(listener.who) && !listener.tls &&
      !is_loopback(at)) {
    reader_.warning(node.Mark(),
                    fmt::format("passwords travel readable to {}", shown(listener.address)),
                    "add 'tls: {cert: proxy.pem, key: proxy.key}'");
  }
  const auto* fixed = std::get_if<Listener::Fixed>(&listener.who);
  if (fixed != nullptr && !fixed->agent.empty() && is_every_address(at) &&
      !(listener.tls && !listener.tls->client_ca.empty())) {
    reader_.warning(
        node.Mark(),
        fmt::format("whoever reaches {} is agent '{}'", shown(listener.address), fixed->agent),
        "listen on the one address that the agent's container uses");
  }
}

}  // namespace

void read_listen(ConfigReader& reader, const YAML::Node& node, std::vector<Listener>& out) {
  ListenReader listeners(reader, out);
  reader.list(node, "a list of listeners", "write '- {address: \"127.0.0.1:3128\", agent: NAME}'",
              [&](const Node& item) { listeners.item(item); });
}

}  // namespace sluice::proxy
