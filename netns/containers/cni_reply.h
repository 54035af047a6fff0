// What a CNI plugin answers on stdout.
#pragma once

#include <string>

#include "netns/containers/cni_request.h"

namespace sluice::netns {

// The result of ADD. Behind another plugin: its result, as it was. Alone: lo with its addresses.
std::string add_result(const CniRequest& request);
// {"cniVersion":…,"code":…,"msg":…,"details":…}
std::string error_result(const CniError& error, const std::string& version);
std::string version_result(const std::string& version);

}  // namespace sluice::netns
