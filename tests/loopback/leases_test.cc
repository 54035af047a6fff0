// Explicit leases, what supervisors report, and the ports that they ask for.
#include <poll.h>

#include "tests/loopback/handing_over.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using netns::Event;
using netns::Unregister;
using testing::HasSubstr;

bool is_totals(const netns::Answer& answer) {
  return std::holds_alternative<netns::Totals>(answer);
}

TEST(ExplicitLease, OutlivesItsConnectionUntilAnyConnectionOfTheUserEndsIt) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  const auto handed = numbers(fds, 0, whole.size());
  Handover bench;
  std::optional<Fd> first = bench.connect();
  EXPECT_EQ(bench.refusal(*first, explicit_lease("pod-1"), handed), "");
  first.reset();
  bench.settle();
  EXPECT_EQ(bench.agents->count(), 1U);
  const Fd second = bench.connect();
  EXPECT_THAT(bench.refusal(second, Unregister{}), HasSubstr("nothing is registered"));
  EXPECT_TRUE(is_totals(bench.ask(second, Unregister{"pod-1"})));
  EXPECT_EQ(bench.agents->count(), 0U);
  EXPECT_EQ(bench.agents->held_by(::geteuid()).agents, 0U);
  EXPECT_THAT(bench.refusal(second, Unregister{"pod-1"}), HasSubstr("no explicit lease"));
  EXPECT_EQ(bench.refusal(second, explicit_lease("pod-1"), handed), "");
}

TEST(ExplicitLease, IsOverOnlyWhenEveryThreadHasClosedItsListeners) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  Worker& other = bench.add_thread();
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())), "");
  other.io.poll();
  Handover::tell(client, Unregister{"pod-1"});
  bench.settle();
  EXPECT_FALSE(netns::receive_packet(client.get()).value().has_value());
  other.io.poll();
  EXPECT_TRUE(is_totals(bench.hear(client)));
}

TEST(ExplicitLease, EndsForItsNamespaceOnlyWhereOneIsNamed) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())), "");
  const std::uint64_t cookie = bench.agents->live().at("pod-1")->netns_cookie;
  EXPECT_THAT(bench.refusal(client, Unregister{"pod-1", cookie + 1}),
              HasSubstr("no explicit lease of agent 'pod-1' for this network namespace"));
  Handover::tell(client, Event{Event::Kind::way_out, 0, "link 'eth0'", "pod-1", cookie + 1});
  bench.settle();
  EXPECT_EQ(bench.agents->count(), 1U);
  EXPECT_TRUE(is_totals(bench.ask(client, Unregister{"pod-1", cookie})));
  EXPECT_EQ(bench.agents->count(), 0U);
}

TEST(ExplicitLease, AskedForAgainIsTheSameOneForTheSameNamespaceOnly) {
  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  const auto handed = numbers(fds, 0, whole.size());
  Handover bench;
  const Fd client = bench.connect();
  const auto first = bench.ask(client, explicit_lease("pod-1"), handed);
  const auto again = bench.ask(bench.connect(), explicit_lease("pod-1"), handed);
  ASSERT_TRUE(std::holds_alternative<netns::Registered>(first));
  ASSERT_TRUE(std::holds_alternative<netns::Registered>(again));
  EXPECT_EQ(std::get<netns::Registered>(first).agent_id,
            std::get<netns::Registered>(again).agent_id);
  EXPECT_EQ(bench.agents->count(), 1U);
  EXPECT_THAT(bench.refusal(client, explicit_lease("pod-1"), numbers(others, 0, whole.size())),
              HasSubstr("for another network namespace"));
  EXPECT_THAT(bench.refusal(client, explicit_lease("pod-1", {Role::proxy}), {fds[4].get()}),
              HasSubstr("not exactly one socket of every role"));
  EXPECT_THAT(bench.refusal(client, registration("pod-1"), handed), HasSubstr("is taken"));
  EXPECT_THAT(bench.refusal(client, explicit_lease("pod-2"), handed),
              HasSubstr("the network namespace is that of agent 'pod-1'"));
}

TEST(ExplicitLease, DoesNotTakeANameThatAConnectionHolds) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  const auto handed = numbers(fds, 0, whole.size());
  Handover bench;
  const Fd holder = bench.connect();
  EXPECT_EQ(bench.refusal(holder, registration("coder-2"), handed), "");
  const Fd other = bench.connect();
  EXPECT_THAT(bench.refusal(other, explicit_lease("coder-2"), handed), HasSubstr("is taken"));
  EXPECT_THAT(bench.refusal(other, Unregister{"coder-2"}), HasSubstr("no explicit lease"));
  EXPECT_EQ(bench.agents->count(), 1U);
}

