#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/daemon/config.h"

namespace sluice::proxy {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Listener = Config::Listener;

// In the form of a SHA-512 hash.
std::string whole_hash() { return "$6$rounds=1000$saltsalt$" + std::string(86, 'x'); }

std::string with(std::string_view listeners) {
  return fmt::format("policy: p\nlisten:\n{}\n", listeners);
}

std::vector<std::string> problems_of(std::string_view listeners) {
  std::vector<std::string> texts;
  const auto config = parse_config(with(listeners), "etc/sluiced.yaml");
  const Errors& problems = config ? config->warnings : config.error();
  for (const Error& error : problems) texts.push_back(to_string(error));
  return texts;
}

TEST(Listen, ReadsEveryWayToKnowAnAgent) {
  const auto config = parse_config(with(R"(
- {address: "127.0.0.1:3128", agent: coder-1}
- {address: "10.1.0.1:3128", agents: {by: source_address, map: {10.1.0.7: coder-2, 10.1.0.0/24: "coder-lan", "2001:db8::/64": coder-6}}}
- {address: "127.0.0.1:3129", agents: {by: proxy_auth, users: {coder-3: ")" +
                                        whole_hash() + R"("}}}
- {address: "[::1]:3130", tls: {cert: proxy.pem, key: /k/proxy.key, client_ca: ca.pem}, agents: {by: client_certificate}}
)"),
                                   "etc/sluiced.yaml");
  ASSERT_TRUE(config) << to_string(config.error().front());
  EXPECT_THAT(config->warnings, IsEmpty());
  ASSERT_EQ(config->listen.size(), 4U);
  EXPECT_EQ(config->listen[0].address, (Endpoint{IpAddress::v4(0x7f000001), 3128}));
  EXPECT_EQ(std::get<Listener::Fixed>(config->listen[0].who).agent, "coder-1");
  EXPECT_FALSE(config->listen[0].tls);
  const auto& sources = std::get<Listener::BySource>(config->listen[1].who).agents;
  EXPECT_THAT(sources, ElementsAre(std::pair(*Cidr::parse("10.1.0.7"), "coder-2"),
                                   std::pair(*Cidr::parse("10.1.0.0/24"), "coder-lan"),
                                   std::pair(*Cidr::parse("2001:db8::/64"), "coder-6")));
  const auto& users = std::get<Listener::ByPassword>(config->listen[2].who).users;
  EXPECT_THAT(users, ElementsAre(std::pair("coder-3", whole_hash())));
  EXPECT_TRUE(std::holds_alternative<Listener::ByCertificate>(config->listen[3].who));
  EXPECT_EQ(config->listen[3].tls->cert, "etc/proxy.pem");
  EXPECT_EQ(config->listen[3].tls->key, "/k/proxy.key");
  EXPECT_EQ(config->listen[3].tls->client_ca, "etc/ca.pem");
}

TEST(Listen, MayBeEmptyAndMayHaveTlsWithoutCertificatesOfClients) {
  const auto config = parse_config("policy: p\nlisten: []\n", "etc/sluiced.yaml");
  ASSERT_TRUE(config);
  EXPECT_THAT(config->listen, IsEmpty());
  EXPECT_THAT(problems_of(fmt::format("- {{address: '192.0.2.1:3128', tls: {{cert: c, key: k}}, "
                                      "agents: {{by: proxy_auth, users: {{a: '{}'}}}}}}",
                                      whole_hash())),
              IsEmpty());
}

TEST(Listen, SaysOfEachWrongValueWhatToWrite) {
  const struct {
    std::string_view listener;
    std::string_view error;
  } cases[] = {
      {"- 3128", "3:3: error: 'listen' is not a map\nhint: write one 'key: value' per line"},
      {"- {agent: a}",
       "3:3: error: the listener has no 'address'\nhint: add 'address: 127.0.0.1:3128'"},
      {"- {address: '127.0.0.1:1'}",
       "3:3: error: the listener does not say who arrives there\n"
       "hint: write either 'agent: NAME' or 'agents: {by: source_address, map: …}'"},
      {"- {address: '127.0.0.1:1', agent: a, agents: {by: source_address, map: {10.0.0.1: a}}}",
       "3:3: error: the listener has both 'agent' and 'agents'\n"
       "hint: write either 'agent: NAME' or 'agents: {by: source_address, map: …}'"},
      {"- {address: 'localhost:3128', agent: a}",
       "3:13: error: 'localhost:3128' is not an address and a port\n"
       "hint: write 127.0.0.1:3128, [::1]:3128, or 0.0.0.0:3128 for every address"},
      {"- {address: '[::ffff:127.0.0.1]:1', agent: a}",
       "3:13: error: '[::ffff:127.0.0.1]:1' is not an address and a port\n"
       "hint: write 127.0.0.1:3128, [::1]:3128, or 0.0.0.0:3128 for every address"},
      {"- {address: '127.0.0.1:1', agent: '(unidentified)'}",
       "3:35: error: '(unidentified)' is no agent name\n"
       "hint: letters, digits, '.', '_' and '-', at most 63"},
      {"- {address: '127.0.0.1:1', agnet: a}",
       "3:3: error: the listener does not say who arrives there\n"
       "hint: write either 'agent: NAME' or 'agents: {by: source_address, map: …}'"},
      {"- {address: '127.0.0.1:1', agents: {map: {10.0.0.1: a}}}",
       "3:36: error: 'listen.agents.by' is missing\n"
       "hint: write source_address, proxy_auth or client_certificate"},
      {"- {address: '127.0.0.1:1', agents: {by: header}}",
       "3:41: error: 'header' is no way to know agents\n"
       "hint: write source_address, proxy_auth or client_certificate"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address}}",
       "3:36: error: 'listen.agents' names nobody\n"
       "hint: add 'map: {10.1.0.7: NAME, 10.1.0.0/24: NAME}'"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address, map: {}}}",
       "3:62: error: 'listen.agents' names nobody\n"
       "hint: add 'map: {10.1.0.7: NAME, 10.1.0.0/24: NAME}'"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address, map: {10.0.0.1/24: a}}}",
       "3:63: error: '10.0.0.1/24' is no address or range\n"
       "hint: write 10.1.0.7, 10.1.0.0/24 or 2001:db8::/64, without set host bits"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address, map: {'::ffff:10.0.0.1': a}}}",
       "3:63: error: '::ffff:10.0.0.1' is no address or range\n"
       "hint: write 10.1.0.7, 10.1.0.0/24 or 2001:db8::/64, without set host bits"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address, map: {10.0.0.1: a, "
       "10.0.0.1/32: b}}}",
       "3:76: error: '10.0.0.1/32' is given twice: it is agent 'a' already\n"
       "hint: keep one of them"},
      {"- {address: '127.0.0.1:1', agents: {by: source_address, map: {10.0.0.1: -a}}}",
       "3:73: error: '-a' is no agent name\n"
       "hint: letters, digits, '.', '_' and '-', at most 63"},
      {"- {address: '127.0.0.1:1', agents: {by: proxy_auth}}",
       "3:36: error: 'listen.agents' names nobody\n"
       "hint: add 'users: {NAME: \"$y$…\"}', a hash by 'mkpasswd -m yescrypt'"},
      {"- {address: '127.0.0.1:1', agents: {by: client_certificate}}",
       "3:41: error: 'client_certificate' needs 'tls' with 'client_ca'\n"
       "hint: add 'tls: {cert: proxy.pem, key: proxy.key, client_ca: agents-ca.pem}'"},
      {"- {address: '127.0.0.1:1', tls: {cert: c, key: k}, agents: {by: client_certificate}}",
       "3:65: error: 'client_certificate' needs 'tls' with 'client_ca'\n"
       "hint: add 'tls: {cert: proxy.pem, key: proxy.key, client_ca: agents-ca.pem}'"},
      {"- {address: '127.0.0.1:1', agent: a, tls: {cert: c}}",
       "3:43: error: 'listen.tls.key' is missing\n"
       "hint: name a PEM file, as in 'tls: {cert: proxy.pem, key: proxy.key}'"},
      {"- {address: '127.0.0.1:1', agent: a}\n- {address: '127.0.0.1:1', agent: b}",
       "4:13: error: '127.0.0.1:1' is the address of another listener\n"
       "hint: choose another port"},
  };
  for (const auto& [listener, error] : cases) {
    const auto problems = problems_of(listener);
    ASSERT_FALSE(problems.empty()) << listener;
    EXPECT_EQ(problems.front(), fmt::format("etc/sluiced.yaml:{}", error)) << listener;
  }
}

