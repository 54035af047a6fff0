#include "allowlists/read_rule.h"

#include <string>

#include "policies.h"

namespace sluice::allowlists {
namespace {

using testing::HasSubstr;

TEST(PolicyFile, RefusesATopLevelWildcardAndSaysWhatToDo) {
  EXPECT_EQ(errors_of("version: 1\n"
                      "agents:\n"
                      "  coder-1:\n"
                      "    allow:\n"
                      "    - host: api.example.com\n"
                      "    - host: \"*.example.org\"\n"
                      "      ports: [443, 8443]\n"
                      "    - host: .example.net\n"
                      "    - cidr: 10.20.0.0/16\n"
                      "      ports: [5432]\n"
                      "    # and the rest\n"
                      "    - host: \"*.com\"\n"),
            "allow.yaml:12:7: error: '*.com' allows a whole top-level domain\n"
            "hint: name the domain you trust: *.example.com\n");
}

TEST(PolicyFile, AWildcardOverAPublicSuffixNeedsASecondWord) {
  EXPECT_EQ(errors_of_rule("host: \"*.co.uk\""),
            "allow.yaml:5:9: error: '*.co.uk' allows every name under a public suffix\n"
            "hint: name the domain you trust: *.example.co.uk\n");
  EXPECT_EQ(errors_of_rule("host: .github.io"),
            "allow.yaml:5:9: error: '.github.io' allows every name under a public suffix\n"
            "hint: name the domain you trust: .example.github.io\n");
  EXPECT_EQ(errors_of_rule("host: \"*.COM.\"", "deny"),
            "allow.yaml:5:9: error: '*.COM.' denies a whole top-level domain\n"
            "hint: name the domain you mean: *.example.com\n");
  for (const char* suffix : {".com", "*.uk", "*.foo.ck", "*.xn--p1ai", "*.\u0440\u0444",
                             "*.nosuchtopleveldomain", "*.s3.amazonaws.com"}) {
    const std::string rule = "host: \"" + std::string(suffix) + '"';
    EXPECT_NE(errors_of_rule(rule), "") << suffix;
    EXPECT_EQ(errors_of_rule(rule + "\n        public_suffix: true"), "") << suffix;
    EXPECT_NE(errors_of_rule(rule + "\n        public_suffix: false"), "") << suffix;
  }
  for (const char* pattern : {"*.example.com", ".example.co.uk", "*.user.github.io", "com",
                              "*.test", "*.internal", "*.www.ck", "co.uk"}) {
    EXPECT_EQ(errors_of_rule("host: \"" + std::string(pattern) + '"'), "") << pattern;
  }
}

TEST(PolicyFile, ARuleHasOneSubject) {
  EXPECT_EQ(errors_of_rule("ports: [443]"),
            "allow.yaml:5:9: error: a rule without 'host', 'host_regex', 'cidr' or 'any'\n"
            "hint: add one, for example host: api.example.com\n");
  EXPECT_EQ(
      errors_of_rule("{host: a.test, cidr: 10.0.0.0/8}"),
      "allow.yaml:5:9: error: a rule with more than one of 'host', 'host_regex', 'cidr' and 'any'\n"
      "hint: make a rule of each of them\n");
  EXPECT_EQ(
      errors_of_rule("{any: true, host: a.test}"),
      "allow.yaml:5:9: error: a rule with more than one of 'host', 'host_regex', 'cidr' and 'any'\n"
      "hint: make a rule of each of them\n");
  EXPECT_EQ(errors_of_rule("api.example.com"),
            "allow.yaml:5:9: error: a rule is 'api.example.com', not a mapping\n"
            "hint: write - host: api.example.com\n");
  EXPECT_EQ(errors_of_rule("any: false"),
            "allow.yaml:5:9: error: 'any' is 'false'\n"
            "hint: write any: true, or remove the rule\n");
  for (const char* rule : {"any: \"true\"", "any: yes", "any:", "any: [true]", "[]", "~"}) {
    EXPECT_NE(errors_of_rule(rule), "") << rule;
  }
  EXPECT_EQ(errors_of_rule("any: true"), "");
}

TEST(PolicyFile, AHostIsANameOrASuffix) {
  const std::string shape =
      "hint: write example.com, \"*.example.com\" (all below) or \".example.com\" (both)\n";
  EXPECT_EQ(errors_of_rule("host: \"*\""),
            "allow.yaml:5:9: error: '*' stands for every host there is\n"
            "hint: if that is meant, write any: true\n");
  EXPECT_EQ(errors_of_rule("host: 192.0.2.1"),
            "allow.yaml:5:9: error: '192.0.2.1' is an address, not a host\n"
            "hint: write cidr: 192.0.2.1/32\n");
  EXPECT_EQ(errors_of_rule("host: \"2001:db8::1\""),
            "allow.yaml:5:9: error: '2001:db8::1' is an address, not a host\n"
            "hint: write cidr: 2001:db8::1/128\n");
  EXPECT_EQ(errors_of_rule("host: api-*.example.com"),
            "allow.yaml:5:9: error: 'api-*.example.com' has a '*' that is not the whole first "
            "label\n" +
                shape);
  EXPECT_EQ(errors_of_rule("host: 127.1"),
            "allow.yaml:5:9: error: '127.1' is no host: the last label is a number and the whole "
            "is no address\n" +
                shape);
  EXPECT_EQ(errors_of_rule("host: [a.test]"),
            "allow.yaml:5:9: error: 'host' is a list, not a text\n" + shape);
  for (const char* host :
       {"", "*.", ".", "..a.test", "*..a.test", "*.*.a.test", "**.a.test", "*a.test", "a.test:443",
        "https://a.test", "a.test/path", "a b.test", "*.192.0.2.1", ".::1", "a..test", "[::1]",
        "a\\u0000.test", "\\u202ea.test", "~x"}) {
    EXPECT_NE(errors_of_rule("host: \"" + std::string(host) + '"'), "") << host;
  }
  EXPECT_NE(errors_of_rule("host:"), "");
  EXPECT_NE(errors_of_rule("host: ~"), "");
  EXPECT_EQ(errors_of_rule("host: host.sluice.internal"),
            "allow.yaml:5:9: error: 'host.sluice.internal' is this machine's loopback, which no "
            "name opens\n"
            "hint: write cidr: 127.0.0.1/32 with its ports\n");
  EXPECT_EQ(errors_of_rule("host: host.sluice.internal", "deny"), "");
}

TEST(PolicyFile, APortIsADecimalNumber) {
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: [443, 0443, 70000]}"),
            "allow.yaml:5:37: error: port '0443' is not a number from 1 to 65535\n"
            "hint: write it in decimal, without quotes: 443\n"
            "allow.yaml:5:43: error: port '70000' is not a number from 1 to 65535\n"
            "hint: write it in decimal, without quotes: 443\n");
  for (const char* port : {"0",
                           "-1",
                           "65536",
                           "65616",
                           "+80",
                           "80x",
                           "x",
                           "0443",
                           "0x50",
                           "8_0",
                           "80.0",
                           "8e1",
                           "80-90",
                           "\"443\"",
                           "'443'",
                           "~",
                           "[443]",
                           "{a: b}",
                           "99999999999999999999",
                           "\"\"",
                           "*"}) {
    EXPECT_NE(errors_of_rule("{host: a.test, ports: [" + std::string(port) + "]}"), "") << port;
  }
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: [\"443\"]}"),
            "allow.yaml:5:32: error: port '443' is in quotes, which makes it a text\n"
            "hint: write it in decimal, without quotes: 443\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: 443}"),
            "allow.yaml:5:24: error: 'ports' is a text, not a list\n"
            "hint: write ports: [443]\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: []}"),
            "allow.yaml:5:24: error: 'ports' is empty\n"
            "hint: list ports, or remove it, which means 80 and 443\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: []}", "deny"),
            "allow.yaml:5:24: error: 'ports' is empty\n"
            "hint: list ports, or remove it, which means every port\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, ports: [1, 65535, 1]}"), "");
}

