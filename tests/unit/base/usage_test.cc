#include "base/usage.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(UnknownOption, SuggestsTheOneThatIsNearAndElseSaysWhereTheyStand) {
  const std::vector<std::string> known{"--help", "--once", "--json", "--socket"};
  EXPECT_EQ(to_string(unknown_option("--onec", known, "sluice top")),
            "error: there is no option '--onec'\nhint: did you mean '--once'?");
  EXPECT_EQ(to_string(unknown_option("--sockt=/run/x", known, "sluice top")),
            "error: there is no option '--sockt'\nhint: did you mean '--socket'?");
  for (const char* typed : {"--entirely-else", "-x"}) {
    EXPECT_EQ(unknown_option(typed, known, "sluice top").hint,
              "'sluice top --help' shows what it takes");
  }
  EXPECT_EQ(unknown_option("--\x1b[2J", known, "sluice top").what,
            "there is no option '--\\x1b[2J'");
}

TEST(Complaint, IsTheParsersComplaintAsOursAreWritten) {
  EXPECT_EQ(to_string(complaint_error("The following argument was not expected: x", "sluice ps")),
            "error: the following argument was not expected: x\n"
            "hint: 'sluice ps --help' shows what it takes");
  EXPECT_EQ(complaint_error("A subcommand is required\nmore", "sluice").what,
            "a subcommand is required");
  EXPECT_EQ(complaint_error("FILE is required", "sluice").what, "FILE is required");
  EXPECT_EQ(complaint_error("--file: 1 required TEXT missing", "sluice").what,
            "--file: 1 required TEXT missing");
}

}  // namespace
}  // namespace sluice
