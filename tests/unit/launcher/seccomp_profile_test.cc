#include "launcher/plan/seccomp_profile.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <random>

#include "launcher/sandbox/profile_filter.h"

namespace sluice::launcher {
namespace {

const ProfileMachine machine{"amd64", 6, 1};

constexpr std::uint32_t allowed = SECCOMP_RET_ALLOW;
constexpr std::uint32_t refused(std::uint32_t error) { return SECCOMP_RET_ERRNO | error; }

std::string error_of(std::string_view json) {
  const auto profile = parse_seccomp_profile(json, "p.json", machine);
  return profile ? "" : to_string(profile.error());
}

ProfileFilter compiled(std::string_view json) {
  const auto profile = parse_seccomp_profile(json, "p.json", machine);
  EXPECT_TRUE(profile) << to_string(profile.error());
  if (!profile) return {};
  auto filter = compile_profile(*profile);
  EXPECT_TRUE(filter) << to_string(filter.error());
  return filter ? std::move(*filter) : ProfileFilter{};
}

// Of a profile that allows by default, with these entries.
FilterProgram with_entries(const std::string& entries) {
  return compiled(
             fmt::format(R"({{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{}]}})", entries))
      .program;
}

TEST(AProfile, RefusesByDefaultAllButWhatItNames) {
  const auto filter = compiled(R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
    "syscalls": [{"names": ["execve", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
                 {"names": ["getpid"], "action": "SCMP_ACT_LOG"},
                 {"names": ["getuid"], "action": "SCMP_ACT_KILL"},
                 {"names": ["getgid"], "action": "SCMP_ACT_KILL_PROCESS"},
                 {"names": ["gettid"], "action": "SCMP_ACT_TRAP"},
                 {"names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4094},
                 {"names": ["getsid"], "action": "SCMP_ACT_ERRNO"}]})")
                          .program;
  EXPECT_EQ(run_filter(filter, SYS_read), refused(13));
  EXPECT_EQ(run_filter(filter, SYS_write), allowed);
  EXPECT_EQ(run_filter(filter, SYS_getpid), SECCOMP_RET_LOG);
  EXPECT_EQ(run_filter(filter, SYS_getuid), SECCOMP_RET_KILL_THREAD);
  EXPECT_EQ(run_filter(filter, SYS_getgid), SECCOMP_RET_KILL_PROCESS);
  EXPECT_EQ(run_filter(filter, SYS_gettid), SECCOMP_RET_TRAP);
  EXPECT_EQ(run_filter(filter, SYS_getppid), refused(4094));
  EXPECT_EQ(run_filter(filter, SYS_getsid), refused(EPERM));
  for (const int number : {SYS_clone3, SYS_openat2, 1000, 0x40000000 + SYS_read})
    EXPECT_EQ(run_filter(filter, number), refused(ENOSYS)) << number;
}

TEST(AProfile, ComparesAllBitsOfAnArgument) {
  struct Case {
    const char* compare;
    std::uint64_t argument;
    bool holds;
  };
  constexpr std::uint64_t large = std::uint64_t{1} << 40;
  for (const Case& c :
       {Case{"NE", large, false}, Case{"NE", 0, true}, Case{"LT", large - 1, true},
        Case{"LT", large, false}, Case{"LE", large, true}, Case{"LE", large + 1, false},
        Case{"EQ", large, true}, Case{"EQ", 0, false}, Case{"GE", large, true},
        Case{"GE", large - 1, false}, Case{"GT", large, false}, Case{"GT", large + 1, true}}) {
    const auto filter = with_entries(fmt::format(
        R"({{"names": ["getpid"], "action": "SCMP_ACT_ERRNO",
             "args": [{{"index": 2, "value": {}, "op": "SCMP_CMP_{}"}}]}})",
        large, c.compare));
    EXPECT_EQ(run_filter(filter, SYS_getpid, {7, 7, c.argument}) == refused(EPERM), c.holds)
        << c.compare << " " << c.argument;
  }
  const auto masked = with_entries(
      R"({"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args":
          [{"index": 5, "value": 18446744069414584320, "valueTwo": 4294967296,
            "op": "SCMP_CMP_MASKED_EQ"}]})");
  EXPECT_EQ(run_filter(masked, SYS_getpid, {0, 0, 0, 0, 0, 0x1'0000'0007}), refused(EPERM));
  EXPECT_EQ(run_filter(masked, SYS_getpid, {0, 0, 0, 0, 0, 0x3'0000'0007}), allowed);
}

