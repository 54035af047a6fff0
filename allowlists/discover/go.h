// What go/env files, go.env and the environment say to go.
#pragma once

#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {

// GOPROXY, GOSUMDB, GOPRIVATE and GONOPROXY (go help environment); other names say nothing here.
void add_go_setting(Scan& scan, std::string_view name, std::string_view value, const Place& place);

}  // namespace sluice::allowlists::discover
