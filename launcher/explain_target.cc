#include "launcher/explain_target.h"

#include <fmt/core.h>

#include <optional>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::uint16_t default_port = 443;

std::optional<std::uint16_t> port_of_scheme(std::string_view scheme) {
  if (scheme == "https") return default_port;
  if (scheme == "http") return 80;
  return std::nullopt;
}

Failure bad_target(std::string_view text, std::string_view why) {
  return fail(Errc::bad_config, fmt::format("'{}': {}", text::printable(text), why),
              "name a host, HOST:PORT, http://HOST/PATH or https://HOST/PATH");
}

}  // namespace

Result<ExplainTarget> parse_explain_target(std::string_view text) {
  std::string_view authority = text;
  std::string_view path;
  std::optional<std::uint16_t> port = default_port;
  if (const std::size_t colon = text.find("://"); colon != std::string_view::npos) {
    port = port_of_scheme(text.substr(0, colon));
    if (!port) return bad_target(text, "only http and https are judged by URL");
    authority = text.substr(colon + 3);
    const std::size_t end = std::min(authority.find_first_of("/?#"), authority.size());
    path = authority.substr(end);
    path = path.substr(0, path.find('#'));
    authority = authority.substr(0, end);
  }
  auto target = allowlists::Target::parse(authority, port);
  // A bare IPv6 address has colons of its own.
  if (!target && text.find("://") == std::string_view::npos) {
    if (auto host = allowlists::Host::parse(authority); host && !host->is_name()) {
      return ExplainTarget{{*host, default_port}, {}};
    }
  }
  if (!target) return bad_target(text, target.error().why);
  return ExplainTarget{*target, std::string(path)};
}

}  // namespace sluice::launcher
