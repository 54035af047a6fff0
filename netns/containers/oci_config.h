// Judges a container by its OCI configuration, before its first process is what it will be.
#pragma once

#include <string_view>
#include <vector>

#include "base/error.h"
#include "netns/attach/vsock.h"
#include "netns/attach/weakness.h"

namespace sluice::netns {

// What the bundle's config.json (runtime specification 1.0 to 1.2) says against the promise: of the
// capabilities process.capabilities, of AF_VSOCK linux.seccomp, read with the patience that it may
// be enforced in any order: only what every order refuses is refused. `ways` are vsock_ways() of
// the kernel. Errors: no JSON, or a container that has the network of whoever starts it.
Result<std::vector<Finding>> judge_oci_config(std::string_view config,
                                              const std::vector<VsockWay>& ways);

}  // namespace sluice::netns
