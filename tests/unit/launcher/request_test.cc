#include "launcher/plan/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

namespace sluice::launcher {
namespace {

class Request : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = std::filesystem::temp_directory_path() / "sluice-request-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = std::filesystem::canonical(name).string();
    std::filesystem::create_directories(root_ + "/project");
    options_.workspace = root_ + "/project";
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string root_;
  RunOptions options_;
};

TEST_F(Request, FollowsLinksOnceAndRemembersWhereTheyLed) {
  std::filesystem::create_directory_symlink("project", root_ + "/link");
  options_.workspace = root_ + "/link";
  options_.binds = {{root_ + "/link", "/mnt/x", Access::read_only}};
  const auto request = make_request({options_, "coder-1", root_ + "/policy.yaml"});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->workspace, root_ + "/project");
  EXPECT_EQ(request->binds.front().source, root_ + "/project");
  EXPECT_EQ(request->binds.front().destination, "/mnt/x");
  EXPECT_THAT(request->guarded.front().touched, ::testing::Contains(root_ + "/policy.yaml"));
}

TEST_F(Request, RefusesABindThatIsASocketOrFifo) {
  const std::string fifo = root_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  options_.binds = {{fifo, fifo, Access::read_only}};
  EXPECT_EQ(
      to_string(make_request({options_, "coder-1", ""}).error()),
      "error: '" + fifo +
          "' is neither a directory nor a regular file\nhint: sockets, FIFOs and devices would be "
          "a way out; bind files and directories");
}

TEST_F(Request, RefusesAWorkspaceThatIsAFile) {
  std::ofstream(root_ + "/file") << "x";
  options_.workspace = root_ + "/file";
  EXPECT_EQ(to_string(make_request({options_, "coder-1", ""}).error()),
            "error: the workspace '" + root_ +
                "/file' is not a directory\nhint: name the project's directory: --workspace DIR");
}

TEST_F(Request, GuardsWhatTheNextRunWouldObey) {
  RequestInput input{options_, "coder-1", ""};
  input.trust_directory = root_ + "/state/sluice/trust";
  input.policy_search_path = {root_ + "/config/sluice/policy.yaml"};
  const auto request = make_request(input);
  ASSERT_TRUE(request);
  ASSERT_EQ(request->guarded.size(), 2U);
  EXPECT_EQ(request->guarded[0].what, "the place of the policy");
  EXPECT_THAT(request->guarded[0].touched,
              ::testing::Contains(root_ + "/config/sluice/policy.yaml"));
  EXPECT_EQ(request->guarded[1].what, "the store of trust");
  EXPECT_THAT(request->guarded[1].touched, ::testing::Contains(root_ + "/state/sluice/trust"));
  EXPECT_TRUE(request->guarded[1].is_directory);
}

}  // namespace
}  // namespace sluice::launcher
