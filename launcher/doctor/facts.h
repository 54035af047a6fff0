// What a machine answered when it was asked: plain values, from which the findings are made.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/cgroup/place.h"

namespace sluice::launcher::doctor {

// A system call that was made so that it changes nothing.
struct CallFact {
  std::string name;
  std::string since;     // the Linux version that brought it
  int error_number = 0;  // ENOSYS: unknown; EPERM: a filter refuses it; else it is there
};

// The settings that forbid user namespaces, as the files of /proc/sys say; "" where one is absent.
struct NamespaceSettingsFact {
  std::string max_user_namespaces;        // user.max_user_namespaces
  std::string max_net_namespaces;         // user.max_net_namespaces
  std::string unprivileged_userns_clone;  // kernel.unprivileged_userns_clone (Debian)
  std::string apparmor_restrict;          // kernel.apparmor_restrict_unprivileged_userns (Ubuntu)
};

// Something that was tried in a child process.
struct Attempt {
  enum class End : std::uint8_t { not_tried, worked, failed, no_answer };
  End end = End::not_tried;
  int error_number = 0;  // where it is known
  std::string what;      // of a failure: base/error.h
  std::string hint;
};

// What a sandbox does first, tried in the order of the members; what follows a failure is not
// tried.
struct SandboxFact {
  Attempt host_id;         // root's agent gets an id of its own
  Attempt user_namespace;  // with a network namespace
  Attempt user_map;        // the write of its uid_map and gid_map
  Attempt namespaces;      // all of them, by the code of `sluice run`
  Attempt root_copy;       // a read-only copy of the root's mounts
  Attempt kernel_files;    // a /proc and a /sys of its own
  Attempt network;         // the agent's network
  Attempt nested;          // the agent's own user namespace, inside
  std::optional<bool> nf_tables;
  bool captured = false;  // every port of every address arrives at the proxy
};

struct CgroupFact {
  bool readable = false;  // /proc/self/mountinfo and /proc/self/cgroup
  std::vector<cgroup::Hierarchy> hierarchies;
  cgroup::Place place;       // what `sluice run` finds there
  std::string why_no_scope;  // "" where systemd can be asked for another place
};

struct SubidFact {
  unsigned long long uids = 0;  // in /etc/subuid
  unsigned long long gids = 0;  // in /etc/subgid
  bool has_newuidmap = false;
  bool has_newgidmap = false;
  bool may_map = false;    // they have the rights that they need
  bool is_usable = false;  // a whole range too: find_sub_ids()
};

struct Facts {
  uid_t uid = 0;
  std::string user;     // of passwd(5), else the number
  std::string release;  // uname(2)
  std::vector<CallFact> calls;
  NamespaceSettingsFact settings;
  SandboxFact sandbox;
  Attempt id_map;         // of the current directory's file system; root only
  std::string directory;  // that one
  bool has_ipv6 = false;
  int landlock_abi = 0;                // 0: none
  int landlock_error = 0;              // why
  int seccomp_error = 0;               // of SECCOMP_GET_ACTION_AVAIL for SECCOMP_RET_ERRNO
  int notify_error = 0;                // of SECCOMP_GET_NOTIF_SIZES
  int vsock_error = 0;                 // of socket(AF_VSOCK)
  bool has_user_attributes = true;     // extended ones, of a tmpfs
  bool has_trusted_attributes = true;  // likewise, for this caller
  CgroupFact cgroup;
  SubidFact subids;
  std::string sluiced;  // where the embedded proxy's program should lie
  bool has_sluiced = false;
  Attempt shared;  // to connect to a shared sluiced; not tried where it has no socket

  bool is_root() const { return uid == 0; }
};

}  // namespace sluice::launcher::doctor
