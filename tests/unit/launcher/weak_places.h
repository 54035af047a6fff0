// Places in which a probe finds what it looks for: each is arranged by the process that then
// probes.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "base/io.h"
#include "launcher/probes/probe.h"

namespace sluice::launcher::probes {

// A probing process, and what its probe is told.
struct Scene {
  std::string folder;  // empty, the test's own
  Plan plan;
  pid_t init = 0;
};

using Arrange = bool (*)(Scene& scene);  // false: this caller or machine cannot have it

inline bool write(const std::string& path, std::string_view text) {
  const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  return file && write_all(file.get(), path, text);
}

inline bool as_it_is(Scene&) { return true; }

// Every capability, over new namespaces.
inline bool with_powers(Scene&) {
  const std::string uid = std::to_string(::geteuid());
  const std::string gid = std::to_string(::getegid());
  constexpr int all = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  return ::unshare(all) == 0 && write_file("/proc/self/setgroups", "deny") &&
         write_file("/proc/self/uid_map", "0 " + uid + " 1") &&
         write_file("/proc/self/gid_map", "0 " + gid + " 1") &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

// A network with a link, an address and a route that lead out of it (to nobody).
inline bool with_a_way_out(Scene& scene) {
  scene.plan.outside.addresses = {"192.0.2.77"};
  return with_powers(scene) &&
         ::system(
             "ip link set lo up && ip link add v0 type veth peer name v1 &&"
             "ip link set v1 up && ip link set v0 up && ip addr add 192.0.2.9/24 dev v0 &&"
             "ip route add default dev v0") == 0;
}

// A resolver that has an answer to the first question.
inline bool with_a_resolver(Scene& scene) {
  if (!with_a_way_out(scene)) return false;
  const int server = ::socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(53);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(server, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) return false;
  if (::fork() != 0) return true;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  unsigned char message[512];
  sockaddr_in client{};
  socklen_t size = sizeof(client);
  const ssize_t length =
      ::recvfrom(server, message, sizeof(message), 0, reinterpret_cast<sockaddr*>(&client), &size);
  message[7] = 1;  // one answer, RFC 1035 4.1.1
  ::sendto(server, message, static_cast<std::size_t>(length), 0,
           reinterpret_cast<sockaddr*>(&client), size);
  ::_exit(0);
}

inline bool in_a_new_root(const std::string& folder) {
  return ::mount("none", folder.c_str(), "tmpfs", 0, "mode=0755") == 0 &&
         ::chroot(folder.c_str()) == 0 && ::chdir("/") == 0 && ::mkdir("/proc", 0755) == 0 &&
         ::mkdir("/etc", 0755) == 0 && ::mkdir("/dev", 0755) == 0;
}

// A root directory of files that should not be there.
inline bool in_a_careless_root(Scene& scene) {
  return with_powers(scene) && in_a_new_root(scene.folder) && write("/proc/sysrq-trigger", "") &&
         write("/proc/kcore", "text") && write("/etc/shadow", "text");
}

inline bool with_memory_device(Scene& scene) {
  return ::geteuid() == 0 && ::unshare(CLONE_NEWNS) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         in_a_new_root(scene.folder) && ::mknod("/dev/anything", S_IFCHR | 0600, 1 << 8 | 1) == 0;
}

inline bool with_unlimited_memory(Scene& scene) {
  return with_powers(scene) &&
         ::mount("none", scene.folder.c_str(), "tmpfs", 0, "size=0,nr_inodes=0") == 0;
}

inline bool with_more_memory_than_planned(Scene& scene) {
  Mount planned;
  planned.path = scene.folder;
  planned.bytes = 4096;
  scene.plan.mounts = {planned};
  return with_powers(scene) &&
         ::mount("none", scene.folder.c_str(), "tmpfs", 0, "size=1m,nr_inodes=64") == 0;
}

// `name`: a path, or '@' and an abstract name.
inline bool listen_at(const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (name.starts_with('@')) address.sun_path[0] = '\0';
  const int server = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  return ::bind(server, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
         ::listen(server, 1) == 0;
}

inline bool with_an_abstract_socket(Scene& scene) {
  scene.plan.outside.sockets = {"@sluice probes " + std::to_string(::getpid())};
  return listen_at(scene.plan.outside.sockets.front());
}

inline bool with_a_socket_by_path(Scene& scene) {
  scene.plan.outside.sockets = {scene.folder + "/socket"};
  return listen_at(scene.plan.outside.sockets.front());
}

inline Mount shown(const std::string& path) {
  Mount mount;
  mount.kind = Mount::Kind::bind;
  mount.path = path;
  return mount;
}

inline bool with_a_socket_in_sight(Scene& scene) {
  scene.plan.mounts = {shown(scene.folder)};
  return ::mkdir((scene.folder + "/deep").c_str(), 0755) == 0 &&
         listen_at(scene.folder + "/deep/socket");
}

inline bool with_a_fifo_in_sight(Scene& scene) {
  scene.plan.mounts = {shown(scene.folder)};
  const std::string path = scene.folder + "/fifo";
  return ::mkfifo(path.c_str(), 0600) == 0 && ::open(path.c_str(), O_RDONLY | O_NONBLOCK) >= 0;
}

inline bool with_a_masked_file(Scene& scene) {
  scene.plan.masks = {scene.folder + "/none", scene.folder + "/file"};
  return write(scene.folder + "/file", "text");
}

inline bool with_a_masked_directory(Scene& scene) {
  scene.plan.masks = {scene.folder};
  return write(scene.folder + "/file", "");
}

inline bool with_the_machines_namespaces(Scene& scene) {
  scene.plan.outside.namespaces = own_namespaces();
  return true;
}

inline bool with_somebody_elses_terminal(Scene& scene) {
  if (!with_powers(scene)) return false;
  const int leader = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (leader < 0 || ::grantpt(leader) != 0 || ::unlockpt(leader) != 0) return false;
  const int follower = ::open(::ptsname(leader), O_RDWR | O_NOCTTY);
  return follower >= 0 && ::dup2(follower, STDIN_FILENO) == STDIN_FILENO &&
         ::mount("none", "/dev/pts", "devpts", 0, "newinstance") == 0;
}

}  // namespace sluice::launcher::probes
