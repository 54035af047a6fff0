#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace sluice {
namespace {

TEST(Error, SaysPlaceSentenceAndNextStep) {
  Error error{Errc::bad_config, "'*.com' allows a whole top-level domain",
              "name the domain you trust: *.example.com", Mark{"allow.yaml", 12, 7}};
  EXPECT_EQ(to_string(error),
            "allow.yaml:12:7: error: '*.com' allows a whole top-level domain\n"
            "hint: name the domain you trust: *.example.com");
  EXPECT_EQ(without_kind(error),
            "allow.yaml:12:7: '*.com' allows a whole top-level domain\n"
            "hint: name the domain you trust: *.example.com");
  error.where.reset();
  error.hint.clear();
  EXPECT_EQ(to_string(error), "error: '*.com' allows a whole top-level domain");
}

TEST(Error, OfASystemCallSaysWhatTheKernelSaid) {
  EXPECT_EQ(errno_error(Errc::not_permitted, "cannot open 'x'", EACCES).what,
            "cannot open 'x': Permission denied");
  errno = ENOENT;
  const Result<int> failed = fail_errno(Errc::unavailable, "cannot open 'y'", "make it");
  ASSERT_FALSE(failed);
  EXPECT_EQ(to_string(failed.error()),
            "error: cannot open 'y': No such file or directory\nhint: make it");
}

}  // namespace
}  // namespace sluice