TEST(AProfile, TakesConditionsOfAnEntryTogetherAndEntriesSingly) {
  const auto filter = with_entries(
      R"({"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args":
          [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"},
           {"index": 1, "value": 2, "op": "SCMP_CMP_EQ"}]},
         {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args":
          [{"index": 0, "value": 9, "op": "SCMP_CMP_EQ"}]})");
  EXPECT_EQ(run_filter(filter, SYS_getpid, {1, 2}), refused(EPERM));
  EXPECT_EQ(run_filter(filter, SYS_getpid, {1, 3}), allowed);
  EXPECT_EQ(run_filter(filter, SYS_getpid, {0, 2}), allowed);
  EXPECT_EQ(run_filter(filter, SYS_getpid, {9, 0}), refused(EPERM));
}

TEST(AProfile, LeavesOutEntriesThatAreNotForThisMachine) {
  const std::pair<const char*, bool> cases[] = {
      {R"("includes": {"caps": ["CAP_SYS_ADMIN"]})", false},
      {R"("excludes": {"caps": ["CAP_SYS_ADMIN"]})", true},
      {R"("includes": {"arches": ["arm64", "amd64"]})", true},
      {R"("includes": {"arches": ["arm64"]})", false},
      {R"("excludes": {"arches": ["arm64"]})", true},
      {R"("excludes": {"arches": ["amd64"]})", false},
      {R"("includes": {"minKernel": "6.1"})", true},
      {R"("includes": {"minKernel": "6.2"})", false},
      {R"("includes": {"minKernel": "5.19"})", true},
      {R"("excludes": {"minKernel": "6.0"})", false},
      {R"("excludes": {"minKernel": "7.0"})", true},
      {R"("includes": {"arches": ["amd64"], "minKernel": "7.0"})", false},
      {R"("excludes": {"arches": ["arm64"], "minKernel": "4.8"})", false},
      {R"("includes": {}, "excludes": {})", true},
      {R"("includes": {"minKernel": "4.8"}, "excludes": {"arches": ["amd64"]})", false},
  };
  for (const auto& [filter, applies] : cases) {
    const auto program = with_entries(
        fmt::format(R"({{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", {}}})", filter));
    EXPECT_EQ(run_filter(program, SYS_getpid) == refused(EPERM), applies) << filter;
  }
}

TEST(AProfile, PassesOverOtherArchitecturesCallsAndNamesWhatNobodyKnows) {
  const auto filter = compiled(R"({"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
    [{"names": ["socketcall", "zz_new", "aa_new", "aa_new", "getpid", "x\u0000y"],
      "action": "SCMP_ACT_ERRNO"}]})");
  EXPECT_EQ(run_filter(filter.program, SYS_getpid), refused(EPERM));
  EXPECT_EQ(unknown_names_notice(filter.unknown),
            "the seccomp profile names 3 system calls that are not known here: 'aa_new', "
            "'x\\x00y', 'zz_new'");
  EXPECT_EQ(unknown_names_notice({}), "");
  EXPECT_EQ(unknown_names_notice({"a", "b", "c", "d", "e", "f"}),
            "the seccomp profile names 6 system calls that are not known here: 'a', 'b', 'c', 'd', "
            "'e' and 1 more");
}

TEST(AProfile, MustLeaveTheCommandAWayToStart) {
  for (const char* name : {"execve", "write", "exit_group"}) {
    for (const char* action : {"ERRNO", "TRAP", "KILL", "KILL_PROCESS"}) {
      const auto profile =
          parse_seccomp_profile(fmt::format(R"({{"defaultAction": "SCMP_ACT_ALLOW", "syscalls":
                          [{{"names": ["{}"], "action": "SCMP_ACT_{}"}}]}})",
                                            name, action),
                                "p.json", machine);
      ASSERT_TRUE(profile);
      const auto filter = compile_profile(*profile);
      ASSERT_FALSE(filter);
      EXPECT_EQ(to_string(filter.error()),
                fmt::format("error: the seccomp profile refuses {0}, and no command could start "
                            "under it\nhint: add an entry that allows {0}",
                            name));
    }
  }
}

