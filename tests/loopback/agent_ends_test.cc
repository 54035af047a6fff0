// What sluiced counts and writes of how agents end, by what their supervisors say, or do not.
#include <condition_variable>
#include <mutex>

#include "proxy/daemon/scribe.h"
#include "tests/loopback/handing_over.h"

namespace sluice::proxy {
namespace {

using netns::Event;
using netns::Unregister;

Event end_of(AgentEnd end, std::uint64_t status, std::string agent = "") {
  Event event{Event::Kind::agent_end, 0, {}, std::move(agent)};
  event.end = end;
  event.status = status;
  return event;
}

Event probe_of(bool ok, std::string text) {
  Event event{Event::Kind::probe, 0, std::move(text)};
  event.ok = ok;
  return event;
}

class Ends : public testing::Test {
 protected:
  void SetUp() override {
    if (fds.empty() || others.empty()) GTEST_SKIP() << "no network namespace can be made";
  }
  Fd registered(const std::string& agent, const std::vector<Fd>& network) {
    Fd client = bench.connect();
    EXPECT_EQ(bench.refusal(client, registration(agent), numbers(network, 0, whole.size())), "");
    return client;
  }
  // Of one that has none, when all that was said is heard.
  void expect_ends(std::string_view agent, std::string_view end, int count) {
    const std::string line =
        fmt::format("sluice_agent_ends_total{{agent=\"{}\",end=\"{}\"}} {}\n", agent, end, count);
    if (count > 0) run_until(bench.worker->io, [&] { return bench.shows(line); });
    bench.settle();
    EXPECT_TRUE(bench.shows(line)) << agent << ' ' << end;
  }

