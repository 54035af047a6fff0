#include "proxy/daemon/policy_edition.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace sluice::proxy {
namespace {

const allowlists::Source one{
    "policy.yaml",
    "version: 1\nagents:\n  coder-1:\n    allow: [{host: allowed.test}]\n  'b-*': {}\n"};

TEST(PolicyEdition, KnowsThePolicyByTheDigestOfItsBytes) {
  const allowlists::Source empty{"a.yaml", ""};
  const allowlists::Source abc{"b.yaml", "abc"};
  EXPECT_EQ(digest_of(std::span(&abc, 1)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::array both = {empty, abc};
  const std::array moved = {allowlists::Source{"a.yaml", "abc"}, allowlists::Source{"b.yaml", ""}};
  EXPECT_NE(digest_of(both), digest_of(moved));
}

TEST(PolicyEdition, TellsAnOperatorWhatIsInForceAndWhatCameOfTheLastReading) {
  auto edition = make_edition("/etc/sluice/policy.yaml", std::span(&one, 1));
  ASSERT_TRUE(edition);
  edition->loaded_at = WallClock::time_point(std::chrono::milliseconds(1'700'000'000'005));
  edition->warnings = {{Errc::bad_config, "a warning", "", Mark{"policy.yaml", 4, 2}}};
  const LastReload last{.at = WallClock::time_point(std::chrono::seconds(1'700'000'060)),
                        .ok = false,
                        .errors = {{Errc::bad_config, "bad \x1b[2J \"key\" \xe2\x80\xae \xff",
                                    "mend it", Mark{"policy.yaml", 7, 3}},
                                   {Errc::unavailable, "no file", "", std::nullopt}}};
  EXPECT_EQ(
      to_json(*edition, last),
      R"({"path":"/etc/sluice/policy.yaml","loaded_at":"2023-11-14T22:13:20.005Z","digest":")" +
          digest_of(std::span(&one, 1)) +
          R"(","rules":1,"agents":["coder-1","b-*"],"last_reload":{"at":"2023-11-14T22:14:20.000Z",)"
          R"("ok":false,"errors":[{"file":"policy.yaml","line":7,"column":3,)"
          R"("message":"bad \u001b[2J \"key\" \u202e \ufffd","hint":"mend it"},)"
          R"({"file":"","line":0,"column":0,"message":"no file","hint":""}]},)"
          R"("warnings":[{"file":"policy.yaml","line":4,"column":2,"message":"a warning","hint":""}]})"
          "\n");
}

TEST(PolicyEdition, ShowsAHundredErrorsAndCountsTheOthers) {
  LastReload last{.ok = false};
  last.errors.assign(1234, Error{Errc::bad_config, "x", "", std::nullopt});
  const auto json = nlohmann::json::parse(to_json(no_policy(), last));
  EXPECT_EQ(json["last_reload"]["errors"].size(), 100U);
  EXPECT_EQ(json["last_reload"]["more_errors"], 1134);
  EXPECT_EQ(json["rules"], 0);
  EXPECT_EQ(json["path"], "");
  EXPECT_FALSE(json.contains("more_warnings"));
}

}  // namespace
}  // namespace sluice::proxy