TEST(Listen, RefusesHashesThatAreWeakOrNotWholeAndNeverShowsThem) {
  constexpr std::string_view secret = "secret";
  const std::string_view hashes[] = {"secret",        "",
                                     "*secret",       "!",
                                     "secretDESxyz1", "$1$secret$0123456789012345678901",
                                     "$3$$secret",    "$6$secret",
                                     "$9$secret$x",   "$6$secret$\x01"};
  for (const std::string_view bad : hashes) {
    const auto problems = problems_of(fmt::format(
        "- {{address: '127.0.0.1:1', agents: {{by: proxy_auth, users: {{a: \"{}\"}}}}}}", bad));
    ASSERT_EQ(problems.size(), 1U) << bad;
    EXPECT_THAT(problems.front(), HasSubstr("the password hash of user 'a' ")) << bad;
    EXPECT_THAT(problems.front(), HasSubstr("mkpasswd -m yescrypt")) << bad;
    EXPECT_THAT(problems.front(), Not(HasSubstr(std::string(secret)))) << bad;
  }
}

TEST(Listen, RefusesAUserGivenTwice) {
  EXPECT_THAT(
      problems_of(fmt::format("- {{address: '127.0.0.1:1', agents: {{by: proxy_auth, users: {{a: "
                              "'{0}', a: '{0}'}}}}}}",
                              whole_hash())),
      ElementsAre(HasSubstr("error: 'a' is given twice\nhint: keep one of them")));
}

