#include "launcher/trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/sha256.h"
#include "launcher/line_diff.h"
#include "sample.h"

namespace sluice::launcher {
namespace {

namespace fs = std::filesystem;

class Trust : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "sluice-trust-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name).string();
    work_ = root_ + "/project";
    policy_ = work_ + "/.sluice.yaml";
    fs::create_directory(work_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& text) const {
    std::ofstream(policy_, std::ios::binary | std::ios::trunc) << text;
  }
  void review(const std::string& text) const {
    ASSERT_TRUE(store().put({policy_, sha256_hex(text), text}));
  }
  TrustStore store() const { return TrustStore(root_ + "/state"); }
  std::string judged() const {
    const auto source = judge_workspace_policy(work_, store());
    if (!source) return to_string(source.error());
    return *source ? (*source)->name + ": " + (*source)->text : "none";
  }

  std::string root_;
  std::string work_;
  std::string policy_;
};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

TEST_F(Trust, IsGivenToTheBytesThatWereReviewed) {
  EXPECT_EQ(judged(), "none");
  write("version: 1\n");
  EXPECT_EQ(judged(), "error: '" + policy_ +
                          "' is not trusted: an agent could have written it\n"
                          "hint: review it, then: sluice policy trust " +
                          policy_ + "; or pass a policy of your own: --policy FILE");
  review("version: 1\n");
  EXPECT_EQ(judged(), ".sluice.yaml: version: 1\n");
}

TEST_F(Trust, IsWithdrawnByAnyChangeAndTheDifferenceIsShown) {
  review("version: 1\nagents:\n  coder-1:\n    allow: []\n");
  write("version: 1\nagents:\n  coder-1:\n    allow: [{any: true}]\n");
  EXPECT_EQ(judged(), "error: '" + policy_ +
                          "' changed since it was trusted, and is not obeyed:\n"
                          "@@ -1,4 +1,4 @@\n"
                          " version: 1\n"
                          " agents:\n"
                          "   coder-1:\n"
                          "-    allow: []\n"
                          "+    allow: [{any: true}]\n"
                          "hint: review it, then: sluice policy trust " +
                          policy_);
  write("version: 1\nagents:\n  coder-1:\n    allow: []");
  EXPECT_THAT(judged(), ::testing::HasSubstr("\\ no line feed at the end\n"));
}

TEST_F(Trust, IsOfOnePathAndNotOfTheSameBytesElsewhere) {
  review("version: 1\n");
  fs::create_directory(root_ + "/other");
  std::ofstream(root_ + "/other/.sluice.yaml") << "version: 1\n";
  const auto other = judge_workspace_policy(root_ + "/other", store());
  ASSERT_FALSE(other);
  EXPECT_THAT(other.error().what, ::testing::HasSubstr("is not trusted"));
}

TEST_F(Trust, IsNeverGivenToWhatIsNoPlainFile) {
  const std::string hint = "\nhint: put the policy itself there, or pass another: --policy FILE";
  const auto refusal = [&](const char* what) {
    return "error: '" + policy_ + "' is " + what + hint;
  };
  fs::create_symlink(root_ + "/elsewhere", policy_);
  EXPECT_EQ(judged(), refusal("a symbolic link"));
  fs::remove(policy_);
  ASSERT_EQ(::mkfifo(policy_.c_str(), 0600), 0);
  EXPECT_EQ(judged(), refusal("no regular file"));
  fs::remove(policy_);
  fs::create_directory(policy_);
  EXPECT_EQ(judged(), refusal("no regular file"));
  fs::remove(policy_);
  write("x");
  fs::resize_file(policy_, 60'000'000);
  EXPECT_EQ(judged(), refusal("larger than 1 MiB"));
}

TEST_F(Trust, IsNotGivenToASocket) {
  const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, policy_.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_THAT(judged(), ::testing::HasSubstr("' is no regular file\n"));
}

TEST_F(Trust, IsKeptInDirectoriesOfThePersonAlone) {
  review("version: 1\n");
  EXPECT_EQ(mode_of(root_ + "/state"), 0700U);
  EXPECT_EQ(mode_of(root_ + "/state/sluice"), 0700U);
  EXPECT_EQ(mode_of(store().directory()), 0700U);
  EXPECT_EQ(mode_of(store().directory() + "/" + sha256_hex(policy_)), 0600U);
  for (const std::string& directory : {root_ + "/state/sluice", store().directory()}) {
    ASSERT_EQ(::chmod(directory.c_str(), 0770), 0);
    EXPECT_EQ(to_string(store().find(policy_).error()),
              "error: '" + directory +
                  "' can be written by others\n"
                  "hint: move it away: it is made anew, and what was kept in it is forgotten");
    EXPECT_FALSE(store().put({policy_, sha256_hex("x"), "x"}));
    ASSERT_EQ(::chmod(directory.c_str(), 0700), 0);
  }
}

TEST_F(Trust, DoesNotFollowLinksToAStoreOfSomebodyElse) {
  review("version: 1\n");
  fs::rename(store().directory(), root_ + "/moved");
  fs::create_directory_symlink(root_ + "/moved", store().directory());
  EXPECT_FALSE(store().find(policy_));
  EXPECT_FALSE(store().put({policy_, sha256_hex("x"), "x"}));
  EXPECT_FALSE(store().list());
}

TEST_F(Trust, DoesNotFollowALinkInPlaceOfARecord) {
  review("version: 1\n");
  const std::string record = store().directory() + "/" + sha256_hex(policy_);
  fs::rename(record, root_ + "/moved");
  fs::create_symlink(root_ + "/moved", record);
  EXPECT_FALSE(store().find(policy_));
  review("version: 1\n");  // replaces the link, not what it leads to
  EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(record)));
}

