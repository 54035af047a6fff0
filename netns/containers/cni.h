// `sluice-netns` as a CNI plugin (specification 1.0.0 and 1.1.0): what it does for each command.
#pragma once

#include "netns/containers/cni_request.h"
#include "netns/named/state.h"

namespace sluice::netns {

// Reads the environment and stdin, answers on stdout. The exit status: 0, or 1 with an error there.
int cni_main();

// What the plugin calls an attachment: in its state file, and as a table of the node's rules.
std::string cni_state_id(const CniRequest& request);
std::string cni_node_table(const CniRequest& request);

// Each answers what is to be printed. They hold the folder's lock as long as they change anything.
CniResult<std::string> cni_add(const CniRequest& request, const StateFolder& folder);
CniResult<std::string> cni_del(const CniRequest& request, const StateFolder& folder);
CniResult<std::string> cni_check(const CniRequest& request, const StateFolder& folder);
CniResult<std::string> cni_gc(const CniRequest& request, const StateFolder& folder);
CniResult<std::string> cni_status(const CniRequest& request, const StateFolder& folder);

}  // namespace sluice::netns
