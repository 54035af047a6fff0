#include "launcher/plan/machine.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(TheSocketTable, TellsBoundPathsAndNoAbstractNames) {
  const char* const table =
      "Num       RefCount Protocol Flags    Type St Inode Path\n"
      "00000000f4eb5571: 00000003 00000000 00000000 0001 03  1063\n"
      "000000006276cfe4: 00000002 00000000 00010000 0001 01  1064 /run/docker.sock\n"
      "000000006276cfe5: 00000002 00000000 00010000 0001 01  1065 @/tmp/.X11-unix/X0\n"
      "000000006276cfe6: 00000002 00000000 00010000 0001 01  1066 @name /not/a/path\n"
      "000000006276cfe7: 00000002 00000000 00010000 0001 01  1067 /srv/with space.sock\n"
      "000000006276cfe8: 00000002 00000000 00010000 0001 01  1068 relative.sock\n"
      "000000006276cfe9: 00000002 00000000 00010000 0001 01  1069 /srv/me@host.sock";
  EXPECT_EQ(
      socket_paths(table),
      (std::vector<std::string>{"/run/docker.sock", "/srv/with space.sock", "/srv/me@host.sock"}));
}

TEST(AccountNames, AreWhatStandsBeforeTheFirstColonOfEachLine) {
  EXPECT_EQ(
      account_names("root:x:0:0::/root:/bin/sh\n\n:x\nno colon\n+nis::::::\n-bob\na b:\nlast:x"),
      (std::vector<std::string>{"root", "a b", "last"}));
  EXPECT_TRUE(account_names("").empty());
}

TEST(TheMachine, KnowsItsVariables) {
  Machine machine;
  machine.environment = {"AB=2", "A=1=1", "EMPTY="};
  EXPECT_EQ(machine.variable("A"), "1=1");
  EXPECT_EQ(machine.variable("AB"), "2");
  EXPECT_EQ(machine.variable("EMPTY"), "");
  EXPECT_EQ(machine.variable("NONE"), "");
}

}  // namespace
}  // namespace sluice::launcher
