// What `sluice policy explain` is asked about: a host, host:port or URL, read as enforcement reads
// it.
#pragma once

#include <string>
#include <string_view>

#include "allowlists/host.h"
#include "base/error.h"

namespace sluice::launcher {

struct ExplainTarget {
  allowlists::Target target;
  std::string path;  // of a URL, with its query; else ""
};

// "api.example.com" (port 443), "api.example.com:22", "[2001:db8::1]:443", "http://…" (80),
// "https://…" (443). A URL with userinfo or a fragment's path is read up to the authority's end;
// other schemes are refused.
Result<ExplainTarget> parse_explain_target(std::string_view text);

}  // namespace sluice::launcher
