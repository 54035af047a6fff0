#include "netns/commands/arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::netns {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

struct Said {
  int status = 0;
  std::string out, err;
};

// Of lines that end before anything is done.
Said run_line(const std::vector<std::string>& words) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const int status = parse_arguments(words)();
  return {status, testing::internal::GetCapturedStdout(), testing::internal::GetCapturedStderr()};
}

TEST(TheCommandLine, HelpIsOnStdoutAndBeginsWithWhatItIsFor) {
  const Said help = run_line({"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, HasSubstr("whose only way out is a sluiced"));
  EXPECT_THAT(help.out, HasSubstr("podman run --network ns:/run/netns/coder-1"));
  EXPECT_EQ(help.err, "");
}

TEST(TheCommandLine, ExecSaysThatItIsNoSandbox) {
  EXPECT_THAT(run_line({"exec", "--help"}).out, HasSubstr("This is no sandbox"));
}

TEST(TheCommandLine, WhatIsWrongIs125AndSaidOnStderr) {
  const std::vector<std::vector<std::string>> lines{
      {},
      {"creat", "x"},
      {"create"},
      {"create", "x", "y"},
      {"create", "x", "--agent", "a", "--agent", "b"},
      {"exec", "x"},
      {"exec", "x", "--"},
      {"exec", "--", "true"},
      {"exec", "x", "true"},
      {"attach", "--agent", "a"},
      {"attach", "--pid", "1"},
      {"attach", "--pid", "1", "--netns", "/x", "--agent", "a"},
      {"attach", "--pid", "x", "--agent", "a"},
      {"attach", "--pid", "1", "--agent", "a", "--despite", "everything"},
      {"list", "--yaml"},
  };
  for (const auto& line : lines) {
    const Said said = run_line(line);
    EXPECT_EQ(said.status, 125) << testing::PrintToString(line);
    EXPECT_EQ(said.out, "") << testing::PrintToString(line);
    EXPECT_THAT(said.err, StartsWith("sluice-netns: error: ")) << testing::PrintToString(line);
    EXPECT_THAT(said.err, HasSubstr("\nhint: ")) << testing::PrintToString(line);
  }
  EXPECT_THAT(run_line({"list", "--jsn"}).err, HasSubstr("did you mean '--json'?"));
}

TEST(TheCommandLine, AnAgentsNameIsAnAgentsName) {
  for (const char* const name : {"../x", "-", "a b"}) {
    const Said said = run_line({"attach", "--pid", "2147483647", "--agent", name});
    EXPECT_EQ(said.status, 125) << name;
    EXPECT_THAT(said.err, HasSubstr("is no name")) << name;
  }
}

}  // namespace
}  // namespace sluice::netns
