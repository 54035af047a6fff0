#include "proxy/egress/way_out.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>

#include "allowlists/agent_pattern.h"
#include "base/fd.h"
#include "base/io.h"
#include "proxy/net.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t longest_credentials = 1024;

// "example.com", ".example.com" (it and what is below) or "*.example.com" (only what is below).
bool covers(std::string_view pattern, std::string_view name) noexcept {
  const bool below = pattern.starts_with("*.");
  const bool also_below = pattern.starts_with('.');
  if (!below && !also_below) return name == pattern;
  const std::string_view suffix = pattern.substr(below ? 1 : 0);
  return (name.size() > suffix.size() && name.ends_with(suffix)) ||
         (also_below && name == suffix.substr(1));
}

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

// What the file says is a secret: no error repeats it.
Result<std::string> read_authorization(const std::string& path, Errors& warnings) {
  auto text = read_file(path, longest_credentials);
  if (!text) return Failure(text.error());
  std::string_view line = *text;
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  const std::size_t colon = line.find(':');
  const bool has_controls = std::any_of(line.begin(), line.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (colon == std::string_view::npos || colon == 0 || has_controls) {
    return fail(Errc::bad_config,
                fmt::format("the credentials file '{}' is not one line 'user:password'", path),
                "write the user, a colon and the password into it, and nothing else");
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & (S_IRGRP | S_IROTH)) != 0) {
    warnings.push_back(
        {Errc::bad_config,
         fmt::format("others than its owner can read the credentials file '{}'", path),
         fmt::format("chmod 600 '{}'", path),
         {}});
  }
  return "Basic " + base64(line);
}

Result<void> try_mark(std::uint32_t mark) {
  const Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket) return fail_errno(Errc::unavailable, "cannot open a socket");
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0) return {};
  return fail_errno(Errc::not_permitted,
                    fmt::format("sluiced cannot set the mark {:#x} of 'egress'", mark),
                    "give sluiced CAP_NET_ADMIN, or leave 'mark' out");
}

// Whether this machine has the address now.
bool can_leave_from(const IpAddress& source) {
  const Fd socket(::socket(source.is_v4() ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  TcpEndpoint from(to_asio(source), 0);
  return ::bind(socket.get(), from.data(), static_cast<socklen_t>(from.size())) == 0;
}

Result<void> try_entry(const Config::Egress& entry, Errors& warnings) {
  if (entry.mark) {
    if (auto tried = try_mark(*entry.mark); !tried) return tried;
  }
  for (const auto& source : {entry.source_v4, entry.source_v6}) {
    if (!source || can_leave_from(*source)) continue;
    warnings.push_back(
        {Errc::unavailable,
         fmt::format("'egress': {} is no address of this machine", source->to_string()),
         fmt::format("until it is, the agents {} cannot connect from it",
                     fmt::join(entry.agents, ", ")),
         {}});
  }
  return {};
}

}  // namespace

bool UpstreamProxy::excepts(const allowlists::Host& target) const noexcept {
  if (!target.is_name()) return excepts(target.address());
  return std::any_of(except.hosts.begin(), except.hosts.end(),
                     [&](const std::string& pattern) { return covers(pattern, target.name()); });
}

bool UpstreamProxy::excepts(const IpAddress& address) const noexcept {
  return std::any_of(except.ranges.begin(), except.ranges.end(),
                     [&](const Cidr& range) { return range.contains(address); });
}

std::string UpstreamProxy::to_string() const { return allowlists::Target{host, port}.to_string(); }

Result<WayOut> WayOut::open(const Config& config, Errors& warnings) {
  WayOut way_out;
  way_out.entries_ = config.egress;
  for (const Config::Egress& entry : config.egress) {
    if (auto tried = try_entry(entry, warnings); !tried) return Failure(tried.error());
  }
  if (!config.upstream_proxy) return way_out;
  const Config::UpstreamProxy& read = *config.upstream_proxy;
  const auto host = allowlists::Host::parse(read.host);
  if (!host) return fail(Errc::bug, "the upstream proxy's host is not canonical");
  std::string authorization;
  if (!read.credentials_file.empty()) {
    auto found = read_authorization(read.credentials_file, warnings);
    if (!found) return Failure(found.error());
    authorization = std::move(*found);
  }
  way_out.upstream_.emplace(
      UpstreamProxy{*host, read.port, std::move(authorization), read.except, read.send});
  return way_out;
}

const Config::Egress* WayOut::of(std::string_view agent) const noexcept {
  for (const Config::Egress& entry : entries_) {
    const bool fits =
        std::any_of(entry.agents.begin(), entry.agents.end(),
                    [&](const std::string& glob) { return allowlists::glob_matches(glob, agent); });
    if (fits) return &entry;
  }
  return nullptr;
}

}  // namespace sluice::proxy
