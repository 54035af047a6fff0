#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/fd.h"
#include "launcher/paths.h"
#include "launcher/probes/areas.h"
#include "launcher/probes/attempt.h"
#include "launcher/probes/tree_walk.h"

namespace sluice::launcher::probes {
namespace {

constexpr std::size_t most_entries = 200'000;

// A path, or '@' and an abstract name (unix(7)). EPROTOTYPE: somebody is there and listens in
// another way; EAGAIN: too many wait.
bool answers(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() >= sizeof(address.sun_path)) return false;
  name.copy(address.sun_path, name.size());
  if (name.starts_with('@')) address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    const Fd socket(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket) continue;
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0) {
      return true;
    }
    if (errno == EAGAIN || errno == EPROTOTYPE) return true;
  }
  return false;
}

Answer host_sockets_do_not_answer(const Bounds& bounds) {
  if (bounds.plan.outside.sockets.empty()) return not_applicable("the machine lists none");
  for (const std::string& name : bounds.plan.outside.sockets) {
    if (answers(name)) return reached(name);
  }
  return held();
}

// A FIFO opens for writing only where somebody reads from it (fifo(7)).
bool somebody_reads(const std::string& path) {
  return bool(Fd(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)));
}

Answer nothing_in_sight_answers(const Bounds& bounds) {
  std::vector<std::string> places;
  for (const Mount& mount : bounds.plan.mounts) {
    if (mount.kind == Mount::Kind::bind) places.push_back(mount.path);
  }
  for (const char* shared : {"/run", "/tmp", "/var/tmp", "/var/run/", "/dev"}) {
    places.emplace_back(shared);
  }
  std::string found;
  for (const std::string& place : places) {
    walk(place, {most_entries}, [&](const FTSENT& entry) {
      const bool is_looked_at =
          entry.fts_info == FTS_DEFAULT &&
          ((S_ISSOCK(entry.fts_statp->st_mode) && answers(entry.fts_path)) ||
           (S_ISFIFO(entry.fts_statp->st_mode) && somebody_reads(entry.fts_path)));
      if (is_looked_at) found = entry.fts_path;
      return !is_looked_at;
    });
    if (!found.empty()) return reached(found);
  }
  return held();
}

constexpr Probe probes[] = {
    {"host sockets", "connects to every Unix socket that the machine lists", When::in_proof,
     host_sockets_do_not_answer},
    {"sockets in sight", "connects to every Unix socket and FIFO it finds in what is bound",
     When::in_proof, nothing_in_sight_answers},
};

}  // namespace

std::span<const Probe> socket_probes() { return probes; }

}  // namespace sluice::launcher::probes
