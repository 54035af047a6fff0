#include "proxy/daemon/peer_access.h"

#include <fmt/core.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "allowlists/agent_pattern.h"
#include "allowlists/policy.h"

namespace sluice::proxy {
namespace {

constexpr std::string_view user_word = "${user}";
constexpr std::size_t first_entry_bytes = 1024;
constexpr std::size_t most_entry_bytes = std::size_t{1024} * 1024;  // a group with many members

// One entry of the user or group database; `ask` is called with growing buffers.
template <class Ask>
bool ask_database(Ask ask) {
  for (std::size_t size = first_entry_bytes; size <= most_entry_bytes; size *= 4) {
    std::vector<char> buffer(size);
    const int error = ask(buffer);
    if (error != ERANGE) return error == 0;
  }
  return false;
}

std::string with_user(std::string_view pattern, std::string_view user) {
  std::string out;
  for (std::size_t at = 0; at < pattern.size();) {
    const std::size_t found = std::min(pattern.find(user_word, at), pattern.size());
    out += pattern.substr(at, found - at);
    if (found < pattern.size()) out += user;
    at = found + user_word.size();
  }
  return out;
}

bool is_glob(std::string_view pattern) {
  return allowlists::is_agent_name(pattern) || allowlists::is_agent_glob(pattern);
}

bool fits(const Config::Peer& line, const Credentials& peer) {
  if (line.kind == Config::Peer::Kind::user) return line.id == peer.uid;
  return std::find(peer.groups.begin(), peer.groups.end(), line.id) != peer.groups.end();
}

}  // namespace

Credentials credentials_of(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return {};
  Credentials credentials{.uid = peer.uid, .groups = {peer.gid}};
  std::vector<gid_t> more(32);
  size = static_cast<socklen_t>(more.size() * sizeof(gid_t));
  int failed = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, more.data(), &size);
  if (failed != 0 && errno == ERANGE) {
    more.resize(size / sizeof(gid_t));
    failed = ::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, more.data(), &size);
  }
  if (failed != 0) return credentials;
  more.resize(size / sizeof(gid_t));
  credentials.groups.insert(credentials.groups.end(), more.begin(), more.end());
  return credentials;
}

bool may_take_over(uid_t uid) noexcept { return uid == 0 || uid == ::geteuid(); }

std::optional<uid_t> user_id(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  const bool asked = ask_database([&](std::vector<char>& buffer) {
    return ::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  });
  return asked && found != nullptr ? std::optional(entry.pw_uid) : std::nullopt;
}

std::optional<gid_t> group_id(const std::string& name) {
  group entry{};
  group* found = nullptr;
  const bool asked = ask_database([&](std::vector<char>& buffer) {
    return ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
  });
  return asked && found != nullptr ? std::optional(entry.gr_gid) : std::nullopt;
}

std::optional<std::string> user_name(uid_t uid) {
  std::optional<std::string> name;
  (void)ask_database([&](std::vector<char>& buffer) {
    passwd entry{};
    passwd* found = nullptr;
    const int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    if (error == 0 && found != nullptr) name = entry.pw_name;
    return error;
  });
  return name;
}

bool is_name_pattern(std::string_view pattern) { return is_glob(with_user(pattern, "u")); }

bool covers(const Grant& grant, std::string_view agent) noexcept {
  return std::any_of(grant.begin(), grant.end(), [&](const std::string& glob) {
    return allowlists::glob_matches(glob, agent);
  });
}

Grant PeerAccess::names_for(const Credentials& peer) const {
  if (peer.uid == nobody) return {};
  if (!lines_) return may_take_over(peer.uid) ? Grant{"*"} : Grant();
  Grant grant;
  std::optional<std::string> user;
  for (const Config::Peer& line : *lines_) {
    if (!fits(line, peer)) continue;
    for (const std::string& pattern : line.agents) {
      if (pattern.find(user_word) == std::string::npos) {
        grant.push_back(pattern);
        continue;
      }
      if (!user) user = user_name(peer.uid).value_or(fmt::format("{}", peer.uid));
      // A user's name may hold what no agent's may, above all '*', which would match anything.
      if (user->find('*') != std::string::npos) continue;
      if (std::string glob = with_user(pattern, *user); is_glob(glob)) grant.push_back(glob);
    }
  }
  return grant;
}

std::string PeerAccess::refusal(uid_t uid) const {
  if (!lines_) return "only root and sluiced's own user may hand over agents";
  return fmt::format(
      "user {} may hand over no agents: no line of sluiced's handover.peers admits it", uid);
}

}  // namespace sluice::proxy
