#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "netns/take_over.h"

namespace sluice::netns {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

const Totals some{.allowed = 3,
                  .denied = {{"not_listed", 2}},
                  .bytes_up = 10,
                  .bytes_down = 20,
                  .reported = {{"never", 1}}};

template <class Message>
Message there_and_back(const Message& sent) {
  const auto got = decode_transfer(encode(Transfer(sent)));
  if (!got) {
    ADD_FAILURE() << to_string(got.error());
    return {};
  }
  return std::get<Message>(*got);
}

std::string error_of(const std::string& message) {
  const auto got = decode_transfer(message);
  return got ? "accepted" : got.error().what;
}

TEST(TakeOverMessage, CarriesASupervisorWithWhatItRegistered) {
  const HandedPeer sent{"coder-7", {Role::proxy, Role::dns_udp}, some};
  const auto got = there_and_back(sent);
  EXPECT_EQ(got.agent, "coder-7");
  EXPECT_THAT(got.sockets, ElementsAre(Role::proxy, Role::dns_udp));
  EXPECT_EQ(got.counted.allowed, 3U);
  EXPECT_THAT(got.counted.denied, UnorderedElementsAre(Pair("not_listed", 2)));
  EXPECT_THAT(got.counted.reported, UnorderedElementsAre(Pair("never", 1)));
  EXPECT_EQ(got.counted.bytes_up, 10U);
  EXPECT_EQ(got.counted.bytes_down, 20U);
  EXPECT_FALSE(got.holder);
  EXPECT_EQ(there_and_back(HandedPeer{}).agent, "");
}

TEST(TakeOverMessage, CarriesAnExplicitLeaseWithItsHolderAndWhosePortsWereAsked) {
  const auto lease = there_and_back(HandedPeer{"coder-7", {Role::proxy}, some, 1000});
  EXPECT_EQ(lease.holder, 1000U);
  EXPECT_EQ(there_and_back(HandedPeer{"coder-7", {Role::proxy}, some, 0}).holder, 0U);
  const auto asking = there_and_back(HandedPeer{"", {}, {}, {}, "coder-8", "coder-9"});
  EXPECT_EQ(asking.asked_ports, "coder-8");
  EXPECT_EQ(asking.leased, "coder-9");
  EXPECT_THAT(there_and_back(Sockets{{Role::port, Role::port}}).sockets,
              ElementsAre(Role::port, Role::port));
}

TEST(TakeOverMessage, CarriesEveryOtherKindThereAndBack) {
  using Kind = OwnSocket::Kind;
  for (const Kind kind : {Kind::handover, Kind::admin, Kind::admin_address, Kind::listen}) {
    EXPECT_EQ(there_and_back(OwnSocket{kind}).kind, kind);
  }
  EXPECT_THAT(there_and_back(Names{{{"a.test", 7}}}).names, ElementsAre(Binding{"a.test", 7}));
  EXPECT_EQ(there_and_back(Budgets{"one\ntwo\n"}).lines, "one\ntwo\n");
  EXPECT_EQ(there_and_back(Spent{"one\n"}).lines, "one\n");
  EXPECT_EQ(there_and_back(Complete{4}).peers, 4U);
  there_and_back(Taken{});
  there_and_back(Yours{});
  EXPECT_EQ(there_and_back(Ended{"coder-7-1f"}).agent_id, "coder-7-1f");
  EXPECT_EQ(there_and_back(Refused{"it is busy"}).error, "it is busy");
  const auto counted = there_and_back(Counted{"coder-7-1f", some, true});
  EXPECT_EQ(counted.agent_id, "coder-7-1f");
  EXPECT_EQ(counted.more.allowed, 3U);
  EXPECT_TRUE(counted.last);
}

TEST(TakeOverMessage, IsRefusedUnlessItIsExactlyOfItsKind) {
  EXPECT_THAT(error_of(R"({"v":1,"op":"yours","more":1})"), HasSubstr("unknown key 'more'"));
  EXPECT_THAT(error_of(R"({"v":2,"op":"yours"})"), HasSubstr("key 'v' must be 1"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"mine"})"), HasSubstr("unknown op 'mine'"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"socket","kind":"other"})"), HasSubstr("no kind of socket"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"register","agent":"a","sockets":["proxy"],"names":[]})"),
              HasSubstr("unknown op 'register'"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"complete","peers":-1})"), HasSubstr("whole number"));
  EXPECT_THAT(error_of(R"({"v":1,"ok":true,"error":"x"})"), HasSubstr("must be false"));
}

TEST(TakeOverMessage, RefusesSocketsOfNobodyAndNamesThatAreNone) {
  const std::string counted =
      R"("counted":{"allowed":0,"denied":{},"bytes_up":0,"bytes_down":0,"reported":{}},"holder":null,"asked_ports":"","leased":"")";
  EXPECT_THAT(error_of(R"({"v":1,"op":"peer","agent":"","sockets":["proxy"],)" + counted + "}"),
              HasSubstr("sockets of no agent"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"peer","agent":"../x","sockets":["proxy"],)" + counted + "}"),
              HasSubstr("not an agent name"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"peer","agent":"a","sockets":[],)" + counted + "}"),
              HasSubstr("list of roles"));
  const std::string totals =
      R"("counted":{"allowed":0,"denied":{},"bytes_up":0,"bytes_down":0,"reported":{}})";
  EXPECT_THAT(error_of(R"({"v":1,"op":"peer","agent":"","sockets":[],)" + totals +
                       R"(,"holder":0,"asked_ports":"","leased":""})"),
              HasSubstr("lease of no agent"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"peer","agent":"a","sockets":["proxy"],)" + totals +
                       R"(,"holder":4294967296,"asked_ports":"","leased":""})"),
              HasSubstr("whole number"));
  EXPECT_THAT(error_of(R"({"v":1,"op":"sockets","sockets":[]})"), HasSubstr("list of roles"));
}

TEST(TakeOverMessage, TheDifferenceOfTwoTotalsAddsUpToTheLater) {
  const Totals later{.allowed = 5,
                     .denied = {{"never", 1}, {"not_listed", 2}},
                     .bytes_up = 11,
                     .bytes_down = 20,
                     .reported = {{"never", 4}}};
  const Totals more = difference(later, some);
  EXPECT_EQ(more.allowed, 2U);
  EXPECT_THAT(more.denied, UnorderedElementsAre(Pair("never", 1)));
  Totals sum = some;
  add(sum, more);
  EXPECT_EQ(sum.denied, later.denied);
  EXPECT_EQ(sum.reported, later.reported);
  EXPECT_EQ(sum.bytes_up, later.bytes_up);
  EXPECT_THAT(difference(later, later).denied, IsEmpty());
}

}  // namespace
}  // namespace sluice::netns
