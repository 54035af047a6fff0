// Which agent a pod is, by what the runtime says of it.
#pragma once

#include <string>
#include <string_view>

#include "netns/containers/cni_request.h"

namespace sluice::netns {

// The first of: SLUICE_AGENT in CNI_ARGS; `agent` in the configuration's args.cni;
// `dev.sluice.agent` in its runtimeConfig, or among the pod's annotations there, which the runtime
// passes only if the configuration declares the capability; NAMESPACE.NAME of the pod; the
// container's id. Errors: a name that was given and is none.
CniResult<std::string> agent_of(const CniRequest& request);

// NAMESPACE.NAME, if both have only the characters of Kubernetes' names and fit. Otherwise what
// fits of it, '_' and 32 digits of the SHA-256 of both: no name of Kubernetes has a '_', and so
// nobody can be named like somebody else.
std::string agent_of_pod(std::string_view pod_namespace, std::string_view pod_name);

// `id` itself, or, if it is too long, its beginning, '_' and 32 digits of its SHA-256.
std::string agent_of_container(std::string_view id);

}  // namespace sluice::netns
