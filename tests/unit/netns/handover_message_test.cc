#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "netns/exec_event.h"
#include "netns/handover.h"

namespace sluice::netns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <class Wanted>
Wanted request(const std::string& message) {
  auto decoded = decode_request(message);
  if (!decoded) {
    ADD_FAILURE() << message << "\n" << to_string(decoded.error());
    return {};
  }
  return std::get<Wanted>(*decoded);
}

template <class Wanted>
Wanted answer(const std::string& message) {
  auto decoded = decode_answer(message);
  if (!decoded) {
    ADD_FAILURE() << message << "\n" << to_string(decoded.error());
    return {};
  }
  return std::get<Wanted>(*decoded);
}

std::string exec_with(const std::string& argv, const std::string& exit_status) {
  return R"({"v":1,"op":"event","kind":"exec","count":0,"execs":[{"program":"","argv":)" + argv +
         R"(,"argv_cut":false,"cwd":"","pid":1,"parent_pid":1,"parent":"","ms":1,"exit_status":)" +
         exit_status + R"(,"error":""}]})";
}

std::string register_with(const std::string& agent, const std::string& sockets,
                          const std::string& names) {
  return R"({"v":1,"op":"register","agent":)" + agent + R"(,"sockets":)" + sockets +
         R"(,"names":)" + names + "}";
}

TEST(HandoverMessage, CarriesARegistrationThereAndBack) {
  const Register sent{"coder-7",
                      {Role::tproxy4, Role::tproxy6, Role::dns_udp, Role::dns_tcp, Role::proxy},
                      {{"api.example.com", 7}, {"_sip.example.com", 131071}}};
  const auto got = request<Register>(encode(Request(sent)));
  EXPECT_EQ(got.agent, sent.agent);
  EXPECT_EQ(got.sockets, sent.sockets);
  EXPECT_EQ(got.names, sent.names);
}

TEST(HandoverMessage, CarriesNamesAndUnregister) {
  const auto got = request<Names>(encode(Request(Names{{{"a.test", 0}}})));
  EXPECT_THAT(got.names, ElementsAre(Binding{"a.test", 0}));
  EXPECT_EQ(encode(Request(Unregister{})), R"({"op":"unregister","v":1})");
  request<Unregister>(R"({"v":1,"op":"unregister"})");
}

TEST(HandoverMessage, CarriesALeaseOnlyWhereItIsExplicit) {
  const Register brief{"a", {Role::proxy}, {}};
  EXPECT_EQ(encode(Request(brief)).find("lease"), std::string::npos);
  EXPECT_EQ(request<Register>(encode(Request(brief))).lease, Lease::connection);
  const Register lasting{"a", {Role::proxy}, {}, Lease::until_ended};
  EXPECT_EQ(request<Register>(encode(Request(lasting))).lease, Lease::until_ended);
  EXPECT_EQ(request<Unregister>(encode(Request(Unregister{"coder-7"}))).agent, "coder-7");
  EXPECT_EQ(encode(Request(Unregister{"coder-7", 4711})),
            R"({"agent":"coder-7","netns_cookie":4711,"op":"unregister","v":1})");
  EXPECT_EQ(request<Unregister>(encode(Request(Unregister{"coder-7", 4711}))).netns_cookie, 4711U);
}

TEST(HandoverMessage, CarriesProgramsWithWhateverBytesTheyAreCalled) {
  Event event;
  event.kind = Event::Kind::exec;
  event.count = 3;
  event.execs = {{"/bin/a\n", {"a", "", "\x1b[2J\"\\\xff"}, true, "/", 7, 6, "sh", 12, 3, ""},
                 {"b", {}, false, "", 8, 7, "", {}, {}, "why"}};
  const auto read = request<Event>(encode(Request(event)));
  EXPECT_EQ(read.kind, Event::Kind::exec);
  EXPECT_EQ(read.count, 3U);
  ASSERT_EQ(read.execs.size(), 2U);
  EXPECT_EQ(read.execs[0].program, "/bin/a\n");
  EXPECT_THAT(read.execs[0].argv, ElementsAre("a", "", "\x1b[2J\"\\\xef\xbf\xbd"));
  EXPECT_TRUE(read.execs[0].argv_cut);
  EXPECT_EQ(read.execs[0].ms, 12U);
  EXPECT_EQ(read.execs[0].exit_status, 3U);
  EXPECT_EQ(read.execs[1].parent_pid, 7U);
  EXPECT_FALSE(read.execs[1].ms);
  EXPECT_FALSE(read.execs[1].exit_status);
  EXPECT_EQ(read.execs[1].error, "why");
}

