// Names of network namespaces, as ip-netns(8) keeps them: a file in /run/netns on which the
// namespace is mounted.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::netns {

// "/run/netns/NAME"
std::string path_of_name(std::string_view name);

// All of these need root, and a name that is_valid_name().

// Whether there is anything by that name, a namespace or not.
Result<bool> has_name(const std::string& name);
// Makes /run/netns if it is missing, and a mount point whose mounts reach other mount namespaces,
// as ip-netns(8) does. The name must be free.
Result<void> bind_name(const std::string& name, int network_namespace);
// The namespace; nothing when there is no such name, or it names none (a file left half-way).
Result<std::optional<Fd>> open_name(const std::string& name);
// Unmounts it and removes the file; the namespace lives on while anybody holds it. What is not
// there is removed already.
Result<void> remove_name(const std::string& name);

}  // namespace sluice::netns