TEST_F(Trust, TakesNoDamagedRecord) {
  review("version: 1\n");
  const std::string record = store().directory() + "/" + sha256_hex(policy_);
  const std::string whole = "sluice-trust 1\n" + sha256_hex("version: 1\n") + "\n" +
                            std::to_string(policy_.size()) + "\n" + policy_ + "\nversion: 1\n";
  write("version: 1\n");
  const auto rewrite = [&](const std::string& bytes) {
    std::ofstream(record, std::ios::trunc | std::ios::binary) << bytes;
    return judged();
  };
  EXPECT_EQ(rewrite(whole), ".sluice.yaml: version: 1\n");
  const std::string damaged = "error: the record of trust '" + sha256_hex(policy_) +
                              "' is damaged\n"
                              "hint: review the workspace's policy and trust it again";
  std::string other_path = whole;
  other_path.replace(other_path.find("/project/"), 9, "/another/");
  std::string other_length = whole;
  other_length.replace(80, 2, "99");
  for (const std::string& bytes :
       {std::string(), std::string("sluice-trust 1\n"), whole.substr(0, whole.size() - 1),
        whole + "x", whole.substr(0, 90), other_path, other_length, "x" + whole,
        "sluice-trust 1\n" + sha256_hex("") + "\n99999999999999999999\n\n"}) {
    EXPECT_EQ(rewrite(bytes), damaged) << bytes;
  }
}

TEST_F(Trust, CanBeListedAndForgotten) {
  EXPECT_TRUE(store().list()->empty());
  review("version: 1\n");
  std::ofstream(store().directory() + "/.new-1") << "left by a run that was killed";
  const auto records = store().list();
  ASSERT_TRUE(records);
  ASSERT_EQ(records->size(), 1U);
  EXPECT_EQ(records->front().path, policy_);
  EXPECT_EQ(records->front().digest, sha256_hex("version: 1\n"));
  EXPECT_EQ(store().forget(policy_), true);
  EXPECT_EQ(store().forget(policy_), false);
  EXPECT_TRUE(store().list()->empty());
}

TEST(TheStoreOfTrust, LiesWhereTheXdgSpecificationWantsState) {
  Machine machine = sample_machine();
  EXPECT_EQ(state_directory(machine), "/home/ana/.local/state");
  machine.environment = {"XDG_STATE_HOME=/srv/state/"};
  EXPECT_EQ(TrustStore(state_directory(machine)).directory(), "/srv/state/sluice/trust");
  machine.environment = {"XDG_STATE_HOME=relative"};
  EXPECT_EQ(state_directory(machine), "/home/ana/.local/state");
}

TEST(AWorkspacePolicy, ThatCannotBeLookedForSaysWhatTheWorkspaceMustBe) {
  const auto text = read_workspace_policy("/dev/null/.sluice.yaml");
  ASSERT_FALSE(text);
  EXPECT_EQ(to_string(text.error()),
            "error: cannot open '/dev/null/.sluice.yaml': Not a directory\n"
            "hint: the workspace must be a directory that you may read and search");
}

TEST(AWordForAShell, IsQuotedWhereItMustBe) {
  EXPECT_EQ(shell_word("/srv/a-b_c.d/.sluice.yaml"), "/srv/a-b_c.d/.sluice.yaml");
  EXPECT_EQ(shell_word("/my work/it's"), "'/my work/it'\\''s'");
  EXPECT_EQ(shell_word("/a\x1b[2J;rm"), "'/a\\x1b[2J;rm'");
  EXPECT_EQ(shell_word(""), "''");
}

TEST(ADifference, ShowsChangesWithTheirSurroundings) {
  EXPECT_EQ(line_diff("a\nb\n", "a\nb\n"), "");
  EXPECT_EQ(line_diff("", "a\n"), "@@ -0,0 +1,1 @@\n+a\n");
  EXPECT_EQ(line_diff("a\n", ""), "@@ -1,1 +0,0 @@\n-a\n");
  EXPECT_EQ(line_diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n5\nsix\n7\n8\n9\n"),
            "@@ -3,7 +3,7 @@\n 3\n 4\n 5\n-6\n+six\n 7\n 8\n 9\n");
}

TEST(ADifference, SharesAHunkOnlyBetweenNearChanges) {
  const std::string before = "a\n1\n2\n3\n4\n5\n6\nb\n1\n2\n3\n4\n5\n6\n7\nc\n";
  std::string after = before;
  after[0] = 'A';
  after[after.find('b')] = 'B';
  after[after.find('c')] = 'C';
  EXPECT_EQ(line_diff(before, after),
            "@@ -1,11 +1,11 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n 1\n 2\n 3\n"
            "@@ -13,4 +13,4 @@\n 5\n 6\n 7\n-c\n+C\n");
}

TEST(ADifference, CannotSteerATerminal) {
  EXPECT_EQ(line_diff("", "\x1b[2J\xe2\x80\xae\r\n"), "@@ -0,0 +1,1 @@\n+\\x1b[2J\\u{202e}\\x0d\n");
}

TEST(ADifference, IsBoundedInLinesAndBytes) {
  std::string after;
  for (int i = 0; i < 100'000; ++i) after += "x\n";
  std::string before;
  for (int i = 0; i < 100'000; ++i) before += "y\n";
  const std::string shown = line_diff(before, after, {3, 200});
  EXPECT_EQ(shown, "@@ -1,100000 +1,100000 @@\n-y\n-y\n... and 199998 more lines\n");
  EXPECT_EQ(line_diff("", std::string(1'000'000, 'z') + "\n", {60, 5}),
            "@@ -0,0 +1,1 @@\n+zzzzz ... and 999995 more bytes\n");
}

}  // namespace
}  // namespace sluice::launcher
