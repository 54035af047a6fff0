#include "proxy/egress/happy_eyeballs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/error.hpp>
#include <cerrno>
#include <sstream>

namespace sluice::proxy {
namespace {

std::vector<IpAddress> addresses(const std::string& text) {
  std::vector<IpAddress> parsed;
  std::istringstream words(text);
  for (std::string word; words >> word;) parsed.push_back(IpAddress::parse(word).value());
  return parsed;
}

std::string shown(const std::vector<IpAddress>& list) {
  std::string text;
  for (const IpAddress& address : list) text += (text.empty() ? "" : " ") + address.to_string();
  return text;
}

TEST(HappyEyeballs, TakesTheFamiliesInTurnAndIPv6First) {
  struct Case {
    const char* resolved;
    const char* tried;
  };
  const Case cases[] = {
      {"", ""},
      {"192.0.2.1", "192.0.2.1"},
      {"2001:db8::1", "2001:db8::1"},
      {"192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1"},
      {"2001:db8::1 192.0.2.1", "2001:db8::1 192.0.2.1"},
      {"192.0.2.9 192.0.2.1 192.0.2.5", "192.0.2.9 192.0.2.1 192.0.2.5"},
      {"192.0.2.9 192.0.2.1 192.0.2.5 2001:db8::7", "2001:db8::7 192.0.2.9 192.0.2.1 192.0.2.5"},
      {"2001:db8::9 2001:db8::1 192.0.2.1 2001:db8::5",
       "2001:db8::9 192.0.2.1 2001:db8::1 2001:db8::5"},
      {"192.0.2.1 192.0.2.1 2001:db8::1 192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1"},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(shown(in_turn(addresses(test.resolved))), test.tried) << test.resolved;
    EXPECT_EQ(shown(in_turn(in_turn(addresses(test.resolved)))), test.tried) << test.resolved;
  }
}

struct Noted {
  const char* address;
  ErrorCode error;
};

std::string told(const std::vector<Noted>& failures) {
  FailedAttempts failed;
  for (const auto& [address, error] : failures) failed.note(*IpAddress::parse(address), error);
  EXPECT_THAT(failed.sentence(), testing::StartsWith(failed.address().to_string() + ": "));
  return std::string(reason_name(failed.reason())) + " " + failed.sentence();
}

TEST(HappyEyeballs, LetsTheFirstFailureSpeakUnlessOnlyThisMachineHadNoWay) {
  const ErrorCode refused = asio::error::connection_refused;
  const ErrorCode no_host = asio::error::host_unreachable;
  const ErrorCode no_route = asio::error::network_unreachable;
  const ErrorCode no_family = asio::error::address_family_not_supported;
  const ErrorCode no_source(EADDRNOTAVAIL, boost::system::system_category());
  EXPECT_EQ(told({{"192.0.2.1", refused}}), "connect_refused 192.0.2.1: Connection refused");
  EXPECT_EQ(told({{"192.0.2.1", refused}, {"192.0.2.2", no_host}}),
            "connect_refused 192.0.2.1: Connection refused");
  EXPECT_EQ(told({{"192.0.2.1", no_host}, {"192.0.2.2", refused}}),
            "unreachable 192.0.2.1: No route to host");
  EXPECT_EQ(told({{"192.0.2.1", asio::error::timed_out}, {"192.0.2.2", refused}}),
            "connect_timeout 192.0.2.1: Connection timed out");
  for (const ErrorCode& here : {no_route, no_family, no_source}) {
    EXPECT_EQ(told({{"2001:db8::1", here}, {"192.0.2.2", refused}, {"192.0.2.3", no_host}}),
              "connect_refused 192.0.2.2: Connection refused")
        << here.message();
    EXPECT_EQ(told({{"192.0.2.2", refused}, {"2001:db8::1", here}}),
              "connect_refused 192.0.2.2: Connection refused")
        << here.message();
  }
  EXPECT_EQ(told({{"2001:db8::1", no_route}, {"192.0.2.2", no_source}}),
            "unreachable 2001:db8::1: Network is unreachable");
}

}  // namespace
}  // namespace sluice::proxy
