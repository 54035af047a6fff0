// Asks this machine what it supports: reads its files, makes harmless system calls, tries the rest.
#pragma once

#include <string>
#include <string_view>

#include "launcher/doctor/facts.h"

namespace sluice::launcher::doctor {

// What cannot be read stays as Facts begins. Takes as long as try_sandbox() at most, and twice
// that for root.
Facts look();

// How many ids the lines of /etc/subuid or /etc/subgid give to a user, by name or number
// (subuid(5)).
unsigned long long count_subids(std::string_view file, const std::string& user, uid_t uid);

}  // namespace sluice::launcher::doctor
