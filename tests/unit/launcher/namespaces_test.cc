#include "launcher/sandbox/namespaces.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

namespace sluice::launcher {
namespace {

TEST(ForbiddenNamespaces, NameTheSettingAndItsMend) {
  EXPECT_EQ(
      namespace_hint(ENOSPC, {}),
      "this machine allows no more user namespaces: sysctl -w user.max_user_namespaces=15000");
  EXPECT_EQ(namespace_hint(EPERM, {.unprivileged_userns_clone = "0"}),
            "user namespaces are for root only here: sysctl -w kernel.unprivileged_userns_clone=1");
  EXPECT_EQ(
      namespace_hint(EACCES,
                     {.unprivileged_userns_clone = "1", .apparmor_restrict_unprivileged = "1"}),
      "AppArmor restricts user namespaces here: give sluice a profile with 'userns,', or sysctl -w "
      "kernel.apparmor_restrict_unprivileged_userns=0");
  EXPECT_EQ(namespace_hint(EROFS, {}),
            "/proc is read-only here: start the container with --security-opt "
            "systempaths=unconfined (podman: --security-opt unmask=ALL)");
  EXPECT_EQ(namespace_hint(EPERM, {}),
            "something around sluice forbids user namespaces; in a container: --security-opt "
            "seccomp=unconfined --security-opt systempaths=unconfined");
}

}  // namespace
}  // namespace sluice::launcher
