#include "allowlists/sandbox.h"

#include <gmock/gmock.h>

#include "tests/unit/allowlists/policies.h"

namespace sluice::allowlists {
namespace {

using testing::HasSubstr;
using namespace std::chrono_literals;

const Sandbox whole = {.memory = std::uint64_t{2} << 30,
                       .swap = std::uint64_t{1} << 30,
                       .cpu_thousandths = 1500,
                       .io_weight = 50,
                       .pids = 256,
                       .timeout = 30min,
                       .tmpfs = {{"/tmp", std::uint64_t{100} << 20}},
                       .seeds = {{"/etc/tool", std::nullopt}, {"/opt/tool", 65536}},
                       .masks = {"~/.netrc"},
                       .protects = {".tool/hooks"},
                       .requires_landlock = true};

TEST(Sandbox, IsReadFromAnEntry) {
  const auto policy = policy_of(coder(R"(    sandbox:
      memory: 2GiB
      swap: 1GiB
      cpus: 1.5
      io_weight: 50
      pids: 256
      timeout: 30m
      tmpfs: {/tmp: 100MiB}
      seed: [/etc/tool, "/opt/tool:64KiB"]
      mask: [~/.netrc]
      protect: [.tool/hooks]
      require_landlock: true
)"));
  EXPECT_EQ(policy->for_agent("coder-1").sandbox(), whole);
  EXPECT_TRUE(policy->for_agent("stranger").sandbox().empty());
}

TEST(Sandbox, TravelsAsJson) {
  for (const Sandbox& sandbox : {whole, Sandbox{}}) {
    const auto back = sandbox_from_json(to_json(sandbox));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, sandbox);
  }
  EXPECT_EQ(to_json(Sandbox{}), "{}");
}

TEST(Sandbox, ThatIsNotWhollyKnownIsRefused) {
  for (const char* text : {"",
                           "[]",
                           "{",
                           R"({"walls":3})",
                           R"({"memory":"2GiB"})",
                           R"({"memory":-1})",
                           R"({"pids":4194305})",
                           R"({"io_weight":10001})",
                           R"({"swap":"0"})",
                           R"({"timeout_ms":99999999999999})",
                           R"({"tmpfs":[{"path":"tmp"}]})",
                           R"({"tmpfs":[{"bytes":4096}]})",
                           R"({"tmpfs":[{"path":"/a","more":1}]})",
                           R"({"seed":["/a"]})",
                           R"({"mask":["a"]})",
                           R"({"mask":[7]})",
                           R"({"protect":["/a"]})",
                           R"({"protect":["a/../b"]})",
                           R"({"protect":[""]})",
                           R"({"require_landlock":1})"}) {
    const auto read = sandbox_from_json(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().hint, HasSubstr("of the same release"));
  }
}

}  // namespace
}  // namespace sluice::allowlists
