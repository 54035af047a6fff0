#include "proxy/egress/hosts_file.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

using Addresses = std::vector<IpAddress>;

TEST(HostsFile, GivesTheAddressesOfANameInFileOrder) {
  const HostsFile file = HostsFile::parse(
      "# a comment\n"
      "192.0.2.1  Api.Example.COM api   # and one behind\n"
      "\n"
      "2001:db8::1\tapi.example.com\n"
      "not-an-address ignored.example\n"
      "192.0.2.2 0x7f.1 good.example\r\n");
  EXPECT_EQ(file.find("api.example.com"),
            (Addresses{*IpAddress::parse("192.0.2.1"), *IpAddress::parse("2001:db8::1")}));
  EXPECT_EQ(file.find("api"), (Addresses{*IpAddress::parse("192.0.2.1")}));
  EXPECT_EQ(file.find("good.example"), (Addresses{*IpAddress::parse("192.0.2.2")}));
  EXPECT_TRUE(file.find("ignored.example").empty());
  EXPECT_TRUE(file.find("behind").empty());
}

TEST(ResolvConf, NamesTheServersInOrderAndDefaultsToThisMachine) {
  EXPECT_EQ(parse_resolv_conf("search example.com\nnameserver 192.0.2.53\n#nameserver 192.0.2.54\n"
                              "nameserver 2001:db8::53 \noptions rotate\n"),
            (Addresses{*IpAddress::parse("192.0.2.53"), *IpAddress::parse("2001:db8::53")}));
  EXPECT_EQ(parse_resolv_conf(""), (Addresses{*IpAddress::parse("127.0.0.1")}));
}

}  // namespace
}  // namespace sluice::proxy
