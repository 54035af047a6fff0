#include "launcher/sandbox/privileges.h"

#include <fmt/core.h>
#include <grp.h>
#include <linux/securebits.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <memory>

namespace sluice::launcher {
namespace {

constexpr rlim_t most_descriptors = 65536;

Result<void> empty_bounding_set() {
  for (unsigned long capability = 0; capability < 64; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    if (errno == EINVAL) return {};  // past the last one this kernel knows
    return fail_errno(Errc::not_permitted, fmt::format("PR_CAPBSET_DROP {}", capability));
  }
  return {};
}

}  // namespace

Result<void> become_host_id(uid_t id) {
  const std::string what = fmt::format("cannot become the host id {}", id);
  const std::string hint = "this root may be a container's: run sluice there as an ordinary user";
  if (::setgroups(0, nullptr) != 0) return fail_errno(Errc::not_permitted, what, hint);
  if (::setresgid(id, id, id) != 0) return fail_errno(Errc::not_permitted, what, hint);
  if (::setresuid(id, id, id) != 0) return fail_errno(Errc::not_permitted, what, hint);
  return {};
}

Result<void> die_with_parent() {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) return fail_errno(Errc::bug, "PR_SET_PDEATHSIG");
  return {};
}

Result<void> limit_resources() {
  const rlimit core{1, 1};
  if (::setrlimit(RLIMIT_CORE, &core) != 0) return fail_errno(Errc::not_permitted, "RLIMIT_CORE");
  rlimit descriptors{};
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) != 0) return fail_errno(Errc::bug, "RLIMIT_NOFILE");
  descriptors.rlim_max = std::min(descriptors.rlim_max, most_descriptors);
  descriptors.rlim_cur = std::min(descriptors.rlim_cur, descriptors.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &descriptors) != 0) {
    return fail_errno(Errc::not_permitted, "RLIMIT_NOFILE");
  }
  return {};
}

Result<void> drop_capabilities() {
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_CAP_AMBIENT_CLEAR_ALL");
  }
  if (auto emptied = empty_bounding_set(); !emptied) return emptied;
  constexpr unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP |
                                 SECBIT_NO_SETUID_FIXUP_LOCKED |
                                 SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  if (::prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_SET_SECUREBITS");
  }
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> none(::cap_init(),
                                                                           &::cap_free);
  if (!none || ::cap_set_proc(none.get()) != 0) return fail_errno(Errc::not_permitted, "capset");
  return {};
}

Result<void> close_all_but(std::vector<int> kept) {
  std::sort(kept.begin(), kept.end());
  int first = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (fd < first) continue;
    if (fd > first &&
        ::close_range(static_cast<unsigned>(first), static_cast<unsigned>(fd - 1), 0) != 0) {
      return fail_errno(Errc::bug, "close_range");
    }
    first = fd + 1;
  }
  if (::close_range(static_cast<unsigned>(first), ~0U, 0) != 0) {
    return fail_errno(Errc::bug, "close_range");
  }
  return {};
}

Result<void> forbid_new_privileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return fail_errno(Errc::not_permitted, "PR_SET_NO_NEW_PRIVS");
  }
  return {};
}

}  // namespace sluice::launcher
