#include "proxy/daemon/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <regex>

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;

std::vector<std::string> errors_of(std::string_view text) {
  std::vector<std::string> texts;
  const auto config = parse_config(text, "etc/sluiced.yaml");
  if (config) return texts;
  for (const Error& error : config.error()) texts.push_back(to_string(error));
  return texts;
}

TEST(Config, HasTheDocumentedDefaults) {
  const auto config = parse_config("policy: /etc/sluice/policy.yaml", "/etc/sluice/sluiced.yaml");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->policy, "/etc/sluice/policy.yaml");
  EXPECT_EQ(config->threads, 0U);
  EXPECT_EQ(config->handover.socket, "/run/sluice/handover.sock");
  EXPECT_FALSE(config->handover.peers);
  EXPECT_EQ(config->admin.socket, "/run/sluice/admin.sock");
  EXPECT_EQ(config->admin.mode, 0660U);
  EXPECT_EQ(config->admin.address, (Endpoint{IpAddress::v4(0x7f000001), 9915}));
  EXPECT_TRUE(config->resolver.servers.empty());
  EXPECT_EQ(config->resolver.hosts_file, "/etc/hosts");
  EXPECT_EQ(config->resolver.timeout, 5s);
  EXPECT_EQ(config->timeouts.first_byte, 10s);
  EXPECT_EQ(config->timeouts.headers, 10s);
  EXPECT_EQ(config->timeouts.connect, 10s);
  EXPECT_EQ(config->timeouts.idle, 10min);
  EXPECT_EQ(config->timeouts.drain, 30s);
  EXPECT_EQ(config->limits.connections_per_agent, 0U);
  EXPECT_EQ(config->limits.header_bytes, 65536U);
  EXPECT_EQ(config->limits.headers, 128U);
  EXPECT_EQ(config->state, "/var/lib/sluice");
  EXPECT_EQ(std::get<metrics::AuditFile>(config->audit).path, "/var/log/sluice/audit.jsonl");
  EXPECT_EQ(config->log_level, log::Level::info);
}

TEST(Config, ReadsEveryKeyAndPlacesRelativePathsBesideItself) {
  const auto config = parse_config(R"(
policy: policies/
threads: 4
handover: {socket: run/handover.sock}
admin: {socket: ../admin.sock, mode: "0600", address: "[::1]:9000"}
resolver:
  servers: [192.0.2.53, "192.0.2.54:5353", "2001:db8::53", "[2001:db8::53]:5354"]
  hosts_file: hosts
  timeout: 250ms
timeouts: {first_byte: 1s, headers: 2s, connect: 3m, idle: 4h, lifetime: 5h, drain: 1d}
limits: {connections_per_agent: 100, header_bytes: 16KiB, headers: 64}
state: state
audit: {file: stdout}
log: {level: debug}
)",
                                   "/etc/sluice/sluiced.yaml");
  ASSERT_TRUE(config) << to_string(config.error().front());
  EXPECT_EQ(config->limits.connections_per_agent, 100U);
  EXPECT_EQ(config->limits.header_bytes, 16384U);
  EXPECT_EQ(config->limits.headers, 64U);
  EXPECT_EQ(config->state, "/etc/sluice/state");
  EXPECT_EQ(config->policy, "/etc/sluice/policies/");
  EXPECT_EQ(config->threads, 4U);
  EXPECT_EQ(config->handover.socket, "/etc/sluice/run/handover.sock");
  EXPECT_EQ(config->admin.socket, "/etc/admin.sock");
  EXPECT_EQ(config->admin.mode, 0600U);
  EXPECT_EQ(config->admin.address, (Endpoint{*IpAddress::parse("::1"), 9000}));
  EXPECT_THAT(config->resolver.servers,
              ElementsAre(Endpoint{*IpAddress::parse("192.0.2.53"), 53},
                          Endpoint{*IpAddress::parse("192.0.2.54"), 5353},
                          Endpoint{*IpAddress::parse("2001:db8::53"), 53},
                          Endpoint{*IpAddress::parse("2001:db8::53"), 5354}));
  EXPECT_EQ(config->resolver.hosts_file, "/etc/sluice/hosts");
  EXPECT_EQ(config->resolver.timeout, 250ms);
  EXPECT_EQ(config->timeouts.first_byte, 1s);
  EXPECT_EQ(config->timeouts.headers, 2s);
  EXPECT_EQ(config->timeouts.connect, 3min);
  EXPECT_EQ(config->timeouts.idle, 4h);
  EXPECT_EQ(config->timeouts.lifetime, 5h);
  EXPECT_EQ(config->timeouts.drain, 24h);
  EXPECT_TRUE(std::holds_alternative<metrics::AuditStdout>(config->audit));
  EXPECT_EQ(config->log_level, log::Level::debug);
}