TEST(ExplicitLease, OfAnotherUserIsNeitherEndedNorTakenNorReportedFor) {
  std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  // Root may end every lease, and so becomes somebody else while it connects.
  const uid_t self = ::geteuid();
  const uid_t user = self == 0 ? 65534 : self;
  Handover bench(PeerAccess(std::vector<Config::Peer>{{Config::Peer::Kind::user, user, {"*"}}}));
  Agents::Application application{.name = "pod-1", .sockets = {}, .names = {}, .holder = 4'000'000};
  for (std::size_t i = 0; i < whole.size(); ++i) {
    application.sockets.push_back({whole[i], Fd(::dup(fds[i].get()))});
  }
  auto added = bench.agents->add(std::move(application));
  ASSERT_TRUE(added);
  bench.peers->adopt(*added);
  ASSERT_EQ(::seteuid(user), 0);
  const Fd client = bench.connect();
  ASSERT_EQ(::seteuid(self), 0);
  EXPECT_THAT(bench.refusal(client, Unregister{"pod-1"}), HasSubstr("no explicit lease"));
  EXPECT_THAT(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())),
              HasSubstr("the agent name 'pod-1' is taken"));
  Handover::tell(client, Event{Event::Kind::way_out, 0, "link 'eth0'", "pod-1"});
  bench.settle();
  EXPECT_EQ(bench.agents->count(), 1U);
}

TEST(ExplicitLease, GivesNamesThatNobodyHearsOf) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())), "");
  Agent& agent = *bench.agents->live().at("pod-1")->agent;
  EXPECT_FALSE(agent.lease.is_heard());
  EXPECT_TRUE(agent.lease.tell_binding({"a.test", 1}));
  EXPECT_FALSE(netns::receive_packet(client.get()).value().has_value());
}

TEST(ExplicitLease, CountsAmongTheAgentsThatAUserMayHave) {
  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench({}, {.agents_per_uid = 1});
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())), "");
  const auto another = numbers(others, 0, whole.size());
  EXPECT_THAT(bench.refusal(client, explicit_lease("pod-2"), another),
              HasSubstr("may have no more"));
  EXPECT_TRUE(is_totals(bench.ask(client, Unregister{"pod-1"})));
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-2"), another), "");
}

TEST(ExplicitLease, MayBeAskedForInMessagesOfAnyOrderAndNoneOfThemHarms) {
  Handover bench;
  for (const netns::Request& request :
       {netns::Request(netns::Add{{Role::port}}), netns::Request(Unregister{}),
        netns::Request(Unregister{"pod-1"}), netns::Request(netns::TakeOver{}),
        netns::Request(explicit_lease("pod-1"))}) {
    EXPECT_NE(bench.refusal(bench.connect(), request), "");
  }
  const Fd client = bench.connect();
  Handover::tell(client, Event{Event::Kind::way_out, 0, "x"});
  Handover::tell(client, Event{Event::Kind::udp_refused, 5, {}, "pod-1"});
  EXPECT_EQ(bench.refusal(client, netns::Names{}), "") << "events have no answer";
}

TEST(Events, OfRefusedDatagramsCountInTheirOwnMetricOnly) {
  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, registration("coder-2"), numbers(fds, 0, whole.size())), "");
  EXPECT_TRUE(bench.shows("sluice_udp_refused_total{agent=\"coder-2\"} 0"));
  Handover::tell(client, Event{Event::Kind::udp_refused, 12});
  const Fd other = bench.connect();
  EXPECT_EQ(bench.refusal(other, explicit_lease("pod-1"), numbers(others, 0, whole.size())), "");
  Handover::tell(bench.connect(), Event{Event::Kind::udp_refused, 3, {}, "pod-1"});
  Handover::tell(other, Event{Event::Kind::udp_refused, 4});
  bench.settle();
  EXPECT_TRUE(bench.shows("sluice_udp_refused_total{agent=\"coder-2\"} 12\n"));
  EXPECT_TRUE(bench.shows("sluice_udp_refused_total{agent=\"pod-1\"} 7\n"));
  const auto totals = bench.ask(client, Unregister{});
  ASSERT_TRUE(is_totals(totals));
  EXPECT_TRUE(std::get<netns::Totals>(totals).denied.empty());
  Handover::tell(other, Event{Event::Kind::udp_refused, std::uint64_t(-1)});
  bench.settle();
  EXPECT_TRUE(bench.shows("sluice_udp_refused_total{agent=\"pod-1\"} 1000000007\n"));
}

TEST(Events, OfAWayOutEndTheServiceAndStandInTheAccount) {
  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, registration("coder-2"), numbers(fds, 0, whole.size())), "");
  Handover::tell(client,
                 Event{Event::Kind::way_out, 0, "link 'eth0' (veth)" + std::string(9999, 'x')});
  Handover::tell(client, Event{Event::Kind::way_out, 0, "again"});
  bench.run_until([&] { return bench.agents->count() == 0; });
  EXPECT_TRUE(is_totals(bench.ask(client, Unregister{}))) << "what it came to can still be asked";
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(others, 0, whole.size())), "");
  Handover::tell(bench.connect(), Event{Event::Kind::way_out, 0, "a route\u202e", "pod-1"});
  bench.run_until([&] { return bench.agents->count() == 0; });
  EXPECT_TRUE(bench.peers->leases().empty());
  auto lines = bench.audit_lines();
  std::erase_if(lines, [](const auto& line) { return line.value("event", "") == "agent_end"; });
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["agent"], "coder-2");
  EXPECT_EQ(lines[0]["via"], "event");
  EXPECT_EQ(lines[0]["verdict"], "deny");
  EXPECT_EQ(lines[0]["reason"], "not_listed");
  EXPECT_THAT(lines[0]["error"].get<std::string>(), testing::StartsWith("link 'eth0' (veth)xxx"));
  EXPECT_EQ(lines[0]["error"].get<std::string>().size(), 256U);
  EXPECT_EQ(lines[1]["agent"], "pod-1");
}

