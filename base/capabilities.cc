#include "base/capabilities.h"

#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include <algorithm>
#include <memory>

namespace sluice {
namespace {

constexpr Errc refused = Errc::not_permitted;

using Capabilities = std::unique_ptr<_cap_struct, int (*)(void*)>;

}  // namespace

Result<void> drop_capabilities() {
  // Whether capabilities outlive a change of ids means nothing without any: a program that asks for
  // it (ping) is let go on, and fails where it says why.
  constexpr unsigned harmless = SECBIT_KEEP_CAPS | SECBIT_KEEP_CAPS_LOCKED;
  if (::cap_set_secbits((SECURE_ALL_BITS | SECURE_ALL_LOCKS) & ~harmless) != 0) {
    return fail_errno(refused, "cannot set securebits");
  }
  for (cap_value_t cap = 0; ::cap_get_bound(cap) >= 0; ++cap) {
    if (::cap_drop_bound(cap) != 0) return fail_errno(refused, "cannot empty the bounding set");
  }
  if (::cap_reset_ambient() != 0) return fail_errno(refused, "cannot clear ambient capabilities");
  const Capabilities none(::cap_init(), ::cap_free);
  if (!none || ::cap_set_proc(none.get()) != 0)
    return fail_errno(refused, "cannot drop capabilities");
  const Capabilities left(::cap_get_proc(), ::cap_free);
  if (!left || ::cap_compare(left.get(), none.get()) != 0) {
    return fail(Errc::bug, "capabilities are left after dropping all");
  }
  return {};
}

Result<void> keep_capabilities(std::span<const int> kept) {
  const Capabilities wanted(::cap_init(), ::cap_free);
  if (!wanted) return fail_errno(refused, "cannot limit capabilities");
  for (const cap_value_t cap : kept) {
    for (const cap_flag_t set : {CAP_PERMITTED, CAP_EFFECTIVE}) {
      if (::cap_set_flag(wanted.get(), set, 1, &cap, CAP_SET) != 0) {
        return fail_errno(Errc::bug, "cap_set_flag");
      }
    }
  }
  for (cap_value_t cap = 0; ::cap_get_bound(cap) >= 0; ++cap) {
    if (std::find(kept.begin(), kept.end(), cap) != kept.end()) continue;
    if (::cap_drop_bound(cap) != 0) return fail_errno(refused, "cannot limit the bounding set");
  }
  if (::cap_reset_ambient() != 0) return fail_errno(refused, "cannot clear ambient capabilities");
  if (::cap_set_proc(wanted.get()) != 0) return fail_errno(refused, "cannot limit capabilities");
  const Capabilities left(::cap_get_proc(), ::cap_free);
  if (!left || ::cap_compare(left.get(), wanted.get()) != 0) {
    return fail(Errc::bug, "other capabilities are left than were to be kept");
  }
  return {};
}

Result<void> forbid_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail_errno(refused, "no_new_privs");
  return {};
}

}  // namespace sluice
