// Turns checked rules into the policy that decides.
#pragma once

#include <memory>

#include "allowlists/policy_text.h"

namespace sluice::allowlists {

// `text` is not needed afterwards.
std::shared_ptr<const Policy> compile(const PolicyText& text);

}  // namespace sluice::allowlists