TEST(Events, OfOneWhoseRegistrationIsOverHurtNobodyWhoHasItsNameNow) {
  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  std::optional<Fd> first = bench.connect();
  EXPECT_EQ(bench.refusal(*first, registration("coder-2"), numbers(fds, 0, whole.size())), "");
  Handover::tell(*first, Event{Event::Kind::way_out, 0, "a link"});
  bench.run_until([&] { return bench.agents->count() == 0; });
  const Fd second = bench.connect();
  EXPECT_EQ(bench.refusal(second, registration("coder-2"), numbers(others, 0, whole.size())), "");
  Handover::tell(*first, Event{Event::Kind::way_out, 0, "a link"});
  Handover::tell(*first, Event{Event::Kind::udp_refused, 5});
  first.reset();
  bench.settle();
  EXPECT_EQ(bench.agents->count(), 1U);
  EXPECT_TRUE(bench.shows("sluice_udp_refused_total{agent=\"coder-2\"} 0\n"));
}

TEST(Events, ThatComeInAFloodAreHeardAHundredASecondAndTheFirst256AtOnce) {
  const std::vector<Fd> fds = agent_network();
  if (fds.empty()) GTEST_SKIP() << "no network namespace can be made";
  Handover bench;
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, registration("coder-2"), numbers(fds, 0, whole.size())), "");
  const std::string one = netns::encode(netns::Request(Event{Event::Kind::udp_refused, 1}));
  const auto begin = Clock::now();
  while (Clock::now() - begin < 500ms) {
    while (netns::send_packet(client.get(), one)) continue;
    bench.worker->io.run_one_for(1ms);
  }
  run_ready(bench.worker->io);
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
  const std::string page = bench.registry.exposition();
  const std::string_view series = "sluice_udp_refused_total{agent=\"coder-2\"} ";
  const std::size_t at = page.find(series);
  ASSERT_NE(at, std::string::npos);
  const long heard = std::strtol(page.c_str() + at + series.size(), nullptr, 10);
  EXPECT_GE(heard, 1);
  EXPECT_LE(heard, 260 + took.count() / 10);
}

TEST(AskedPorts, AreToldAndToldAgainWhenAPolicyChangesThem) {
  Handover bench;
  bench.agents->set_policy(policy_of(text_of("      - {host: a.test, ports: [22, 443]}\n")));
  const Fd client = bench.connect();
  const auto ports = [&](const netns::Answer& answer) {
    const auto* told = std::get_if<netns::Ports>(&answer);
    return told == nullptr || told->any ? std::vector<std::uint16_t>() : told->ports;
  };
  EXPECT_THAT(ports(bench.ask(client, netns::AskPorts{"coder-1"})), testing::ElementsAre(22, 443));
  const auto swap = [&](std::string_view allow, std::string_view mode = "enforce") {
    bench.agents->set_policy(policy_of(text_of(allow, mode)));
    bench.peers->policy_changed();
  };
  swap("      - {host: b.test, ports: [443, 22]}\n");
  bench.settle();
  EXPECT_FALSE(netns::receive_packet(client.get()).value().has_value()) << "the same ports";
  swap("      - {host: b.test}\n");
  EXPECT_THAT(ports(bench.hear(client)), testing::ElementsAre(80, 443));
  swap("      - {host: b.test}\n", "report");
  const auto any = bench.hear(client);
  EXPECT_TRUE(std::get<netns::Ports>(any).any);
  EXPECT_THAT(ports(bench.ask(client, netns::AskPorts{"stranger"})), testing::IsEmpty());
  swap("      - {host: b.test}\n");
  bench.settle();
  EXPECT_FALSE(netns::receive_packet(client.get()).value().has_value())
      << "of the agent that was asked about last";
}

TEST(AskedPorts, OfAPeerThatAsksWithoutReadingEndItsConversation) {
  Handover bench;
  const Fd client = bench.connect();
  const std::string ask = netns::encode(netns::Request(netns::AskPorts{"coder-1"}));
  // Its own buffer holds fewer answers than messages pass at once.
  const auto until = Clock::now() + patience;
  pollfd state{client.get(), POLLHUP, 0};
  while ((state.revents & POLLHUP) == 0 && Clock::now() < until) {
    (void)netns::send_packet(client.get(), ask);
    bench.worker->io.run_one_for(1ms);
    ASSERT_GE(::poll(&state, 1, 0), 0);
  }
  EXPECT_NE(state.revents & POLLHUP, 0);
}

}  // namespace
}  // namespace sluice::proxy