TEST(Config, CanDoWithoutAnAdminAddress) {
  EXPECT_FALSE(parse_config("policy: p\nadmin: {address: \"\"}", "c")->admin.address);
}

TEST(Config, PlacesPathsBesideAFileNamedWithoutADirectory) {
  EXPECT_EQ(parse_config("policy: p.yaml", "sluiced.yaml")->policy, "p.yaml");
}

TEST(Config, TellsAllErrorsAtOnceInFileOrderWithTheirPlaces) {
  EXPECT_THAT(
      errors_of("listen: 1\npolcy: p\nthreads: -1\nadmin: {mod: 1}\naudit: {file: unix:here}\n"),
      ElementsAre(
          "etc/sluiced.yaml:1:1: error: 'policy' is missing\n"
          "hint: add 'policy: policy.yaml', a file or a directory",
          "etc/sluiced.yaml:1:9: error: expected a list of listeners\n"
          "hint: write '- {address: \"127.0.0.1:3128\", agent: NAME}'",
          "etc/sluiced.yaml:2:1: error: unknown key 'polcy'\nhint: did you mean 'policy'?",
          "etc/sluiced.yaml:3:10: error: '-1' is not a number of threads\n"
          "hint: write 0 (one per core) to 1024",
          "etc/sluiced.yaml:4:9: error: unknown key 'admin.mod'\nhint: did you mean 'mode'?",
          "etc/sluiced.yaml:5:15: error: 'unix:here' is not an absolute path of at most 107 bytes "
          "behind 'unix:'\n"
          "hint: write unix:/run/vector/audit.sock"));
}

TEST(Config, NamesWhereAuditLinesGo) {
  const auto target = [](std::string_view audit) {
    return parse_config("policy: p\naudit: " + std::string(audit) + "\n", "etc/s.yaml")->audit;
  };
  EXPECT_EQ(std::get<metrics::AuditFile>(target("{file: a.jsonl}")).path, "etc/a.jsonl");
  EXPECT_EQ(std::get<metrics::AuditFile>(target("/var/log/a.jsonl")).path, "/var/log/a.jsonl");
  EXPECT_TRUE(std::holds_alternative<metrics::AuditStdout>(target("stdout")));
  EXPECT_TRUE(std::holds_alternative<metrics::AuditJournal>(target("{file: journald}")));
  EXPECT_TRUE(std::holds_alternative<metrics::AuditJournal>(target("journald")));
  EXPECT_EQ(std::get<metrics::AuditSocket>(target("\"unix:/run/s\"")).path, "/run/s");
}

