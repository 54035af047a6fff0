// What this machine and the person who started sluice are: everything a plan depends on, gathered
// once.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/plan/host_mounts.h"

namespace sluice::launcher {

struct Machine {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t umask = 022;
  std::string user;               // from passwd(5); "user" where it knows none
  std::string home;               // $HOME, resolved; "/home/agent" where it names no directory
  std::string known_home;         // passwd(5)'s, resolved, wherever $HOME points; "" for none
  std::string program_directory;  // where the running sluice and its sluiced lie
  std::string runtime_directory;  // where runs of this user keep their admin sockets
  std::vector<std::string> linked_secrets;  // of both homes: where symbolic links lead
  std::vector<std::string> sockets;         // bound Unix sockets that have a path, proc_net_unix
  std::vector<HostMount> mounts;         // what is mounted where, for other names of what is hidden
  std::vector<std::string> environment;  // environ(7)
  std::vector<std::string> users;        // the names of passwd(5)
  std::vector<std::string> groups;       // the names of group(5)

  bool is_root() const noexcept { return uid == 0; }
  // The value of a variable, or "".
  std::string variable(std::string_view name) const;
};

// A setuid sluice is refused: the person's environment would steer a stranger's privileges.
Result<Machine> survey_machine();

// The same without the programs, sockets and mounts, which cost the more the more runs on a
// machine.
Result<Machine> survey_person();

// The names of a passwd(5) or group(5): what comes before the first colon of each line. Those that
// stand for others (nss_compat's + and -) are left out.
std::vector<std::string> account_names(std::string_view table);

// The paths of a /proc/net/unix: last column, where it begins with '/'. Spaces belong to the path.
std::vector<std::string> socket_paths(std::string_view proc_net_unix);

}  // namespace sluice::launcher
