#include "proxy/daemon/peer_access.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Kind = Config::Peer::Kind;
using Lines = std::vector<Config::Peer>;

// The highest numbers are given to nobody.
constexpr uid_t nameless = 4'000'000'000;

TEST(PeerAccess, IsByDefaultRootsAndSluicedsOwnForAnyName) {
  const PeerAccess access;
  EXPECT_THAT(access.names_for({.uid = 0, .groups = {}}), ElementsAre("*"));
  EXPECT_THAT(access.names_for({.uid = ::geteuid(), .groups = {}}), ElementsAre("*"));
  EXPECT_THAT(access.names_for({.uid = nameless, .groups = {0}}), IsEmpty());
  EXPECT_THAT(access.names_for({}), IsEmpty());
  EXPECT_EQ(access.refusal(nameless), "only root and sluiced's own user may hand over agents");
}

TEST(PeerAccess, IsWhatAllLinesThatFitGiveTogether) {
  const PeerAccess access(Lines{{Kind::user, 7, {"a-*"}},
                                {Kind::group, 70, {"b-*", "c"}},
                                {Kind::group, 71, {"d"}},
                                {Kind::user, 8, {"*"}}});
  EXPECT_THAT(access.names_for({.uid = 7, .groups = {70}}), ElementsAre("a-*", "b-*", "c"));
  EXPECT_THAT(access.names_for({.uid = 9, .groups = {1, 70, 71}}), ElementsAre("b-*", "c", "d"));
  EXPECT_THAT(access.names_for({.uid = 9, .groups = {7}}), IsEmpty());
  EXPECT_THAT(access.names_for({.uid = 70, .groups = {}}), IsEmpty());
}

TEST(PeerAccess, OfAnEmptyListIsNobodysNotEvenRoots) {
  const PeerAccess access(Lines{});
  EXPECT_THAT(access.names_for({.uid = 0, .groups = {0}}), IsEmpty());
}

TEST(PeerAccess, PutsTheUsersNameInPlaceOfUserAndItsNumberWhereItHasNone) {
  const PeerAccess access(Lines{{Kind::group, 5, {"${user}-*", "x-${user}-${user}", "y"}}});
  EXPECT_THAT(access.names_for({.uid = 0, .groups = {5}}),
              ElementsAre("root-*", "x-root-root", "y"));
  const std::string number = fmt::format("{}", nameless);
  EXPECT_THAT(access.names_for({.uid = nameless, .groups = {5}}),
              ElementsAre(number + "-*", fmt::format("x-{0}-{0}", number), "y"));
}

TEST(PeerAccess, GivesAUserWhoseNameIsNoPartOfAnAgentsNameNothingByThatName) {
  // An agent's name begins with a letter or a digit; Debian's package manager runs as this user.
  const auto uid = user_id("_apt");
  ASSERT_TRUE(uid);
  const PeerAccess access(Lines{{Kind::user, *uid, {"${user}-*", "a-${user}"}}});
  EXPECT_THAT(access.names_for({.uid = *uid, .groups = {}}), ElementsAre("a-_apt"));
}

TEST(PeerAccess, CoversNamesByGlobs) {
  const Grant grant{"coder-*", "one"};
  for (const char* name : {"coder-1", "coder-", "one"}) EXPECT_TRUE(covers(grant, name)) << name;
  for (const char* name : {"coder", "one-2", "xcoder-1", ""}) EXPECT_FALSE(covers(grant, name));
  EXPECT_FALSE(covers({}, "one"));
}

TEST(PeerAccess, AcceptsPatternsThatCanBePartOfAnAgentsName) {
  for (const char* good : {"*", "a", "${user}", "${user}-*", "*.${user}", "a*b"}) {
    EXPECT_TRUE(is_name_pattern(good)) << good;
  }
  for (const char* bad : {"", "${user", "$", "-a", "a/b", "${USER}", "a b"}) {
    EXPECT_FALSE(is_name_pattern(bad)) << bad;
  }
}

TEST(PeerAccess, KnowsAConnectedPeerByItsUserItsPrimaryAndItsOtherGroups) {
  std::array<int, 2> ends{};
  if (::geteuid() != 0) {
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
    const Fd left(ends[0]);
    const Fd right(ends[1]);
    const Credentials own = credentials_of(left.get());
    EXPECT_EQ(own.uid, ::geteuid());
    EXPECT_EQ(own.groups.front(), ::getegid());
    return;
  }
  // As somebody who has more groups than are asked for at first.
  const pid_t child = ::fork();
  if (child == 0) {
    std::vector<gid_t> groups;
    for (gid_t gid = 5000; gid < 5040; ++gid) groups.push_back(gid);
    const bool changed = ::setgroups(groups.size(), groups.data()) == 0 && ::setgid(4999) == 0 &&
                         ::setuid(4998) == 0 &&
                         ::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends.data()) == 0;
    if (!changed) ::_exit(1);
    const Credentials seen = credentials_of(ends[0]);
    groups.insert(groups.begin(), 4999);
    ::_exit(seen.uid == 4998 && seen.groups == groups ? 0 : 2);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(PeerAccess, KnowsNobodyBehindWhatIsNoUnixSocket) {
  const Fd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_THAT(PeerAccess().names_for(credentials_of(tcp.get())), IsEmpty());
}

}  // namespace
}  // namespace sluice::proxy
