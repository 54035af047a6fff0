// Turns the address of a registry or repository into the host and port behind it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "allowlists/host.h"

namespace sluice::allowlists::discover {

struct Remote {
  Host host;
  std::uint16_t port = 0;
  bool is_tls_off = false;  // ssh and git's own protocol: nothing in it to look at

  friend bool operator==(const Remote&, const Remote&) = default;
};

// Why a text leads to no remote host. `what` never repeats the text, which may hold a password.
struct NoRemote {
  enum class Kind : std::uint8_t {
    local,    // a path or file: nothing to reach
    refused,  // not understood, or no host that a rule could allow
  };
  Kind kind = Kind::refused;
  std::string what;
};

// An http, https, ssh or git URL; "git+ssh://", "sparse+https://" and the like count by what stands
// behind the last '+'. Everything before the last '@' of the authority is passed over. Text without
// "://" is local.
tl::expected<Remote, NoRemote> parse_url(std::string_view url);

// As git reads the address of a repository: also "git@host:path", "[host]:path" and
// "[host:port]:path" (git-fetch(1), GIT URLS).
tl::expected<Remote, NoRemote> parse_git_address(std::string_view address);

// Whether a text that begins with `prefix` names the host that `prefix` names, whatever follows.
bool settles_host(std::string_view prefix);

}  // namespace sluice::allowlists::discover
