#include <grp.h>
#include <gtest/gtest.h>
#include <seccomp.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>

#include "tests/unit/proxy_daemon/enclosed_child.h"

namespace sluice::proxy {
namespace {

TEST(EnclosureOfRoot, RefusesToEncloseRootAsRoot) {
  const struct {
    Enclosure enclosure;
    std::string_view error;
  } cases[] = {
      {{}, "error: root cannot be enclosed as root\nhint: name a uid to become"},
      {{0}, "error: '0' is not a uid to become\nhint: name one from the range reserved for sluice"},
      {{static_cast<uid_t>(-1)},
       "error: '4294967295' is not a uid to become\nhint: name one from the range reserved for "
       "sluice"}};
  for (const auto& [wrong, error] : cases) {
    const auto closed = enclose(wrong);
    ASSERT_FALSE(closed);
    EXPECT_EQ(to_string(closed.error()), error);
  }
}

TEST(EnclosureOfUser, RefusesToGiveAnOrdinaryUserAnotherUid) {
  const auto closed = enclose({test_uid});
  ASSERT_FALSE(closed);
  EXPECT_EQ(to_string(closed.error()),
            "error: only root can become uid 1895890943\nhint: leave the uid out");
}

TEST(Enclosure, RefusesAProcessThatAlreadyHasThreads) {
  const Outcome outcome = in_child([](Report& report) {
    Pipe pipe;
    std::thread other([&pipe] {
      char byte = 0;
      (void)!::read(pipe.reader.get(), &byte, 1);
    });
    const auto closed = enclose(enclosure());
    report.say(closed ? "enclosed" : to_string(closed.error()));
    pipe.writer.reset();
    other.join();
  });
  EXPECT_EQ(outcome.report,
            "error: cannot make user, mount, IPC and UTS namespaces: Invalid argument\n"
            "hint: the kernel needs CONFIG_USER_NS, and the process one thread only\n");
}

// A kernel in which `call` answers with an error, or with success though it did nothing (0).
void spoil(const char* call, int error_number) {
  const scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  const auto action = SCMP_ACT_ERRNO(static_cast<std::uint32_t>(error_number));
  EXPECT_EQ(::seccomp_rule_add(filter, action, ::seccomp_syscall_resolve_name(call), 0), 0);
  EXPECT_EQ(::seccomp_load(filter), 0);
  ::seccomp_release(filter);
}

std::string enclosed_where(const char* call, int error_number) {
  return in_child([&](Report& report) {
           spoil(call, error_number);
           const auto closed = enclose(enclosure());
           report.say(closed ? "enclosed" : to_string(closed.error()));
         })
      .report;
}

TEST(Enclosure, StandsWithoutLandlock) {
  for (const int error_number : {ENOSYS, EOPNOTSUPP}) {
    EXPECT_EQ(enclosed_where("landlock_create_ruleset", error_number), "enclosed\n");
  }
}

TEST(Enclosure, IsRefusedWhenAnyStepFails) {
  const struct {
    const char* call;
    int error_number;
    std::string_view error;
  } cases[] = {
      {"unshare", ENOSPC,
       "error: cannot make user, mount, IPC and UTS namespaces: No space left on device\n"
       "hint: raise it: sysctl -w user.max_user_namespaces=10000\n"},
      {"unshare", EPERM,
       "error: cannot make user, mount, IPC and UTS namespaces: Operation not permitted\n"
       "hint: allow user namespaces: sysctl -w kernel.unprivileged_userns_clone=1, or with "
       "AppArmor "
       "kernel.apparmor_restrict_unprivileged_userns=0\n"},
      {"mount", EPERM, "error: cannot make mounts private: Operation not permitted\n"},
      {"pivot_root", EINVAL,
       "error: pivot_root: Invalid argument\n"
       "hint: an initramfs cannot be left: start from a mounted root\n"},
      {"umount2", EPERM, "error: cannot unmount the old root: Operation not permitted\n"},
      {"umount2", 0, "error: the old root can still be seen\n"},
      {"capset", EPERM, "error: cannot drop capabilities: Operation not permitted\n"},
      {"capset", 0, "error: capabilities are left after dropping all\n"},
      {"landlock_create_ruleset", EINVAL, "error: Landlock's version: Invalid argument\n"},
      {"landlock_restrict_self", EPERM, "error: cannot enter Landlock: Operation not permitted\n"},
      {"seccomp", 0, "error: the enclosed process can open '/'\n"},
  };
  for (const auto& [call, error_number, error] : cases) {
    EXPECT_EQ(enclosed_where(call, error_number), error) << call << ' ' << error_number;
  }
}

TEST(EnclosureOfRoot, IsRefusedWhenRootCannotBeLeft) {
  const std::string hint =
      "\nhint: CAP_SETUID and CAP_SETGID are needed, and an id that this user namespace maps\n";
  EXPECT_EQ(enclosed_where("setgroups", EPERM), "error: setgroups: Operation not permitted" + hint);
  EXPECT_EQ(enclosed_where("setresgid", EPERM),
            "error: setresgid to 1895890943: Operation not permitted" + hint);
  EXPECT_EQ(enclosed_where("setresuid", EAGAIN),
            "error: setresuid to 1895890943: Resource temporarily unavailable" + hint);
  const std::string left = "error: ids of root are left after becoming another user\n";
  for (const char* call : {"setresuid", "setresgid", "setgroups"}) {
    const std::array<gid_t, 1> group = {1895890944};
    ASSERT_EQ(::setgroups(1, group.data()), 0);
    EXPECT_EQ(enclosed_where(call, 0), left) << call;
    ASSERT_EQ(::setgroups(0, nullptr), 0);
  }
}

}  // namespace
}  // namespace sluice::proxy