TEST(HandoverMessage, CarriesPortsEventsAndMoreSockets) {
  const auto more = request<Add>(encode(Request(Add{{Role::port, Role::port}})));
  EXPECT_THAT(more.sockets, ElementsAre(Role::port, Role::port));
  EXPECT_EQ(request<AskPorts>(encode(Request(AskPorts{"a"}))).agent, "a");
  EXPECT_EQ(request<AskSandbox>(encode(Request(AskSandbox{"a"}))).agent, "a");
  const auto refused = request<Event>(encode(Request(Event{Event::Kind::udp_refused, 12, {}})));
  EXPECT_EQ(refused.kind, Event::Kind::udp_refused);
  EXPECT_EQ(refused.count, 12U);
  const auto out = request<Event>(encode(Request(Event{Event::Kind::way_out, 0, "link 'eth0'"})));
  EXPECT_EQ(out.kind, Event::Kind::way_out);
  EXPECT_EQ(out.text, "link 'eth0'");
  EXPECT_EQ(out.agent, "");
  const Event of_lease{Event::Kind::udp_refused, 3, {}, "coder-7"};
  EXPECT_EQ(request<Event>(encode(Request(of_lease))).agent, "coder-7");
  const Event of_network{Event::Kind::way_out, 0, "a link", "coder-7", 4711};
  EXPECT_EQ(request<Event>(encode(Request(of_network))).netns_cookie, 4711U);
  Event end{Event::Kind::agent_end};
  end.end = AgentEnd::memory_limit;
  end.status = 137;
  const auto ended = request<Event>(encode(Request(end)));
  EXPECT_EQ(ended.kind, Event::Kind::agent_end);
  EXPECT_EQ(ended.end, AgentEnd::memory_limit);
  EXPECT_EQ(ended.status, 137U);
  const auto probed = request<Event>(encode(Request(Event{Event::Kind::probe, 0, "it leaks"})));
  EXPECT_EQ(probed.kind, Event::Kind::probe);
  EXPECT_FALSE(probed.ok);
  EXPECT_EQ(probed.text, "it leaks");
  const auto ports = answer<Ports>(encode(Answer(Ports{true, {22, 80, 65535}})));
  EXPECT_TRUE(ports.any);
  EXPECT_THAT(ports.ports, ElementsAre(22, 80, 65535));
}

TEST(HandoverMessage, CarriesEveryAnswerThereAndBack) {
  EXPECT_EQ(answer<Registered>(encode(Answer(Registered{"a1b2"}))).agent_id, "a1b2");
  EXPECT_FALSE(answer<Registered>(encode(Answer(Registered{"a1b2"}))).ports_only);
  EXPECT_EQ(encode(Answer(Registered{"a1b2", true})),
            R"({"agent_id":"a1b2","capture":"ports","ok":true,"op":"register","v":1})");
  EXPECT_TRUE(answer<Registered>(encode(Answer(Registered{"a1b2", true}))).ports_only);
  const std::string sandbox = R"({"memory":1024,"tmpfs":[{"bytes":4096,"path":"/tmp"}]})";
  EXPECT_EQ(answer<Registered>(encode(Answer(Registered{"a1b2"}))).sandbox, "{}");
  EXPECT_EQ(answer<Registered>(encode(Answer(Registered{"a1b2", true, sandbox}))).sandbox, sandbox);
  EXPECT_EQ(answer<SandboxAsked>(encode(Answer(SandboxAsked{sandbox}))).sandbox, sandbox);
  EXPECT_EQ(encode(Answer(SandboxAsked{})), R"({"ok":true,"op":"sandbox","sandbox":{},"v":1})");
  EXPECT_FALSE(decode_answer(encode(Answer(SandboxAsked{"no JSON"}))));
  answer<Accepted>(encode(Answer(Accepted{})));
  EXPECT_EQ(answer<Refused>(encode(Answer(Refused{"no 'such' agent"}))).error, "no 'such' agent");
  EXPECT_THAT(answer<Bindings>(encode(Answer(Bindings{{{"b.test", 3}}}))).names,
              ElementsAre(Binding{"b.test", 3}));
  EXPECT_EQ(answer<Denied>(encode(Answer(Denied{"evil.test is not listed"}))).sentence,
            "evil.test is not listed");
  const Totals sent{3, {{"not_listed", 2}, {"denied", 0}}, 1, 1ULL << 60};
  const auto got = answer<Totals>(encode(Answer(sent)));
  EXPECT_EQ(got.allowed, 3U);
  EXPECT_EQ(got.denied, sent.denied);
  EXPECT_EQ(got.bytes_up, 1U);
  EXPECT_EQ(got.bytes_down, 1ULL << 60);
  EXPECT_TRUE(got.reported.empty());
  const Totals reporting{.allowed = 1, .reported = {{"not_listed", 4}}};
  EXPECT_EQ(answer<Totals>(encode(Answer(reporting))).reported, reporting.reported);
}

