#include <fmt/format.h>

#include "allowlists/agent_pattern.h"
#include "allowlists/host.h"
#include "allowlists/policy.h"
#include "base/text.h"
#include "proxy/daemon/config_reader.h"

namespace sluice::proxy {
namespace {

using Node = YAML::Node;

constexpr std::string_view url_hint = "write http://proxy.example:3128";

void read_url(ConfigReader& reader, const Node& node, Config::UpstreamProxy& out) {
  const auto value = reader.scalar(node, "the URL of a proxy");
  if (!value) return;
  // Before anything that would repeat it.
  if (value->find('@') != std::string::npos) {
    return reader.error(node.Mark(), "'upstream_proxy.url' has a user or a password in it",
                        "keep the secret out of this file: write 'user:password' into another one "
                        "and name it, credentials: {file: proxy.credentials}");
  }
  std::string_view rest = *value;
  constexpr std::string_view scheme = "http://";
  if (!rest.starts_with(scheme)) {
    return reader.wrong(node, "is no upstream proxy that is supported",
                        "write http://proxy.example:3128: it is asked by CONNECT over plain TCP; "
                        "TLS to the proxy and SOCKS are not supported");
  }
  rest.remove_prefix(scheme.size());
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto target = allowlists::Target::parse(rest, std::nullopt);
  if (!target) {
    return reader.wrong(node, fmt::format("names no proxy: {}", target.error().why),
                        std::string(url_hint));
  }
  out.host = target->host.to_string();
  out.port = target->port;
}

// "example.com", ".example.com", "*.example.com", in canonical form.
std::optional<std::string> read_pattern(std::string_view text) {
  std::string_view prefix;
  if (text.starts_with("*.")) {
    prefix = text.substr(0, 2);
  } else if (text.starts_with('.')) {
    prefix = text.substr(0, 1);
  }
  const auto host = allowlists::Host::parse(text.substr(prefix.size()));
  if (!host || !host->is_name()) return {};
  return std::string(prefix) + host->name();
}

void read_exception(ConfigReader& reader, const Node& node, Config::UpstreamProxy::Except& except) {
  const auto value = reader.scalar(node, "a name or a range of addresses");
  if (!value) return;
  if (const auto range = Cidr::parse(*value)) {
    except.ranges.push_back(*range);
  } else if (auto pattern = read_pattern(*value)) {
    except.hosts.push_back(std::move(*pattern));
  } else {
    reader.wrong(node, "is neither a name nor a range of addresses",
                 "write example.com, \".example.com\", \"*.example.com\" or 10.0.0.0/8");
  }
}

void read_send(ConfigReader& reader, const Node& node, Config::UpstreamProxy& out) {
  const auto value = reader.scalar(node, "address or name");
  if (!value) return;
  if (*value != "address" && *value != "name") {
    return reader.wrong(node, "is not what an upstream proxy can be sent",
                        "write address, or name where only the upstream proxy can resolve names");
  }
  if (*value == "address") return;
  out.send = Config::UpstreamProxy::Send::name;
  reader.warning(node.Mark(),
                 "with 'send: name' the upstream proxy resolves the names, and no address is "
                 "judged here: an allowed name may lead it to private addresses and to metadata "
                 "services",
                 "leave 'send' out unless only the upstream proxy can resolve names");
}

// --- egress

void read_agent(ConfigReader& reader, const Node& node, Config::Egress& out) {
  const auto value = reader.scalar(node, "an agent's name");
  if (!value) return;
  if (!allowlists::is_agent_name(*value) && !allowlists::is_agent_glob(*value)) {
    return reader.wrong(node, "is no agent's name",
                        "write letters, digits, '.', '_' and '-', and '*' for any of them");
  }
  out.agents.push_back(*value);
}

void read_source(ConfigReader& reader, const Node& node, Config::Egress& out) {
  const auto value = reader.scalar(node, "an address of this machine");
  if (!value) return;
  const auto address = IpAddress::parse(*value);
  const bool unspecified = address && (*address == IpAddress() || *address == IpAddress::v6({}));
  if (!address || unspecified) {
    return reader.wrong(node, "is no address to leave from", "write 192.0.2.10 or 2001:db8::10");
  }
  auto& slot = address->is_v4() ? out.source_v4 : out.source_v6;
  if (slot) {
    return reader.wrong(node, "is a second address of its family",
                        "keep one IPv4 and one IPv6 address");
  }
  slot = address;
}

void read_mark(ConfigReader& reader, const Node& node, Config::Egress& out) {
  const auto value = reader.scalar(node, "a mark");
  if (!value) return;
  const bool hexadecimal = value->starts_with("0x");
  const auto number =
      hexadecimal ? parse_number(std::string_view(*value).substr(2), 16) : parse_number(*value);
  if (!number || *number == 0 || *number > 0xffffffff) {
    return reader.wrong(node, "is no mark", "write a number from 1 to 0xffffffff, such as 0x10");
  }
  out.mark = static_cast<std::uint32_t>(*number);
}

void read_entry(ConfigReader& reader, const Node& node, std::vector<Config::Egress>& out) {
  Config::Egress entry;
  reader.section(node, "egress",
                 {{"agents",
                   [&](const Node& n) {
                     reader.list(n, "a list of agents", "write [\"coder-*\"]",
                                 [&](const Node& item) { read_agent(reader, item, entry); });
                   }},
                  {"source",
                   [&](const Node& n) {
                     reader.list(n, "a list of addresses", "write [192.0.2.10]",
                                 [&](const Node& item) { read_source(reader, item, entry); });
                   }},
                  {"mark", [&](const Node& n) { read_mark(reader, n, entry); }}});
  if (!node.IsMap()) return;
  if (!node["agents"] || (node["agents"].IsSequence() && node["agents"].size() == 0)) {
    reader.error(node.Mark(), "an 'egress' entry is for no agent", "add agents: [\"coder-*\"]");
  }
  const bool says_how =
      node["mark"] ||
      (node["source"] && (!node["source"].IsSequence() || node["source"].size() > 0));
  if (!says_how) {
    reader.error(node.Mark(), "an 'egress' entry has neither a 'source' nor a 'mark'",
                 "add source: [192.0.2.10] or mark: 0x10");
  }
  out.push_back(std::move(entry));
}

}  // namespace

void read_upstream_proxy(ConfigReader& reader, const Node& node,
                         std::optional<Config::UpstreamProxy>& out) {
  Config::UpstreamProxy& read = out.emplace(Config::UpstreamProxy{});
  reader.section(
      node, "upstream_proxy",
      {{"url", [&](const Node& n) { read_url(reader, n, read); }},
       {"credentials",
        [&](const Node& n) {
          reader.section(
              n, "upstream_proxy.credentials",
              {{"file", [&](const Node& file) { reader.path(file, read.credentials_file); }}});
        }},
       {"except",
        [&](const Node& n) {
          reader.list(n, "a list of names and ranges", "write [\".example.com\", 10.0.0.0/8]",
                      [&](const Node& item) { read_exception(reader, item, read.except); });
        }},
       {"send", [&](const Node& n) { read_send(reader, n, read); }}});
  if (node.IsMap() && !node["url"]) {
    reader.error(node.Mark(), "'upstream_proxy.url' is missing", std::string(url_hint));
  }
  const Node credentials = node.IsMap() ? node["credentials"] : Node();
  if (credentials && credentials.IsMap() && !credentials["file"]) {
    reader.error(credentials.Mark(), "'upstream_proxy.credentials' names no file",
                 "write credentials: {file: proxy.credentials}");
  }
}

void read_egress(ConfigReader& reader, const Node& node, std::vector<Config::Egress>& out) {
  reader.list(node, "a list of entries", "write one '- {agents: [\"coder-*\"], mark: 0x10}' a line",
              [&](const Node& item) { read_entry(reader, item, out); });
}

}  // namespace sluice::proxy
