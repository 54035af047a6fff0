#include "proxy/daemon/decision_stream.h"

#include <gmock/gmock.h>

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

void deny(metrics::Recent& recent, std::string agent, std::string host = "evil.test") {
  metrics::AuditLine line;
  line.agent = std::move(agent);
  line.via = metrics::Via::http;
  line.host = std::move(host);
  recent.add(line, metrics::to_json(line));
}

TEST(DecisionEvents, TellWhatComesAndBeginWithAsManyAsWereAskedFor) {
  metrics::Recent recent;
  deny(recent, "a", "old.test");
  deny(recent, "a", "before.test");
  DecisionEvents from_now(recent, {});
  DecisionEvents with_one(recent, {.wanted = {}, .limit = 1});
  EXPECT_EQ(from_now.next(), "");
  EXPECT_THAT(with_one.next(), StartsWith("id: 2\nevent: decision\ndata: {\"ts\":"));
  deny(recent, "a", "after.test");
  for (DecisionEvents* events : {&from_now, &with_one}) {
    const std::string text = events->next();
    EXPECT_THAT(text, StartsWith("id: 3\nevent: decision\n"));
    EXPECT_THAT(text, HasSubstr("after.test"));
    EXPECT_THAT(text, testing::EndsWith("}\n\n"));
    EXPECT_EQ(events->next(), "");
  }
}

TEST(DecisionEvents, CountWhatAReaderWasTooSlowFor) {
  metrics::Recent recent;
  DecisionEvents events(recent, {});
  for (std::size_t i = 0; i < metrics::Recent::most_lines + 5; ++i) deny(recent, "a");
  EXPECT_THAT(events.next(), StartsWith("event: lost\ndata: {\"count\":5}\n\nid: 6\n"));
  EXPECT_THAT(events.next(), Not(HasSubstr("lost")));
}

TEST(DecisionEvents, OfOneAgentAreNotHeldUpByAnothers) {
  metrics::Recent recent;
  DecisionEvents events(recent,
                        {.wanted = {.agent = "mine", .verdict = std::nullopt}, .limit = {}});
  for (int i = 0; i < 500; ++i) deny(recent, "other");
  deny(recent, "mine");
  EXPECT_THAT(events.next(), HasSubstr("\"agent\":\"mine\""));
  EXPECT_EQ(events.next(), "");
}

TEST(DecisionEvents, SayWhenAFloodHasNoLines) {
  metrics::Recent recent;
  DecisionEvents events(recent, {});
  recent.leave_out("a", 17);
  EXPECT_EQ(events.next(), "id: 1\nevent: left_out\ndata: {\"agent\":\"a\",\"count\":17}\n\n");
}

}  // namespace
}  // namespace sluice::proxy