TEST(Config, SaysOfEachWrongValueWhatToWrite) {
  const struct {
    std::string_view text;
    std::string_view error;
  } cases[] = {
      {"limits: {headers: 0}",
       "2:19: error: '0' is out of range\nhint: write a number from 1 to 10000"},
      {"limits: {connections_per_agent: many}",
       "2:33: error: 'many' is out of range\nhint: write a number from 0 to 1000000"},
      {"limits: {header_bytes: 1GiB}",
       "2:24: error: '1GiB' is no size of a request head\nhint: write 64KiB; from 1KiB to 1MiB"},
      {"audit: {file: \"unix:x\"}",
       "2:15: error: 'unix:x' is not an absolute path of at most 107 bytes behind 'unix:'\n"
       "hint: write unix:/run/vector/audit.sock"},
      {"threads: 1025",
       "2:10: error: '1025' is not a number of threads\nhint: write 0 (one per core) to 1024"},
      {"threads: [1]",
       "2:10: error: expected a number of threads\nhint: write it on the line of its key"},
      {"timeouts: {idle: 10}",
       "2:18: error: '10' is not a duration longer than 0\n"
       "hint: write a whole number and ms, s, m, h or d, such as 10s"},
      {"timeouts: {idle: 0s}",
       "2:18: error: '0s' is not a duration longer than 0\n"
       "hint: write a whole number and ms, s, m, h or d, such as 10s"},
      {"admin: {mode: 0999}",
       "2:15: error: '0999' is not a file mode\n"
       "hint: write three octal digits, such as \"0660\" (chmod(1))"},
      {"admin: {mode: \"4755\"}",
       "2:15: error: '4755' is not a file mode\n"
       "hint: write three octal digits, such as \"0660\" (chmod(1))"},
      {"admin: {address: \"localhost:9915\"}",
       "2:18: error: 'localhost:9915' is not an address and a port\n"
       "hint: write 127.0.0.1:9915 or [::1]:9915, or \"\" for none"},
      {"admin: {address: 127.0.0.1}",
       "2:18: error: '127.0.0.1' is not an address and a port\n"
       "hint: write 127.0.0.1:9915 or [::1]:9915, or \"\" for none"},
      {"resolver: {servers: [dns.example]}",
       "2:22: error: 'dns.example' is not the address of a name server\n"
       "hint: write 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53; names are not resolved here"},
      {"resolver: {servers: 192.0.2.53}",
       "2:21: error: expected a list of name servers\nhint: write [192.0.2.53]"},
      {"log: {level: warn}",
       "2:14: error: 'warn' is not a log level\n"
       "hint: write one of debug, info, warning, error, off"},
      {"log: info", "2:6: error: 'log' is not a map\nhint: write one 'key: value' per line"},
      {"threads: 1\nthreads: 2", "3:1: error: 'threads' is given twice\nhint: keep one of them"},
      {"wholly_different: 1",
       "2:1: error: unknown key 'wholly_different'\n"
       "hint: known here: policy, threads, handover, admin, resolver, timeouts, limits, listen, "
       "upstream_proxy, egress, "
       "state, audit, log"},
      {"\"ev\\x1bil\": 1",
       "2:1: error: unknown key 'ev\\x1bil'\n"
       "hint: known here: policy, threads, handover, admin, resolver, timeouts, limits, listen, "
       "upstream_proxy, egress, "
       "state, audit, log"},
      {"audit: {file: \"a\\0b\"}",
       "2:15: error: 'a\\x00b' is not a path\nhint: name a file, absolute or beside this one"},
      {"log: {level: }",
       "2:14: error: expected a log level\nhint: write it on the line of its key"},
      {"timeouts:", "2:1: error: 'timeouts' is not a map\nhint: write one 'key: value' per line"},
      {"--- {}", "2:5: error: a second document begins here\nhint: keep one document in the file"},
  };
  for (const auto& [text, error] : cases) {
    EXPECT_THAT(errors_of("policy: p\n" + std::string(text)),
                ElementsAre("etc/sluiced.yaml:" + std::string(error)))
        << text;
  }
}

TEST(Config, RefusesASocketPathThatTheKernelWouldCutOff) {
  const std::string name(120, 'x');
  EXPECT_THAT(errors_of("policy: p\nadmin: {socket: /" + name + "}"),
              ElementsAre("etc/sluiced.yaml:2:17: error: '/" + name +
                          "' is longer than the 107 bytes of a socket's path (unix(7))\n"
                          "hint: choose a shorter directory, such as /run/sluice"));
}