TEST(AProfile, SaysWhereItIsWrongAndWhatToDo) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "p.json:1:1: error: this is not JSON: it ends too early\n"},
      {"{\n \"a\": 1", "p.json:2:8: error: this is not JSON: it ends too early\n"},
      {"{\"defaultAction\" \"x\"}", "p.json:1:20: error: this is not JSON at "},
      {"[]", "p.json:1:1: error: the profile is an object, and this is not\n"},
      {"{}", "p.json:1:1: error: key 'defaultAction' is missing here\n"},
      {"{\"defaultAction\": 7}",
       "p.json:1:19: error: 'defaultAction' is a text, and this is not\n"},
      {"{\n  \"defaultAction\": \"SCMP_ACT_ALOW\"}",
       "p.json:2:20: error: 'SCMP_ACT_ALOW' is not an action\nhint: did you mean "
       "'SCMP_ACT_ALLOW'?"},
      {"{\"defaultAction\": \"SCMP_ACT_TRACE\"}",
       "p.json:1:19: error: nobody is there to answer SCMP_ACT_TRACE\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"defaultErrnoRet\": 1}",
       "p.json:1:56: error: key 'defaultErrnoRet' goes with SCMP_ACT_ERRNO only\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": -1}",
       "p.json:1:56: error: 'defaultErrnoRet' is a whole number that is not negative"},
      {"{\"defaultAction\": \"SCMP_ACT_ERRNO\", \"defaultErrnoRet\": 4096}",
       "p.json:1:56: error: 'defaultErrnoRet' is 4096, and at most 4094 is possible"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"flags\": []}",
       "p.json:2:10: error: key 'flags' is not obeyed here\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"listenerPath\": \"\"}",
       "p.json:2:17: error: key 'listenerPath' is not obeyed here\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"architectures\": [\"SCMP_ARCH_X8\"]}",
       "p.json:2:19: error: 'SCMP_ARCH_X8' is not an architecture\nhint: did you mean "},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"archMap\": [], \"architectures\": []}",
       "p.json:2:33: error: 'architectures' and 'archMap' are both given\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"archMap\": [{\"architecture\": 1}]}",
       "p.json:2:30: error: 'architecture' is a text, and this is not\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"archMap\": [[]]}",
       "p.json:2:13: error: an entry of 'archMap' is an object, and this is not\n"},
      {"{\"defaultAction\": \"SCMP_ACT_ALLOW\",\n\"syscalls\": {}}",
       "p.json:2:13: error: 'syscalls' is a list, and this is not\n"},
  };
  for (const auto& [json, text] : cases)
    EXPECT_THAT(error_of(json), ::testing::StartsWith(text)) << json;
}

TEST(AProfile, SaysWhereAnEntryIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {R"(7)", "p.json:2:1: error: an entry of 'syscalls' is an object, and this is not\n"},
      {R"({"action": "SCMP_ACT_ERRNO"})", "p.json:2:1: error: key 'names' is missing here\n"},
      {R"({"names": [], "action": "SCMP_ACT_ERRNO"})", "p.json:2:11: error: 'names' is empty\n"},
      {R"({"names": [true], "action": "SCMP_ACT_ERRNO"})",
       "p.json:2:12: error: a name is a text, and this is not\n"},
      {R"({"name": "x", "action": "SCMP_ACT_ERRNO"})",
       "p.json:2:2: error: key 'name' is unknown\nhint: did you mean 'names'?"},
      {R"({"names": ["x"], "action": "SCMP_ACT_NOTIFY"})",
       "p.json:2:28: error: nobody is there to answer SCMP_ACT_NOTIFY\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1})",
       "p.json:2:58: error: key 'errnoRet' goes with SCMP_ACT_ERRNO only\n"},
      {R"({"names": ["x"], "names": ["y"]})", "p.json:2:18: error: key 'names' is given twice\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "comment": []})",
       "p.json:2:55: error: a comment is a text, and this is not\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "op": "SCMP_CMP_EQ"}]})",
       "p.json:2:53: error: key 'value' is missing here\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}]})",
       "p.json:2:63: error: 'index' is 6, and at most 5 is possible\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1.5, "op": "SCMP_CMP_EQ"}]})",
       "p.json:2:75: error: 'value' is a whole number that is not negative, and this is not\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}]})",
       "p.json:2:75: error: 'value' is a whole number that is not negative, and this is not\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "EQ"}]})",
       "p.json:2:84: error: 'EQ' is not a comparison\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}, {"index": 0, "value": 2, "op": "SCMP_CMP_LT"}]})",
       "p.json:2:100: error: argument 0 is compared twice in one entry\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "includes": {"minkernel": "4.8"}})",
       "p.json:2:57: error: key 'minkernel' is unknown\nhint: did you mean 'minKernel'?"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "4.8-rc1"}})",
       "p.json:2:70: error: '4.8-rc1' is not a kernel's version\n"},
      {R"({"names": ["x"], "action": "SCMP_ACT_LOG", "excludes": {"caps": ["SYS_ADMIN"]}})",
       "p.json:2:65: error: 'SYS_ADMIN' is not a capability\n"},
  };
  for (const auto& [entry, text] : cases) {
    const auto json =
        fmt::format("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [\n{}]}}", entry);
    EXPECT_THAT(error_of(json), ::testing::StartsWith(text)) << json;
  }
}

