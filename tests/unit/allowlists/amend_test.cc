#include "allowlists/amend.h"

#include "policies.h"

namespace sluice::allowlists {
namespace {

PolicyText text_of(std::string yaml) {
  const std::vector<Source> sources = {{"allow.yaml", std::move(yaml)}};
  auto read = read_text(sources);
  if (read) return std::move(read->text);
  ADD_FAILURE() << joined(read.error());
  return {};
}

std::shared_ptr<const Policy> amended(PolicyText text, const Amendment& amendment) {
  const auto read = amend(std::move(text), amendment);
  if (read) return compile(read->text);
  ADD_FAILURE() << joined(read.error());
  return empty_policy();
}

std::shared_ptr<const Policy> allowing(std::vector<std::string> allow) {
  return amended(bare_policy("coder-1"), {"coder-1", std::move(allow), {}});
}

std::string errors_of_allow(std::vector<std::string> allow) {
  const auto read = amend(bare_policy("coder-1"), {"coder-1", std::move(allow), {}});
  return read ? "" : joined(read.error());
}

TEST(AllowOfARun, OpensWhatItNamesAndNothingElse) {
  const auto policy =
      allowing({"api.example.com", "*.example.org:8443", ".example.net", "10.0.0.8:5432",
                "10.1.0.0/16", "[2001:db8::1]:22", "2001:db8:1::/48", "[2001:db8:2::/48]:443",
                "[2001:db8:3::]/48:443", "bücher.example:80"});
  expect_decisions(*policy, {
                                {"api.example.com:443", "allow listed flag:1"},
                                {"api.example.com:80", "allow listed flag:1"},
                                {"api.example.com:22", "deny port_not_allowed flag:1"},
                                {"x.example.org:8443", "allow listed flag:2"},
                                {"x.example.org:443", "deny port_not_allowed flag:2"},
                                {"example.org:8443", "deny not_listed default"},
                                {"example.net:443", "allow listed flag:3"},
                                {"10.0.0.8:5432", "allow listed_cidr flag:4"},
                                {"10.1.2.3:80", "allow listed_cidr flag:5"},
                                {"[2001:db8::1]:22", "allow listed_cidr flag:6"},
                                {"[2001:db8:1::5]:443", "allow listed_cidr flag:7"},
                                {"[2001:db8:2::5]:443", "allow listed_cidr flag:8"},
                                {"[2001:db8:3::5]:443", "allow listed_cidr flag:9"},
                                {"xn--bcher-kva.example:80", "allow listed flag:10"},
                                {"other.example:443", "deny not_listed default"},
                            });
}

TEST(AllowOfARun, LeavesAloneWhatThePolicyDenies) {
  const char* const yaml =
      "version: 1\n"
      "never:\n"
      "  - host: floor.example.com\n"
      "agents:\n"
      "  \"coder-*\":\n"
      "    allow:\n"
      "      - host: api.example.com\n"
      "    deny:\n"
      "      - host: gist.example.com\n";
  const auto policy = amended(
      text_of(yaml),
      {"coder-1", {"floor.example.com", "gist.example.com", "new.example.com"}, std::nullopt});
  expect_decisions(*policy, {
                                {"floor.example.com", "deny never allow.yaml:3"},
                                {"gist.example.com", "deny denied allow.yaml:9"},
                                {"new.example.com", "allow listed flag:3"},
                                {"api.example.com", "allow listed allow.yaml:7"},
                            });
  EXPECT_EQ(summary(policy->for_agent("coder-2").decide(target("new.example.com"))),
            "deny not_listed default");
}

TEST(AllowOfARun, IsAddedToAnExactEntryInPlace) {
  const auto read = amend(text_of(coder("    allow: [{host: api.example.com}]\n")),
                          {"coder-1", {"new.example.com"}, {}});
  ASSERT_TRUE(read);
  ASSERT_EQ(read->text.agents.size(), 1U);
  EXPECT_EQ(read->text.agents.front().rules.size(), 2U);
}

TEST(AllowOfARun, IsRefusedInTheWordsOfThePolicy) {
  const std::string shape =
      "hint: write example.com, \"*.example.com\" (all below) or \".example.com\" (both)\n";
  const std::string forms = "hint: write HOST, HOST:PORT, 10.0.0.0/8:PORT or [2001:db8::1]:PORT\n";
  const Case cases[] = {
      {"*.com",
       "error: --allow: '*.com' allows a whole top-level domain\n"
       "hint: name the domain you trust: *.example.com\n"},
      {"a..example",
       "error: --allow: 'a..example' is no host: the name has an empty label\n" + shape},
      {"a*.example",
       "error: --allow: 'a*.example' has a '*' that is not the whole first label\n" + shape},
      {"10.0.0.1/8",
       "error: --allow: '10.0.0.1/8' has bits set behind its first 8\n"
       "hint: write 10.0.0.0/8 or 10.0.0.1/32\n"},
      {"*",
       "error: --allow: '*' stands for every host there is\n"
       "hint: --report lets every host pass and logs it; a policy may say any: true\n"},
      {"host.sluice.internal:80",
       "error: --allow: 'host.sluice.internal' is this machine's loopback, which no name opens\n"
       "hint: write --allow 127.0.0.1:PORT\n"},
      {"https://example.com/",
       "error: --allow: 'https://example.com/' is a URL, not a host\n"
       "hint: write its host and port: example.com:443\n"},
      {"[example.com]:443",
       "error: --allow: '[example.com]:443' is no IPv6 address in brackets\n" + forms},
      {"[2001:db8::1", "error: --allow: '[2001:db8::1' is no IPv6 address in brackets\n" + forms},
      {"[2001:db8::1]443",
       "error: --allow: '[2001:db8::1]443' is no IPv6 address in brackets\n" + forms},
  };
  for (const auto& [allow, expected] : cases) EXPECT_EQ(errors_of_allow({allow}), expected);
  for (const std::string port : {"", "0", "0443", "65536", "+80", "443x", "443, 22", "443]"}) {
    EXPECT_EQ(errors_of_allow({"example.com:" + port}),
              "error: --allow: port '" + port +
                  "' is not a number from 1 to 65535\nhint: write it in decimal: HOST:443\n");
  }
}

TEST(AllowOfARun, CannotSayMoreThanOneHost) {
  for (const char* allow :
       {"", "a\", ports: [22]}, {any: true", "a\\", "a\nb.example", "a\"", "a}", "a b", "\xff",
        "{any: true}", "&x a", "!!str a", "a # b", "\xe2\x80\xa8", "a]}}}\n"}) {
    EXPECT_NE(errors_of_allow({allow}), "") << allow;
  }
}

TEST(AllowOfARun, TellsAllErrorsInOrder) {
  const std::string errors =
      errors_of_allow({"a b.example", "ok.example", "x:0", "10.0.0.1/8", "y:99999"});
  std::vector<std::size_t> at;
  for (const char* word : {"'a b.example'", "port '0'", "'10.0.0.1/8'", "port '99999'"}) {
    at.push_back(errors.find(word));
    ASSERT_NE(at.back(), std::string::npos) << errors;
  }
  EXPECT_TRUE(std::is_sorted(at.begin(), at.end())) << errors;
}

TEST(AllowOfARun, WarnsOfWhatIsNeverDialled) {
  const auto read = amend(bare_policy("coder-1"), {"coder-1", {"169.254.169.254:80"}, {}});
  ASSERT_TRUE(read);
  ASSERT_EQ(read->warnings.size(), 1U);
  EXPECT_FALSE(read->warnings.front().where);
  EXPECT_EQ(read->warnings.front().what,
            "--allow: '169.254.169.254' is never dialled, whatever a rule says");
}

TEST(ReportOfARun, ReplacesTheModeOfThisAgentOnly) {
  const auto policy = amended(text_of("version: 1\n"
                                      "never: [{host: floor.example.com}]\n"
                                      "agents: {\"coder-*\": {allow: []}}\n"),
                              {"coder-1", {}, Mode::report});
  EXPECT_EQ(policy->for_agent("coder-1").mode(), Mode::report);
  EXPECT_EQ(policy->for_agent("coder-2").mode(), Mode::enforce);
  expect_decisions(*policy, {{"any.example.com", "report reported default"},
                             {"floor.example.com", "deny never allow.yaml:2"},
                             {"127.0.0.1:80", "deny address_private default"},
                             {"169.254.169.254:80", "deny address_forbidden default"}});
}

TEST(ReportOfARun, WorksWithoutAnyPolicy) {
  const auto policy = amended(bare_policy("coder-1"), {"coder-1", {}, Mode::report});
  expect_decisions(*policy, {{"any.example.com", "report reported default"}});
}

TEST(AnAmendment, MakesNoEntryInSomebodysPolicy) {
  const auto read = amend(text_of("version: 1\nagents: {other: {allow: []}}\n"),
                          {"coder-1", {"api.example.com"}, Mode::report});
  ASSERT_FALSE(read);
  EXPECT_EQ(joined(read.error()),
            "error: no entry of the policy matches the agent 'coder-1'\n"
            "hint: add it under 'agents:'\n");
}

}  // namespace
}  // namespace sluice::allowlists