TEST(Config, RefusesWhatIsNotAMapOfKeys) {
  const std::string missing =
      "etc/sluiced.yaml:1:1: error: 'policy' is missing\n"
      "hint: add 'policy: policy.yaml', a file or a directory";
  EXPECT_THAT(errors_of(""), ElementsAre(missing));
  EXPECT_THAT(errors_of("[1, 2]"),
              ElementsAre("etc/sluiced.yaml:1:1: error: the file is not a map\n"
                          "hint: write one 'key: value' per line",
                          missing));
  EXPECT_THAT(errors_of("policy: ["), testing::SizeIs(1));
  EXPECT_THAT(errors_of("policy: " + std::string(100'000, '[')), testing::SizeIs(1));
  EXPECT_THAT(errors_of("policy: " + std::string(100'000, '{')), testing::SizeIs(1));
  EXPECT_THAT(errors_of("policy: p\n[a]: b"), testing::SizeIs(1));
}

TEST(Config, OfMoreThanAMebibyteIsAnError) {
  const std::string path = testing::TempDir() + "sluiced-large.yaml";
  std::ofstream(path) << "policy: policy.yaml\n" << std::string(1024 * 1024, '#') << "\n";
  const auto config = read_config(path);
  std::remove(path.c_str());
  ASSERT_FALSE(config);
  EXPECT_THAT(to_string(config.error().front()), testing::HasSubstr("1048576"));
}

TEST(Config, NamesAFileThatCannotBeRead) {
  const auto config = read_config("/nonexistent/sluiced.yaml");
  ASSERT_FALSE(config);
  EXPECT_EQ(to_string(config.error().front()),
            "error: cannot open '/nonexistent/sluiced.yaml': No such file or directory");
}

std::string shipped_file() {
  std::ifstream file(SLUICE_SHIPPED_CONFIG);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(Config, ShipsAFileThatSaysTheDefaults) {
  const auto shipped = parse_config(shipped_file(), "/etc/sluice/sluiced.yaml");
  ASSERT_TRUE(shipped) << to_string(shipped.error().front());
  const auto defaults = parse_config("policy: policy.yaml", "/etc/sluice/sluiced.yaml");
  ASSERT_TRUE(defaults);
  EXPECT_EQ(shipped->policy, defaults->policy);
  EXPECT_EQ(shipped->handover.socket, defaults->handover.socket);
  EXPECT_FALSE(shipped->handover.peers);
  EXPECT_EQ(shipped->admin.socket, defaults->admin.socket);
  EXPECT_EQ(shipped->admin.mode, defaults->admin.mode);
  EXPECT_EQ(shipped->admin.address, defaults->admin.address);
  EXPECT_TRUE(shipped->listen.empty());
  EXPECT_FALSE(shipped->upstream_proxy);
  EXPECT_TRUE(shipped->egress.empty());
  EXPECT_EQ(shipped->resolver.hosts_file, defaults->resolver.hosts_file);
  EXPECT_EQ(shipped->resolver.timeout, defaults->resolver.timeout);
  EXPECT_EQ(shipped->timeouts.first_byte, defaults->timeouts.first_byte);
  EXPECT_EQ(shipped->timeouts.headers, defaults->timeouts.headers);
  EXPECT_EQ(shipped->timeouts.connect, defaults->timeouts.connect);
  EXPECT_EQ(shipped->timeouts.idle, defaults->timeouts.idle);
  EXPECT_EQ(shipped->timeouts.drain, defaults->timeouts.drain);
  EXPECT_EQ(shipped->limits.header_bytes, defaults->limits.header_bytes);
  EXPECT_EQ(shipped->limits.headers, defaults->limits.headers);
  EXPECT_EQ(shipped->state, defaults->state);
  EXPECT_EQ(std::get<metrics::AuditFile>(shipped->audit).path,
            std::get<metrics::AuditFile>(defaults->audit).path);
  EXPECT_EQ(shipped->log_level, defaults->log_level);
}

TEST(Config, ShipsExamplesThatAreValidWithoutTheirHash) {
  // "# listen:" and "#   - …" at the margin, "  # servers: …" within a section; prose is neither.
  static const std::regex example(
      "(^|\n)( *)# ((?:peers|listen|upstream_proxy|egress|servers|lifetime):|  )");
  const std::string text = std::regex_replace(shipped_file(), example, "$1$2$3");
  const auto config = parse_config(text, "/etc/sluice/sluiced.yaml");
  ASSERT_TRUE(config) << to_string(config.error().front()) << text;
  EXPECT_EQ(config->listen.size(), 4U);
  EXPECT_TRUE(config->upstream_proxy);
  EXPECT_EQ(config->egress.size(), 1U);
  EXPECT_EQ(config->resolver.servers.size(), 1U);
  EXPECT_GT(config->timeouts.lifetime, 0s);
}

}  // namespace
}  // namespace sluice::proxy
