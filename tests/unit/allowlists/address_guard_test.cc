#include "allowlists/address_guard.h"

#include <algorithm>
#include <string>
#include <vector>

#include "policies.h"

namespace sluice::allowlists {
namespace {

std::string class_of(std::string_view text) {
  switch (classify(ip(text))) {
    case AddressClass::open:
      return "open";
    case AddressClass::private_:
      return "private";
    case AddressClass::forbidden:
      break;
  }
  return "forbidden";
}

TEST(AddressGuard, ForbidsMetadataLinkLocalUnspecifiedAndMulticast) {
  for (const char* text : {"169.254.169.254",
                           "169.254.0.0",
                           "169.254.255.255",
                           "100.100.100.200",
                           "168.63.129.16",
                           "192.0.0.192",
                           "fd00:ec2::254",
                           "fd20:ce::254",
                           "fe80::1",
                           "febf::1",
                           "0.0.0.0",
                           "0.0.0.1",
                           "0.255.255.255",
                           "::",
                           "224.0.0.1",
                           "239.255.255.255",
                           "255.255.255.255",
                           "ff02::1",
                           "ff0e::1",
                           "198.18.0.1",
                           "198.19.255.255",
                           "fd73:6c75:6963::1",
                           "fd73:6c75:6963:0:ffff::"}) {
    EXPECT_EQ(class_of(text), "forbidden") << text;
  }
}

TEST(AddressGuard, SpecialPurposeRangesArePrivate) {
  for (const char* text : {"10.0.0.0",
                           "10.255.255.255",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.0.1",
                           "127.0.0.1",
                           "127.255.255.255",
                           "100.64.0.1",
                           "100.127.255.255",
                           "192.0.0.1",
                           "192.0.2.1",
                           "198.51.100.1",
                           "203.0.113.1",
                           "192.88.99.1",
                           "240.0.0.1",
                           "255.255.255.254",
                           "::1",
                           "fc00::1",
                           "fdff::1",
                           "fd00:ec2::253",
                           "fd73:6c75:6963:1::1",
                           "fec0::1",
                           "2001:db8::1",
                           "2001:0:808:808::f7f7:f7f7",
                           "2001:1ff:ffff::1",
                           "3fff::1",
                           "5f00::1",
                           "100::1",
                           "4000::1",
                           "8000::1"}) {
    EXPECT_EQ(class_of(text), "private") << text;
  }
}

TEST(AddressGuard, TheRestOfTheInternetIsOpen) {
  for (const char* text :
       {"1.1.1.1",         "9.255.255.255",    "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",     "126.255.255.255",  "128.0.0.0",       "168.63.129.15",
        "168.63.129.17",   "169.253.255.255",  "169.255.0.0",     "172.15.255.255",
        "172.32.0.0",      "192.0.1.0",        "192.0.3.0",       "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",   "198.20.0.0",      "198.51.101.0",
        "203.0.112.255",   "203.0.114.0",      "223.255.255.255", "2000::1",
        "2001:200::1",     "2001:db7:ffff::1", "2001:db9::1",     "2003::1",
        "2606:4700::1111", "3ffe::1",          "3fff:1000::1"}) {
    EXPECT_EQ(class_of(text), "open") << text;
  }
}

TEST(AddressGuard, JudgesEveryIpv4InsideAnIpv6Address) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"::ffff:169.254.169.254", "forbidden"},  // IPv4-mapped
      {"::ffff:127.0.0.1", "private"},
      {"::ffff:8.8.8.8", "private"},
      {"::169.254.169.254", "forbidden"},  // IPv4-compatible
      {"::10.0.0.1", "private"},
      {"::ffff:0:169.254.169.254", "forbidden"},  // SIIT
      {"64:ff9b::169.254.169.254", "forbidden"},  // NAT64
      {"64:ff9b::127.0.0.1", "private"},
      {"64:ff9b::8.8.8.8", "private"},
      {"64:ff9b::", "forbidden"},                      // 0.0.0.0
      {"64:ff9b:1::169.254.169.254", "forbidden"},     // local-use NAT64, /96
      {"64:ff9b:1:a9fe:a9:fe00::", "forbidden"},       // /48
      {"64:ff9b:1:12a9:fe:a9fe::", "forbidden"},       // /56
      {"64:ff9b:1:1234:a9:fea9:fe00:0", "forbidden"},  // /64
      {"64:ff9b:1::10.0.0.1", "private"},
      {"2002:a9fe:a9fe::1", "forbidden"},  // 6to4
      {"2002:a9fe:a9fe:1:2:3:4:5", "forbidden"},
      {"2002:808:808::1", "private"},
      {"2001:0:a9fe:a9fe::", "forbidden"},            // Teredo server
      {"2001:0:808:808:0:0:5601:5601", "forbidden"},  // Teredo client 169.254.169.254, obfuscated
      {"2001:0:808:808:0:0:f5ff:fffe", "private"},
      {"2606:4700::5efe:169.254.169.254", "forbidden"},  // ISATAP
      {"2606:4700::200:5efe:169.254.169.254", "forbidden"},
      {"2606:4700::5efe:10.0.0.1", "private"},
      {"2606:4700::200:5efe:8.8.8.8", "open"},
      {"2606:4700::5eff:169.254.169.254", "open"},  // nothing embeds here
      {"::ffff:198.18.0.1", "forbidden"},           // synthetic
      {"::ffff:100.100.100.200", "forbidden"},
  };
  for (const auto& [text, expected] : cases) EXPECT_EQ(class_of(text), expected) << text;
}