TEST(PolicyFile, ACidrIsWrittenAsTheNetworkItIs) {
  EXPECT_EQ(errors_of_rule("cidr: 10.20.30.40/16"),
            "allow.yaml:5:9: error: '10.20.30.40/16' has bits set behind its first 16\n"
            "hint: write 10.20.0.0/16 or 10.20.30.40/32\n");
  EXPECT_EQ(errors_of_rule("cidr: 2001:db8::1/32"),
            "allow.yaml:5:9: error: '2001:db8::1/32' has bits set behind its first 32\n"
            "hint: write 2001:db8::/32 or 2001:db8::1/128\n");
  EXPECT_EQ(errors_of_rule("cidr: 10.20.0.0/33"),
            "allow.yaml:5:9: error: '10.20.0.0/33' is no range of addresses\n"
            "hint: write 10.20.0.0/16 or 2001:db8::/32\n");
  EXPECT_EQ(errors_of_rule("cidr: 198.18.0.0/16"),
            "allow.yaml:5:9: error: '198.18.0.0/16' touches 198.18.0.0/15, from which sluice "
            "answers DNS\n"
            "hint: write ranges that leave it out\n");
  for (const char* range :
       {"0.0.0.0/0", "::/0", "fc00::/7", "fd73:6c75:6963::/48", "198.18.0.1", "fd73:6c75:6963::5",
        "10.0.0.0/08", "10.0.0.0/", "10.0/8", "10.0.0.0 /8", "010.0.0.0/8", "example.com",
        "::1%eth0", "[::1]", "", "/8", "10.0.0.0/+8"}) {
    EXPECT_NE(errors_of_rule("cidr: \"" + std::string(range) + '"'), "") << range;
    EXPECT_NE(errors_of_rule("cidr: \"" + std::string(range) + '"', "deny"), "") << range;
  }
  for (const char* range : {"10.0.0.0/8", "10.0.0.1", "::1", "2001:db8::/32", "192.0.2.1/32"}) {
    EXPECT_EQ(errors_of_rule("cidr: \"" + std::string(range) + '"'), "") << range;
  }
}