  const std::vector<Fd> fds = agent_network();
  const std::vector<Fd> others = agent_network();
  Handover bench;
};

TEST_F(Ends, AreSaidAfterTheTotalsAndCountOnce) {
  const Fd client = registered("coder-1", fds);
  EXPECT_TRUE(bench.shows("sluice_agent_starts_total{agent=\"coder-1\"} 1\n"));
  EXPECT_TRUE(std::holds_alternative<netns::Totals>(bench.ask(client, Unregister{})));
  expect_ends("coder-1", "timeout", 0);
  expect_ends("coder-1", "released", 0);
  Handover::tell(client, end_of(AgentEnd::timeout, 124));
  Handover::tell(client, end_of(AgentEnd::failed, 1));
  expect_ends("coder-1", "timeout", 1);
  expect_ends("coder-1", "failed", 0);
  ::shutdown(client.get(), SHUT_RDWR);
  expect_ends("coder-1", "released", 0);
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["agent"], "coder-1");
  EXPECT_EQ(lines[0]["via"], "event");
  EXPECT_EQ(lines[0]["event"], "agent_end");
  EXPECT_EQ(lines[0]["end"], "timeout");
  EXPECT_EQ(lines[0]["exit_status"], 124);
}

TEST_F(Ends, OfASupervisorThatIsGoneOrSaysNothingAreToldApart) {
  registered("lost", fds).reset();
  expect_ends("lost", "lost", 1);
  const Fd client = registered("released", others);
  EXPECT_TRUE(std::holds_alternative<netns::Totals>(bench.ask(client, Unregister{})));
  EXPECT_EQ(bench.refusal(client, registration("next"), numbers(others, 0, whole.size())), "");
  expect_ends("released", "released", 1);
  Handover::tell(client, end_of(AgentEnd::not_started, 125));
  expect_ends("next", "not_started", 1);
  ::shutdown(client.get(), SHUT_RDWR);
  expect_ends("next", "lost", 0);
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_TRUE(lines[0]["exit_status"].is_null());
}

TEST_F(Ends, OfAnExplicitLeaseComeWithUnregisterAndWithAWayOut) {
  const Fd client = bench.connect();
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-1"), numbers(fds, 0, whole.size())), "");
  EXPECT_TRUE(std::holds_alternative<netns::Totals>(bench.ask(client, Unregister{"pod-1"})));
  expect_ends("pod-1", "released", 1);
  EXPECT_EQ(bench.refusal(client, explicit_lease("pod-2"), numbers(others, 0, whole.size())), "");
  Handover::tell(client, Event{Event::Kind::way_out, 0, "a link", "pod-2"});
  expect_ends("pod-2", "withdrawn", 1);
  expect_ends("pod-2", "released", 0);
}

TEST_F(Ends, AreHeardOfTheRegisteringPeerOnly) {
  const Fd client = registered("coder-1", fds);
  const Fd stranger = registered("coder-2", others);
  Handover::tell(bench.connect(), end_of(AgentEnd::succeeded, 0));
  Handover::tell(stranger, end_of(AgentEnd::succeeded, 0, "coder-1"));
  Handover::tell(bench.connect(), probe_of(false, "x"));
  expect_ends("coder-1", "succeeded", 0);
  expect_ends("coder-2", "succeeded", 0);
  EXPECT_TRUE(bench.shows("sluice_containment_probe_ok 1\n"));
}

TEST_F(Ends, OfProbesShowUntilOneHoldsAgain) {
  const Fd client = registered("coder-1", fds);
  Handover::tell(client,
                 probe_of(false, "the probe 'vsock' reached\u202e " + std::string(999, 'x')));
  run_until(bench.worker->io, [&] { return bench.shows("sluice_containment_probe_ok 0\n"); });
  EXPECT_TRUE(bench.shows("sluice_containment_probe_ok 0\n"));
  EXPECT_TRUE(bench.shows("sluice_containment_probes_total{result=\"leaked\"} 1\n"));
  Handover::tell(client, probe_of(true, ""));
  run_until(bench.worker->io, [&] { return bench.shows("sluice_containment_probe_ok 1\n"); });
  EXPECT_TRUE(bench.shows("sluice_containment_probe_ok 1\n"));
  EXPECT_TRUE(bench.shows("sluice_containment_probes_total{result=\"held\"} 1\n"));
  const auto lines = bench.audit_lines();
  ASSERT_EQ(lines.size(), 1U) << "one that held has no line";
  EXPECT_EQ(lines[0]["event"], "probe");
  EXPECT_EQ(lines[0]["ok"], false);
  EXPECT_EQ(lines[0]["error"].get<std::string>().size(), 256U);
}

Task<void> read_into(Scribe& scribe, asio::io_context& io, std::optional<Scribe::Page>& page) {
  page = co_await scribe.page(io);
}

// Whatever the page costs, nobody else waits for it.
TEST(Scrape, IsWrittenWhileTheLoopServesOthers) {
  asio::io_context io;
  std::mutex mutex;
  std::condition_variable changed;
  bool may_write = false;
  int written = 0;
  Scribe scribe([&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return may_write; });
    return fmt::format("page {}", ++written);
  });
  std::array<std::optional<Scribe::Page>, 3> pages;
  for (auto& page : pages) spawn(io, read_into(scribe, io, page));
  const auto come = [&] {
    return std::ranges::all_of(pages, [](const auto& page) { return page.has_value(); });
  };
  bool served = false;
  asio::post(io, [&] { served = true; });
  run_for(io, std::chrono::milliseconds(20));
  EXPECT_TRUE(served);
  EXPECT_FALSE(come());
  {
    const std::lock_guard lock(mutex);
    may_write = true;
  }
  changed.notify_all();
  io.restart();
  ASSERT_TRUE(run_until(io, come));
  EXPECT_LE(written, 2) << "who waits together gets one page";
}

TEST(Scrape, APageThatCannotBeWrittenIsNone) {
  asio::io_context io;
  Scribe scribe([]() -> std::string { throw std::runtime_error("no memory"); });
  std::optional<Scribe::Page> page;
  spawn(io, read_into(scribe, io, page));
  ASSERT_TRUE(run_until(io, [&] { return page.has_value(); }));
  EXPECT_EQ(*page, nullptr);
}

}  // namespace
}  // namespace sluice::proxy
