#include "netns/attach/weakness.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "netns/attach/processes.h"
#include "netns/attach/target.h"
#include "netns/inside.h"

namespace sluice::netns {
namespace {

using testing::HasSubstr;

TEST(AWeakness, HasAWordAndSaysWhatIsNoLongerPromised) {
  for (const Weakness weakness : {Weakness::link, Weakness::net_admin, Weakness::vsock}) {
    EXPECT_EQ(weakness_named(weakness_name(weakness)), weakness);
    EXPECT_THAT(std::string(withdrawal(weakness)),
                HasSubstr("not promised that the policy is the only way out"));
  }
  for (const char* const word : {"", "LINK", "net-admin", "links"}) {
    EXPECT_FALSE(weakness_named(word)) << word;
  }
}

TEST(AProcess, IsReadAsTheKernelShowsIt) {
  const auto status = status_of(::getpid());
  ASSERT_TRUE(status) << status.error().what;
  EXPECT_EQ(status->effective_uid, ::geteuid());
  EXPECT_FALSE(status_of(0x7fffffff));
  EXPECT_THAT(threads_of(::getpid()), testing::Contains(::getpid()));
}

TEST(ATarget, ThatIsTheMachinesOwnNetworkIsRefused) {
  for (const auto& target :
       {Target::of_process(::getpid()), Target::at_path("/proc/self/ns/net")}) {
    ASSERT_FALSE(target);
    EXPECT_EQ(target.error().code, Errc::not_permitted);
    EXPECT_THAT(target.error().what, HasSubstr("is the machine's own"));
  }
}

TEST(ATarget, ThatIsNoNamespaceIsRefusedWithoutWaitingForIt) {
  const std::string fifo = testing::TempDir() + "/sluice-fifo-" + std::to_string(::getpid());
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string& path : {fifo, std::string("/etc"), std::string("/proc/self/ns/mnt")}) {
    const auto target = Target::at_path(path);
    ASSERT_FALSE(target) << path;
    EXPECT_THAT(target.error().what, HasSubstr("is no network namespace")) << path;
  }
  ::unlink(fifo.c_str());
  EXPECT_THAT(Target::of_process(0x7fffffff).error().what, HasSubstr("cannot find process"));
}

}  // namespace
}  // namespace sluice::netns