TEST(HandoverMessage, CountsToTheEndOfTheirType) {
  constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const auto got = answer<Totals>(encode(Answer(Totals{most, {{"denied", most}}, most, most})));
  EXPECT_EQ(got.allowed, most);
  EXPECT_EQ(got.bytes_down, most);
}

TEST(HandoverMessage, HoldsAsManyNamesOfTheGreatestLengthAsItPromises) {
  Register full{std::string(63, 'a'), {Role::proxy}, {}};
  for (std::uint32_t i = 0; i < max_names_per_message; ++i) {
    full.names.push_back({std::string(253, 'x'), 131000 + i % 71});
  }
  const std::string message = encode(Request(full));
  EXPECT_LE(message.size(), max_message);
  EXPECT_EQ(request<Register>(message).names.size(), max_names_per_message);
}

TEST(HandoverMessage, ReplacesBytesThatAreNotUtf8) {
  EXPECT_EQ(answer<Denied>(encode(Answer(Denied{"a\xff"}))).sentence, "a\xef\xbf\xbd");
}

TEST(HandoverMessage, RefusesAMalformedRequestAndSaysWhy) {
  const std::string good = R"(["proxy"])";
  struct Case {
    std::string message;
    std::string why;
  };
  const std::vector<Case> cases{
      {"", "not JSON"},
      {"{", "not JSON"},
      {R"({"v":1,"op":"unregister"}x)", "not JSON"},
      {R"({"v":1,"op":"unregister"}{})", "not JSON"},
      {"[]", "not an object"},
      {"1", "not an object"},
      {std::string("{\"v\":1,\"op\":\"unregister\xff\"}"), "not JSON"},
      {R"({"op":"unregister"})", "key 'v' must be 1"},
      {R"({"v":2,"op":"unregister"})", "key 'v' must be 1"},
      {R"({"v":"1","op":"unregister"})", "key 'v' must be 1"},
      {R"({"v":1.0,"op":"unregister"})", "key 'v' must be 1"},
      {R"({"v":true,"op":"unregister"})", "key 'v' must be 1"},
      {R"({"v":1})", "key 'op' is missing"},
      {R"({"v":1,"op":3})", "key 'op' must be a string"},
      {R"({"v":1,"op":"steal"})", "unknown op 'steal'"},
      {R"({"v":1,"op":"\u001b[2J"})", "unknown op '\\x1b[2J'"},
      {R"({"v":1,"op":"bindings","names":[]})", "unknown op 'bindings'"},
      {R"({"v":1,"op":"unregister","force":true})", "unknown key 'force'"},
      {R"({"v":1,"op":"names"})", "key 'names' is missing"},
      {R"({"v":1,"op":"names","names":{}})", "key 'names' must be a list"},
      {R"({"v":1,"op":"names","op":"unregister"})", "a key is given twice"},
      {R"({"v":1,"op":"names","names":[{"name":"a","index":1,"index":2}]})",
       "a key is given twice"},
      {R"({"v":1,"op":"names","names":[[[[[[1]]]]]]})", "nested too deeply"},
      {register_with(R"("a")", "[]", "[]"), "key 'sockets' must be a list of roles"},
      {register_with(R"("a")", R"("proxy")", "[]"), "key 'sockets' must be a list of roles"},
      {register_with(R"("a")", R"(["raw"])", "[]"), "key 'sockets' has an unknown role"},
      {register_with(R"("a")", "[1]", "[]"), "key 'sockets' has an unknown role"},
      {register_with(R"("a")", R"(["proxy","proxy"])", "[]"), "socket 'proxy' is given twice"},
      {R"({"v":1,"op":"unregister","agent":"-"})", "'-' is not an agent name"},
      {R"({"v":1,"op":"unregister","agent":"a","netns_cookie":-1})", "key 'netns_cookie' must be"},
      {R"({"v":1,"op":"unregister","agent":"a","netns_cookie":"1"})", "key 'netns_cookie' must be"},
      {R"({"v":1,"op":"unregister","netns_cookie":1})", "unknown key 'netns_cookie'"},
      {R"({"v":1,"op":"register","agent":"a","sockets":["proxy"],"names":[],"lease":"long"})",
       "key 'lease' must be \"explicit\", or not be there"},
      {R"({"v":1,"op":"event"})", "key 'kind' is missing"},
      {R"({"v":1,"op":"event","kind":"weather"})", "key 'kind' has an unknown event"},
      {R"({"v":1,"op":"event","kind":"exec"})", "key 'execs' is missing"},
      {R"({"v":1,"op":"event","kind":"exec","execs":{},"count":0})", "key 'execs' must be a list"},
      {R"({"v":1,"op":"event","kind":"exec","execs":[1],"count":0})", "not an object"},
      {R"({"v":1,"op":"event","kind":"exec","execs":[{}],"count":0})", "key 'program' is missing"},
      {exec_with(R"("a")", "1"), "key 'argv' must be a list of at most 256 words"},
      {exec_with("[1]", "1"), "key 'argv' must be a list of strings"},
      {exec_with("[]", "-1"), "key 'exit_status' must be a whole number"},
      {exec_with("[]", R"("0")"), "key 'exit_status' must be a whole number"},
      {R"({"v":1,"op":"event","kind":"udp_refused","count":1,"agent":""})", "not an agent name"},
      {R"({"v":1,"op":"event","kind":"udp_refused","text":"a"})", "key 'count' is missing"},
      {R"({"v":1,"op":"event","kind":"udp_refused","count":-1})",
       "key 'count' must be a whole number"},
      {R"({"v":1,"op":"event","kind":"way_out","text":"a\nb"})", "key 'text' must be one line"},
      {R"({"v":1,"op":"event","kind":"agent_end","end":"bored","status":0})",
       "key 'end' is no end of an agent"},
      {R"({"v":1,"op":"event","kind":"agent_end","end":"failed","status":256})",
       "key 'status' must be a whole number"},
      {R"({"v":1,"op":"event","kind":"probe","ok":1,"text":"a"})", "key 'ok' is not true or false"},
      {R"({"v":1,"op":"event","kind":"probe","ok":true,"text":"a\nb"})",
       "key 'text' must be one line"},
      {R"({"v":1,"op":"ports"})", "key 'agent' is missing"},
      {R"({"v":1,"op":"add","sockets":[]})", "key 'sockets' must be a list of roles"},
      {R"({"v":1,"op":"add","sockets":["proxy","port","port","proxy"]})",
       "socket 'proxy' is given twice"},
      {register_with(R"("")", good, "[]"), "'' is not an agent name"},
      {register_with(R"("-a")", good, "[]"), "'-a' is not an agent name"},
      {register_with(R"("../a")", good, "[]"), "'../a' is not an agent name"},
      {register_with(R"("a\u0000b")", good, "[]"), "is not an agent name"},
      {register_with('"' + std::string(64, 'a') + '"', good, "[]"), "is not an agent name"},
      {register_with("7", good, "[]"), "key 'agent' must be a string"},
      {register_with(R"("a")", good, R"(["a"])"), "not an object where one is expected"},
      {register_with(R"("a")", good, R"([{"name":"a"}])"), "key 'index' is missing"},
      {register_with(R"("a")", good, R"([{"name":"A.test","index":1}])"), "not a host name"},
      {register_with(R"("a")", good, R"([{"name":"a b","index":1}])"), "not a host name"},
      {register_with(R"("a")", good, R"([{"name":"","index":1}])"), "not a host name"},
      {register_with(R"("a")", good, R"([{"name":"a","index":131072}])"),
       "key 'index' must be a whole number up to 131071"},
      {register_with(R"("a")", good, R"([{"name":"a","index":-1}])"),
       "key 'index' must be a whole number up to 131071"},
      {register_with(R"("a")", good, R"([{"name":"a","index":1.5}])"),
       "key 'index' must be a whole number up to 131071"},
      {register_with(R"("a")", good, R"([{"name":"a","index":99999999999999999999}])"),
       "key 'index' must be a whole number up to 131071"},
  };
  for (const auto& [message, why] : cases) {
    const auto refused = decode_request(message);
    ASSERT_FALSE(refused) << message;
    EXPECT_EQ(refused.error().code, Errc::not_permitted) << message;
    EXPECT_THAT(refused.error().what, HasSubstr("handover message: ")) << message;
    EXPECT_THAT(refused.error().what, HasSubstr(why)) << message;
  }
}

TEST(HandoverMessage, RefusesMoreNamesOrBytesThanItPromises) {
  Names many;
  many.names.resize(max_names_per_message + 1, Binding{"a", 1});
  const auto refused = decode_request(encode(Request(many)));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().what, "handover message: 201 names, more than 200");
  const auto large = decode_request(std::string(max_message + 1, ' '));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().what, "handover message: 65537 bytes, more than 65536");
}