TEST(AddressGuard, NamesTheEmbeddedAddresses) {
  const auto embedded = [](std::string_view text) {
    const Embedded found = embedded_ipv4(ip(text));
    std::string list;
    for (std::size_t i = 0; i < found.count; ++i) list += found.address[i].to_string() + ' ';
    return list;
  };
  EXPECT_EQ(embedded("::1"), "");
  EXPECT_EQ(embedded("::"), "");
  EXPECT_EQ(embedded("192.0.2.1"), "");
  EXPECT_EQ(embedded("2606:4700::1"), "");
  EXPECT_EQ(embedded("::ffff:192.0.2.1"), "192.0.2.1 ");
  EXPECT_EQ(embedded("2002:c000:201::"), "192.0.2.1 ");
  EXPECT_EQ(embedded("2001:0:c000:201:0:5efe:3fff:fdfe"), "192.0.2.1 192.0.2.1 63.255.253.254 ");
  EXPECT_EQ(embedded("64:ff9b:1:0102:0304:0506:0708:090a"), "1.2.4.5 2.4.5.6 4.5.6.7 7.8.9.10 ");
}

// Every range boundary of the tables against the ranges written as an operator would.
TEST(AddressGuard, EveryV4RangeEndsWhereItsRegistryEntryEnds) {
  const std::vector<std::pair<const char*, AddressClass>> ranges = {
      {"0.0.0.0/8", AddressClass::forbidden},
      {"10.0.0.0/8", AddressClass::private_},
      {"100.64.0.0/10", AddressClass::private_},
      {"127.0.0.0/8", AddressClass::private_},
      {"169.254.0.0/16", AddressClass::forbidden},
      {"172.16.0.0/12", AddressClass::private_},
      {"192.0.0.0/24", AddressClass::private_},
      {"192.0.2.0/24", AddressClass::private_},
      {"192.88.99.0/24", AddressClass::private_},
      {"192.168.0.0/16", AddressClass::private_},
      {"198.18.0.0/15", AddressClass::forbidden},
      {"198.51.100.0/24", AddressClass::private_},
      {"203.0.113.0/24", AddressClass::private_},
      {"224.0.0.0/4", AddressClass::forbidden},
      {"240.0.0.0/4", AddressClass::private_},
      {"100.100.100.200/32", AddressClass::forbidden},
      {"168.63.129.16/32", AddressClass::forbidden},
      {"192.0.0.192/32", AddressClass::forbidden},
      {"255.255.255.255/32", AddressClass::forbidden}};
  std::vector<Cidr> parsed;
  for (const auto& [text, is] : ranges) parsed.push_back(*Cidr::parse(text));
  for (const Cidr& range : parsed) {
    const std::uint32_t first = range.network.v4_value();
    const std::uint32_t last =
        first + static_cast<std::uint32_t>((std::uint64_t{1} << (32 - range.length)) - 1);
    for (const std::uint32_t value : {first - 1, first, last, last + 1}) {
      AddressClass expected = AddressClass::open;
      for (std::size_t i = 0; i < parsed.size(); ++i) {
        if (parsed[i].contains(IpAddress::v4(value))) {
          expected = std::max(expected, ranges[i].second);
        }
      }
      EXPECT_EQ(classify(IpAddress::v4(value)), expected) << IpAddress::v4(value).to_string();
    }
  }
}

TEST(SyntheticAddress, StandsForItsIndexInBothFamilies) {
  EXPECT_EQ(synthetic_v4(1).to_string(), "198.18.0.1");
  EXPECT_EQ(synthetic_v4(131070).to_string(), "198.19.255.254");
  EXPECT_EQ(synthetic_v6(1).to_string(), "fd73:6c75:6963::1");
  EXPECT_EQ(synthetic_v6(131070).to_string(), "fd73:6c75:6963::1:fffe");
  for (const std::uint32_t index : {1U, 255U, 256U, 65535U, 65536U, 131070U}) {
    EXPECT_EQ(synthetic_index(synthetic_v4(index)), index);
    EXPECT_EQ(synthetic_index(synthetic_v6(index)), index);
    EXPECT_TRUE(is_synthetic(synthetic_v4(index)));
    EXPECT_TRUE(is_synthetic(synthetic_v6(index)));
  }
}

TEST(SyntheticAddress, OneThatWasNeverGivenOutHasNoIndex) {
  for (const char* text : {"198.18.0.0", "198.19.255.255", "198.20.0.0", "198.17.255.255",
                           "fd73:6c75:6963::", "fd73:6c75:6963::1:ffff", "fd73:6c75:6963::1:0:1",
                           "fd73:6c75:6963::1:0:0:1", "fd73:6c75:6963:1::1", "::ffff:198.18.0.1"}) {
    EXPECT_EQ(synthetic_index(ip(text)), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace sluice::allowlists
