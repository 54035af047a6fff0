#include "allowlists/public_suffix.h"

#include <libpsl.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace sluice::allowlists {

bool is_public_suffix(const std::string& name) {
  constexpr std::array<std::string_view, 6> nobodys = {"test",      "example", "invalid",
                                                       "localhost", "local",   "internal"};
  if (std::find(nobodys.begin(), nobodys.end(), name) != nobodys.end()) return false;
  // Compiled into libpsl; a libpsl without it answers for every name that it is one.
  const psl_ctx_t* list = ::psl_builtin();
  return list == nullptr || ::psl_is_public_suffix(list, name.c_str()) == 1;
}

}  // namespace sluice::allowlists