TEST(HandoverMessage, BearsTheDeepestNestingThatFitsAPacket) {
  EXPECT_FALSE(decode_request(std::string(max_message, '[')));
  EXPECT_FALSE(
      decode_request(std::string(max_message / 2, '[') + std::string(max_message / 2, ']')));
}

TEST(HandoverMessage, RefusesAMalformedAnswer) {
  for (
      const std::string message : {
          R"({"v":1,"ok":true})",
          R"({"v":1,"ok":"true","op":"names"})",
          R"({"v":1,"ok":false})",
          R"({"v":1,"ok":false,"error":3})",
          R"({"v":1,"ok":false,"error":"two\nlines"})",
          R"({"v":1,"ok":false,"error":"x","op":"register"})",
          R"({"v":1,"op":"register","ok":true})",
          R"({"v":1,"op":"names","ok":true,"names":[]})",
          R"({"v":1,"op":"names"})",
          R"({"v":1,"op":"ports","any":1,"ports":[]})",
          R"({"v":1,"op":"ports","any":false,"ports":[0]})",
          R"({"v":1,"op":"ports","any":false,"ports":[65536]})",
          R"({"v":1,"op":"ports","any":false,"ports":[443,80]})",
          R"({"v":1,"op":"ports","any":false,"ports":[80,80]})",
          R"({"v":1,"op":"denied","sentence":"\u001b[2J"})",
          R"({"v":1,"op":"denied","sentence":"\u007f"})",
          R"({"v":1,"op":"denied","ok":true,"sentence":"a"})",
          R"({"v":1,"op":"unregister","ok":true,"allowed":-1,"denied":{},"bytes_up":0,"bytes_down":0})",
          R"({"v":1,"op":"unregister","ok":true,"allowed":1,"denied":{"a":-1},"bytes_up":0,"bytes_down":0})",
          R"({"v":1,"op":"unregister","ok":true,"allowed":1,"denied":{"A b":1},"bytes_up":0,"bytes_down":0})",
          R"({"v":1,"op":"unregister","ok":true,"allowed":1,"denied":[],"bytes_up":0,"bytes_down":0})",
      }) {
    EXPECT_FALSE(decode_answer(message)) << message;
  }
}

}  // namespace
TEST(ExecEvents, AreToldFromEverythingElseByTheirEnd) {
  Event event;
  event.kind = Event::Kind::exec;
  event.execs.resize(2);
  EXPECT_TRUE(is_exec_event(encode(event)));
  event.kind = Event::Kind::udp_refused;
  EXPECT_FALSE(is_exec_event(encode(event)));
  EXPECT_FALSE(is_exec_event(encode(Unregister{})));
  EXPECT_FALSE(is_exec_event(""));
  // What ends as one and says to be another has a key twice.
  std::string twice = encode(Unregister{});
  twice.pop_back();
  event.kind = Event::Kind::exec;
  const std::string end = encode(event);
  twice += end.substr(end.find(",\"kind\":"));
  EXPECT_TRUE(is_exec_event(twice));
  EXPECT_FALSE(decode_request(twice));
}

}  // namespace sluice::netns
