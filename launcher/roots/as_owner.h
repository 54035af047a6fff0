// Works on files of a root that belong to its owner's other ids.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "launcher/roots/sub_ids.h"

namespace sluice::launcher {

// Runs `work` in a child that is root of a user namespace with the caller and his `ids`: it may do
// with their files what it likes, and what it makes belongs to the caller. Answers what it answers.
Result<std::string> as_owner(const SubIds& ids, const std::function<Result<std::string>()>& work);

}  // namespace sluice::launcher
