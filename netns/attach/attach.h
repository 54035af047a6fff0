// Makes an agent's network in somebody else's namespace, or refuses it with the reason.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/strong.h"
#include "netns/attach/target.h"
#include "netns/attach/weakness.h"
#include "netns/handover.h"
#include "netns/named/state.h"

namespace sluice::netns {

// No: the caller knows better than the kernel, as before a container's first process has given up
// what it can do.
using JudgeProcesses = YesNo<struct JudgeProcessesTag>;

struct AttachOrder {
  pid_t pid = 0;     // of a process in it, or
  std::string path;  // of the namespace
  std::string agent;
  std::string proxy;  // handover socket
  std::vector<Weakness> despite;
  JudgeProcesses judge = JudgeProcesses::yes;
  LeaseState::Kind kind = LeaseState::Kind::attached;
  std::string id;                      // of the state file; "": the agent's name
  std::vector<std::string> withdrawn;  // besides: sentences of the caller's own judgement
};

struct AttachedNetwork {
  std::vector<RoleSocket> sockets;
  std::vector<Fd> watch;  // WayOutWatch::open_sockets()
  Fd refused_udp;         // of a RefusedUdp; empty without capture rules
  std::uint64_t cookie = 0;
  std::vector<std::string> withdrawn;  // sentences: what is accepted, and what no longer holds
};

// Looks at the namespace and at each process in it, then makes the network, or opens the listeners
// of one that was made before. Errors (Errc::not_permitted) name each weakness that the order does
// not accept. The caller must have one thread only; needs root, or to be the user who made the user
// namespace that owns the network.
Result<AttachedNetwork> make_attached_network(const Target& target, const AttachOrder& order);

}  // namespace sluice::netns