TEST(Listen, RefusesWhatMeansNothingBesideTheWayThatIsGiven) {
  EXPECT_THAT(problems_of("- {address: '127.0.0.1:1', agents: {by: source_address, map: {10.0.0.1: "
                          "a}, users: {a: b}}}"),
              ElementsAre("etc/sluiced.yaml:3:84: error: 'listen.agents.users' means nothing with "
                          "'by: source_address'\nhint: leave it out"));
}

TEST(Listen, RefusesMoreListenersThanThereCanBe) {
  std::string many;
  for (int i = 1; i <= 257; ++i)
    many += fmt::format("- {{address: '127.0.0.1:{}', agent: a}}\n", i);
  EXPECT_THAT(problems_of(many),
              ElementsAre("etc/sluiced.yaml:259:3: error: more than 256 listeners\n"
                          "hint: one listener can have many agents"));
}

TEST(Listen, WarnsWherePasswordsTravelReadableAndWhereEverybodyIsOneAgent) {
  EXPECT_THAT(problems_of(fmt::format("- {{address: '192.0.2.1:3128', agents: {{by: proxy_auth, "
                                      "users: {{a: '{}'}}}}}}",
                                      whole_hash())),
              ElementsAre("etc/sluiced.yaml:3:3: error: passwords travel readable to "
                          "192.0.2.1:3128\nhint: add 'tls: {cert: proxy.pem, key: proxy.key}'"));
  EXPECT_THAT(problems_of("- {address: '[::]:3128', agent: coder-1}"),
              ElementsAre(HasSubstr("whoever reaches [::]:3128 is agent 'coder-1'")));
}

}  // namespace
}  // namespace sluice::proxy
