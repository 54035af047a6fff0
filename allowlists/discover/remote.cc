#include "allowlists/discover/remote.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <optional>

#include "allowlists/discover/lines.h"

namespace sluice::allowlists::discover {
namespace {

struct Scheme {
  std::string_view name;
  std::uint16_t port;
  bool is_tls_off;
};
constexpr std::array<Scheme, 4> schemes = {
    {{"https", 443, false}, {"http", 80, false}, {"ssh", 22, true}, {"git", 9418, true}}};

tl::unexpected<NoRemote> local() {
  return tl::unexpected(NoRemote{NoRemote::Kind::local, "a local path"});
}

tl::unexpected<NoRemote> refused(std::string what) {
  return tl::unexpected(NoRemote{NoRemote::Kind::refused, std::move(what)});
}

tl::expected<Remote, NoRemote> from_authority(std::string_view authority, const Scheme& scheme) {
  if (authority.find('\\') != std::string_view::npos) {
    // To some parsers it ends the authority, to others it is part of the user's name.
    return refused("a backslash in the host");
  }
  authority.remove_prefix(authority.rfind('@') + 1);  // npos + 1 is 0
  if (authority.empty()) return refused("the host is missing");
  // git, and everything that starts ssh, takes such a host for an option.
  if (authority.front() == '-') return refused("the host begins with '-'");
  if (authority.find('$') != std::string_view::npos ||
      authority.find('{') != std::string_view::npos)
    return refused("the host comes from a variable");
  if (authority.back() == ':') authority.remove_suffix(1);  // RFC 3986 3.2.3: an empty port
  auto target = Target::parse(authority, scheme.port);
  if (!target) return refused(target.error().why);
  return Remote{std::move(target->host), target->port, scheme.is_tls_off};
}

// "git+ssh", "ssh+git", "sparse+https" -> what carries the bytes.
const Scheme* find_scheme(std::string_view text) {
  std::string name = lowered(text);
  if (name == "ssh+git") name = "ssh";
  if (const auto plus = name.rfind('+'); plus != std::string::npos) name.erase(0, plus + 1);
  const auto found = std::find_if(schemes.begin(), schemes.end(),
                                  [&](const Scheme& scheme) { return scheme.name == name; });
  return found == schemes.end() ? nullptr : &*found;
}

bool is_local_scheme(std::string_view scheme) {
  const std::string name = lowered(scheme);
  return name == "file" || name.ends_with("+file");
}

// The host of "git@host:path", or nothing if this is a path.
std::optional<std::string_view> scp_authority(std::string_view address) {
  const std::size_t user = address.find('@');
  const std::size_t begin = user == std::string_view::npos ? 0 : user + 1;
  if (address.substr(begin).starts_with('[')) {
    const std::size_t end = address.find("]:", begin);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view inside = address.substr(begin + 1, end - begin - 1);
    const bool has_port = std::count(inside.begin(), inside.end(), ':') == 1;
    return has_port ? inside : address.substr(begin, end + 1 - begin);
  }
  const std::size_t colon = address.find(':');
  if (colon == std::string_view::npos || address.find('/') < colon) return std::nullopt;
  return address.substr(0, colon);
}

}  // namespace

tl::expected<Remote, NoRemote> parse_url(std::string_view url) {
  const std::size_t colon = url.find("://");
  if (colon == std::string_view::npos) {
    return url.find('$') == std::string_view::npos ? local()
                                                   : refused("the host comes from a variable");
  }
  const std::string_view scheme_name = url.substr(0, colon);
  if (is_local_scheme(scheme_name)) return local();
  const Scheme* scheme = find_scheme(scheme_name);
  if (scheme == nullptr) return refused("it is no http, https, ssh or git URL");
  const std::string_view rest = url.substr(colon + 3);
  const std::size_t end = std::min(rest.find_first_of("/?#"), rest.size());
  // "https://user:pass#word@host": what stands before the '#' is no host but half a password.
  if (end < rest.size() && rest[end] != '/' && rest.find('@', end) != std::string_view::npos) {
    return refused("an '@' behind the host");
  }
  return from_authority(rest.substr(0, end), *scheme);
}

tl::expected<Remote, NoRemote> parse_git_address(std::string_view address) {
  const std::size_t helper = address.find("::");
  if (helper != std::string_view::npos && helper < address.find_first_of("/@[")) {
    return refused("a remote helper, which is a program (gitremote-helpers(7))");
  }
  if (address.find("://") != std::string_view::npos) return parse_url(address);
  const auto authority = scp_authority(address);
  if (!authority) return local();
  auto target = from_authority(*authority, {"ssh", 22, true});
  if (!target && authority->starts_with('[')) return refused("no host in brackets");
  return target;
}

bool settles_host(std::string_view prefix) {
  const std::size_t colon = prefix.find("://");
  if (colon != std::string_view::npos) {
    return prefix.find_first_of("/?#", colon + 3) != std::string_view::npos &&
           parse_url(prefix).has_value();
  }
  return scp_authority(prefix).has_value() && parse_git_address(prefix).has_value();
}

}  // namespace sluice::allowlists::discover
