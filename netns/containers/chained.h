// The network of a pod that has an interface of another CNI plugin's: answers leave by it, and all
// that the pod starts itself arrives at the proxy.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/strong.h"
#include "netns/handover.h"

namespace sluice::netns {

using AllowRawSockets = YesNo<struct AllowRawSocketsTag>;

struct ChainedRequest {
  int pod_network = -1;    // descriptor of the pod's network namespace
  std::string interface;   // the name of the interface in it
  std::string node_table;  // what the node's wall is to be called
  // Yes: no walls. Nothing then stops a pod with CAP_NET_RAW from sending past its IP stack.
  AllowRawSockets raw = AllowRawSockets::no;
};

// What is there now, for check_chained_network() and remove_node_wall().
using ChainedFacts = std::map<std::string, std::string>;
struct ChainedNetwork {
  std::vector<RoleSocket> sockets;
  ChainedFacts facts;
};

// In the node's network namespace, by a child process in the pod's. In this order: the interface
// must be the only link beside lo; the node's wall; the pod's rules and wall; lo and the routes;
// the listeners; then the check that build_agent_network() makes as well. The first step that fails
// is the error; the pod must then not be started, and remove_node_wall() be called. Without both
// walls (the interface is no veth of this node, the kernel is older than 5.16) it fails, unless raw
// sockets are allowed. The caller must have one thread only. Needs CAP_NET_ADMIN over both
// namespaces.
Result<ChainedNetwork> build_chained_network(const ChainedRequest& request);

// Whether rules, walls, routes and links are as build_chained_network() has left them.
Result<void> check_chained_network(int pod_network, const ChainedFacts& facts);

// Removes the node's part, if it is there. The pod's stays with its namespace: it has no way out
// again.
Result<void> remove_node_wall(const std::string& node_table);

}  // namespace sluice::netns