TEST(PolicyFile, TlsOffNeedsItsQuotes) {
  for (const char* mode : {"require", "match", "\"require\"", "\"off\"", "'off'"}) {
    EXPECT_EQ(errors_of_rule("{host: a.test, tls: " + std::string(mode) + "}"), "") << mode;
  }
  EXPECT_EQ(errors_of_rule("{host: a.test, tls: off}"),
            "allow.yaml:5:24: error: 'off' without quotes is false in YAML\n"
            "hint: write tls: \"off\" with its quotes\n");
  for (const char* mode : {"false", "False", "no", "OFF"}) {
    EXPECT_THAT(errors_of_rule("{host: a.test, tls: " + std::string(mode) + "}"),
                HasSubstr("without quotes is false in YAML"));
  }
  EXPECT_EQ(errors_of_rule("{host: a.test, tls: required}"),
            "allow.yaml:5:24: error: unknown value 'required' for 'tls'\n"
            "hint: write tls: require, tls: match or tls: \"off\"\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, tls: inspect}"),
            "allow.yaml:5:24: error: 'tls: inspect' is not built yet: what is said inside TLS is "
            "not inspected\n"
            "hint: use 'tls: require'\n");
  EXPECT_EQ(errors_of_rule("{host: a.test, tls: match}", "deny"),
            "allow.yaml:5:24: error: 'tls' has a meaning only under 'allow'\n"
            "hint: remove it\n");
  EXPECT_NE(errors_of_rule("{host: a.test, tls: }"), "");
  EXPECT_EQ(errors_of_rule("{host: a.test, ech: deny}"), "");
  EXPECT_EQ(errors_of_rule("{host: a.test, ech: allow}"), "");
  EXPECT_NE(errors_of_rule("{host: a.test, ech: no}"), "");
  EXPECT_NE(errors_of_rule("{host: a.test, ech: deny}", "deny"), "");
  EXPECT_EQ(errors_of_rule("{host: a.test, tls: \"off\", ech: deny}"),
            "allow.yaml:5:36: error: 'ech: deny' needs the bytes that 'tls: \"off\"' does not look "
            "at\n"
            "hint: remove one of the two\n");
}

TEST(PolicyFile, ValuesInErrorsArePrintableAndShort) {
  EXPECT_THAT(errors_of_rule("host: \"a\\e[2J\\u202e.test\""),
              HasSubstr("'a\\x1b[2J\\u{202e}.test' is no host"));
  const std::string error = errors_of_rule("host: " + std::string(5000, 'a'));
  EXPECT_LT(error.size(), 400U);
}

}  // namespace
}  // namespace sluice::allowlists