TEST(AProfile, IsRefusedWhereItsEntriesContradictEachOther) {
  const char* const condition = R"(, "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}])";
  struct Case {
    const char* first;
    const char* second;
    const char* action;
    bool fits;
  };
  for (const Case& c : {Case{"", "", "TRAP", false}, Case{condition, "", "TRAP", false},
                        Case{"", condition, "TRAP", false}, Case{"", "", "ERRNO", true},
                        Case{"", condition, "ERRNO", true}}) {
    const auto profile =
        parse_seccomp_profile(fmt::format(R"({{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
  {{"names": ["getpid"], "action": "SCMP_ACT_ERRNO"{}}},
  {{"names": ["getuid", "getpid"], "action": "SCMP_ACT_{}"{}}}]}})",
                                          c.first, c.action, c.second),
                              "p.json", machine);
    ASSERT_TRUE(profile);
    const auto filter = compile_profile(*profile);
    ASSERT_EQ(filter.has_value(), c.fits);
    if (c.fits) continue;
    EXPECT_EQ(to_string(filter.error()),
              "p.json:3:3: error: this says something else about 'getpid' than line 2\n"
              "hint: keep one of them, or give both conditions");
  }
}

TEST(AProfile, IsRefusedWhenItIsNestedDeeplyOrHasCountlessKeys) {
  EXPECT_THAT(error_of(std::string(100000, '[')), ::testing::HasSubstr("nested too deeply"));
  std::string keys = "{";
  for (int i = 0; i < 2000; ++i) keys += fmt::format("\"k{}\":0,", i);
  EXPECT_THAT(error_of(keys + "\"z\":0}"), ::testing::HasSubstr("too many keys"));
}

// Whatever the bytes are, the answer is a profile or an error with a place.
TEST(AProfile, OutOfDamagedBytesIsAnErrorWithItsPlace) {
  const std::string whole = R"({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
    "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
    "syscalls": [{"names": ["execve", "write", "exit_group", "b\u00e4\"\\x"], "action":
    "SCMP_ACT_ALLOW", "comment": "c", "args": [], "includes": {}, "excludes": {}},
    {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [{"index": 1,
    "value": 255, "valueTwo": 16, "op": "SCMP_CMP_MASKED_EQ"}], "includes": {"caps": ["CAP_X"],
    "arches": ["amd64"], "minKernel": "4.8"}}]})";
  ASSERT_EQ(error_of(whole), "");
  const auto expect_an_answer = [](const std::string& json) {
    const auto profile = parse_seccomp_profile(json, "p.json", machine);
    if (profile) {
      (void)compile_profile(*profile);
      return;
    }
    ASSERT_TRUE(profile.error().where) << json;
    EXPECT_GE(profile.error().where->line, 1) << json;
    EXPECT_GE(profile.error().where->column, 1) << json;
    EXPECT_FALSE(profile.error().what.empty());
  };
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_NE(error_of(whole.substr(0, size)), "") << size;
    expect_an_answer(whole.substr(0, size));
    expect_an_answer(whole.substr(size));
  }
  std::mt19937 random(20240611);
  constexpr std::string_view bytes = "{}[]\",:\\0-9.eE+tfn \n\t\x00\x80\xffu";
  for (int round = 0; round < 3000; ++round) {
    std::string json = whole;
    for (auto changes = random() % 4 + 1; changes > 0; --changes) {
      const std::size_t at = random() % json.size();
      switch (random() % 3) {
        case 0:
          json[at] = bytes[random() % bytes.size()];
          break;
        case 1:
          json.erase(at, random() % 20);
          break;
        default:
          json.insert(at, json.substr(random() % json.size(), random() % 30));
      }
    }
    expect_an_answer(json);
  }
}

}  // namespace
}  // namespace sluice::launcher
