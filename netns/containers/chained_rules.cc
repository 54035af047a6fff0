#include "netns/containers/chained_rules.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <set>

#include "netns/capture.h"

namespace sluice::netns {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

using Wanted = std::function<bool(const IpAddress&)>;

std::vector<std::string> addresses(const PodInterface& pod, const Wanted& wanted) {
  std::vector<std::string> texts;
  for (const InterfaceAddress& one : pod.addresses) {
    if (wanted(one.address)) texts.push_back(one.address.to_string());
  }
  return texts;
}

bool is_v4(const IpAddress& address) { return address.is_v4(); }
bool is_v6(const IpAddress& address) { return !address.is_v4(); }
bool is_global6(const IpAddress& address) { return is_v6(address) && !is_link_local(address); }

// A set of rules with the same beginning.
class Chain {
 public:
  Chain(std::string table, std::string name) : table_(std::move(table)), name_(std::move(name)) {}

  Chain& create(std::string_view hook) {
    text_ += fmt::format("create chain {} {} {{ type {}; }}\n", table_, name_, hook);
    return *this;
  }
  Chain& add(std::string_view rule) {
    text_ += fmt::format("add rule {} {} {}\n", table_, name_, rule);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string table_;
  std::string name_;
  std::string text_;
};

constexpr const char* few = "limit rate 50/second burst 100 packets accept";
// With the Ethernet header and padding, which is no place for a message either.
constexpr const char* arp_size = "meta length <= 60";
constexpr const char* neighbour_size = "meta length <= 94";
constexpr const char* report_size = "meta length <= 254";
// A router sends no such packet on: these destinations are on the link, whatever it thinks.
constexpr const char* on_link = "fe80::/10, ff02::/16";

// RFC 4861 7.1: a hop limit of 255 says that no router has touched it. Longer ones could carry more
// than the link-layer address (24 bytes and one option).
std::string neighbour_discovery(const PodInterface& pod, std::string_view sources,
                                std::string_view types) {
  std::set<std::string> prefixes{on_link};
  for (const InterfaceAddress& one : pod.addresses) {
    if (!is_global6(one.address) || one.length == 128) continue;
    prefixes.insert(Cidr::around(one.address, one.length).to_string());
  }
  const std::string destinations = joined({prefixes.begin(), prefixes.end()});
  return fmt::format(
      "{} ip6 saddr {{ {} }} ip6 hoplimit 255 ip6 length <= 40 ip6 daddr {{ {} }} icmpv6 type {{ "
      "{} "
      "}}",
      neighbour_size, sources, destinations, types);
}

std::string targets(const PodInterface& pod) {
  std::vector<std::string> numbers;
  for (const InterfaceAddress& one : pod.addresses) {
    if (!is_v6(one.address)) continue;
    std::string number = "0x";
    for (const std::uint8_t byte : one.address.bytes()) number += fmt::format("{:02x}", byte);
    numbers.push_back(std::move(number));
  }
  return joined(numbers);
}

// What the kernel itself must say on the link to be found there; a raw socket may say as much.
void add_neighbour_discovery(Chain& chain, const PodInterface& pod) {
  const auto own = addresses(pod, is_v6);
  if (own.empty()) return;
  const std::string sources = joined(own);
  chain
      .add(fmt::format(
          "{} {}",
          neighbour_discovery(pod, "::, " + sources, "nd-neighbor-solicit, nd-router-solicit"),
          few))
      // The target of an advertisement (RFC 4861 4.4): a pod may claim its own addresses only.
      .add(fmt::format("{} @th,64,128 {{ {} }} {}",
                       neighbour_discovery(pod, sources, "nd-neighbor-advert"), targets(pod), few))
      .add(fmt::format("{} ip6 saddr {{ ::, {} }} ip6 hoplimit 1 ip6 length <= 200 ip6 daddr "
                       "ff02::/16 icmpv6 type "
                       "{{ mld-listener-report, mld-listener-done, mld2-listener-report }} {}",
                       report_size, sources, few));
}

// Options and extension headers can name the next host on the way (RFC 791 3.1, RFC 8754).
void add_plain_headers_only(Chain& chain, std::string_view verdict) {
  chain.add(fmt::format("ip hdrlength != 5 {}", verdict))
      .add(fmt::format("ip6 nexthdr != {{ tcp, udp, icmpv6, 44 }} {}", verdict))
      .add(fmt::format("ip6 nexthdr 44 frag nexthdr != udp {}", verdict));
}

// What the capture rules must leave alone, in front of them.
std::string capture_exceptions(const PodInterface& pod) {
  std::string text;
  const std::string insert = fmt::format("insert rule inet {} capture ", capture_table);
  const auto own4 = addresses(pod, is_v4);
  const auto own6 = addresses(pod, is_v6);
  if (!own4.empty()) text += fmt::format("{}ip daddr {{ {} }} accept\n", insert, joined(own4));
  if (!own6.empty()) text += fmt::format("{}ip6 daddr {{ {} }} accept\n", insert, joined(own6));
  return text + insert + "iifname != \"lo\" accept\n";
}

void add_own_only(Chain& chain, const PodInterface& pod, std::string_view family) {
  const auto own = addresses(pod, family == "ip" ? is_v4 : is_global6);
  const char* const loopback = family == "ip" ? "127.0.0.0/8" : "::1";
  const std::string all = own.empty() ? "" : ", " + joined(own);
  chain.add(own.empty() ? fmt::format("meta nfproto {} drop", family == "ip" ? "ipv4" : "ipv6")
                        : fmt::format("{} daddr != {{ {} }} drop", family, joined(own)));
  chain.add(fmt::format("{} saddr {{ {}{} }} drop", family, loopback, all));
}

// After the capture rules: their reject does not look at marks.
std::string arrivals(const PodInterface& pod) {
  Chain chain(fmt::format("inet {}", capture_table), "arrivals");
  chain
      .create("filter hook prerouting priority mangle + 1")
      // AF_PACKET on lo can carry a mark in.
      .add("iifname \"lo\" meta mark set 0 accept")
      .add(fmt::format("iifname != \"{}\" drop", pod.name));
  chain.add(fmt::format("ip6 daddr {{ {} }} accept", on_link));
  add_own_only(chain, pod, "ip");
  add_own_only(chain, pod, "ip6");
  chain
      .add("ct state invalid drop")
      // An answer to what the pod has begun, which never left: forged.
      .add("ct direction reply drop")
      .add(fmt::format("ct state new ct mark set {:#x}", answer_mark))
      .add(fmt::format("meta mark set {:#x}", answer_mark));
  return chain.text();
}

std::string other_chains() {
  const std::string table = fmt::format("inet {}", capture_table);
  Chain serve(table, "serve");
  serve.create("filter hook input priority filter")
      .add("iifname \"lo\" accept")
      // The DNS listener is bound to every address, and answers as the agent.
      .add("tcp dport 53 reject with tcp reset")
      .add("udp dport 53 reject with icmpx type port-unreachable");
  Chain forward(table, "pass");
  forward.create("filter hook forward priority filter; policy drop");
  Chain mark(table, "answers");
  mark.create("route hook output priority mangle")
      .add(
          fmt::format("ct mark {0:#x} ct direction reply meta mark set {0:#x} accept", answer_mark))
      .add("meta mark set 0");
  return serve.text() + forward.text() + mark.text();
}

std::string departures(const PodInterface& pod) {
  Chain chain(fmt::format("inet {}", capture_table), "departures");
  chain.create("filter hook output priority filter").add("oifname \"lo\" accept");
  add_neighbour_discovery(chain, pod);
  add_plain_headers_only(chain, "drop");
  // Not by direction alone: with a foreign source address a pod could begin, on lo, what looks from
  // here as if somebody outside had.
  chain
      .add(fmt::format("oifname \"{}\" ct mark {:#x} ct direction reply accept", pod.name,
                       answer_mark))
      .add("meta l4proto tcp reject with tcp reset")
      .add("reject with icmpx type admin-prohibited");
  return chain.text();
}

// How long an answer may take. A TCP client that has said nothing for longer than its keepalive
// (tcp(7), tcp_keepalive_time: 2 h) must speak first. Sizes bound the kernel's memory: about 10 MiB
// when somebody outside fills all of them; then newcomers get no answer.
constexpr const char* tcp_patience = "timeout 3h";
constexpr const char* udp_patience = "timeout 1m";
constexpr int set_size = 65536;

std::string wall_sets(const Wall& wall) {
  std::string text =
      fmt::format("create table netdev {0}\ncreate counter netdev {0} refused\n", wall.table);
  for (const char* const family : {"ip", "ip6"}) {
    const auto add = [&](const char* name, const std::string& key) {
      text += fmt::format(
          "create set netdev {} {}{} {{ typeof {}; flags dynamic,timeout; size {}; }}\n",
          wall.table, name, family, key, set_size);
    };
    add("tcp_", fmt::format("{} saddr . tcp dport", family));
    add("udp_", fmt::format("{0} saddr . udp sport . {0} daddr . udp dport", family));
    add("peer_", fmt::format("{} saddr", family));
  }
  return text;
}

void add_learning(Chain& chain, const std::string& family, const std::string& own) {
  const std::string here = fmt::format("{} daddr {{ {} }}", family, own);
  const std::string talk = fmt::format("{} saddr . tcp dport", family);
  chain.add(fmt::format("{} tcp flags & (syn | ack) == syn update @tcp_{} {{ {} {} }}", here,
                        family, talk, tcp_patience));
  chain.add(fmt::format("{} {} @tcp_{} update @tcp_{} {{ {} {} }}", here, talk, family, family,
                        talk, tcp_patience));
  chain.add(
      fmt::format("{0} meta l4proto udp update @udp_{1} {{ {1} saddr . udp sport . {1} daddr . udp "
                  "dport {2} }}",
                  here, family, udp_patience));
  chain.add(fmt::format("{} meta l4proto {{ udp, {} }} update @peer_{} {{ {} saddr {} }}", here,
                        family == "ip" ? "icmp" : "icmpv6", family, family, udp_patience));
}

void add_answers(Chain& chain, const std::string& family, const std::string& own) {
  const std::string from = fmt::format("{} saddr {{ {} }}", family, own);
  const auto add = [&](const std::string& rest) { chain.add(fmt::format("{} {}", from, rest)); };
  add(fmt::format("tcp flags & (syn | ack) != syn {0} daddr . tcp sport @tcp_{0} accept", family));
  add(fmt::format("{0} daddr . udp dport . {0} saddr . udp sport @udp_{0} accept", family));
  // The later fragments of a long answer. Not of TCP: one at offset 8 would replace the flags of a
  // segment that has passed (RFC 3128).
  add(fmt::format("{} {} daddr @peer_{} accept",
                  family == "ip" ? "ip frag-off & 0x1fff != 0 ip protocol udp"
                                 : "ip6 nexthdr 44 frag frag-off != 0 frag nexthdr udp",
                  family, family));
  add(fmt::format("{} type {{ echo-reply, destination-unreachable }} {} daddr @peer_{} accept",
                  family == "ip" ? "icmp" : "icmpv6", family, family));
}

void add_arp(Chain& chain, const PodInterface& pod, const std::string& own) {
  const std::string from = fmt::format("{} arp saddr ether {}", arp_size, pod.mac);
  chain
      .add(fmt::format("{} arp saddr ip {{ {} }} {}", from, own, few))
      // A question whether somebody else has the address (RFC 5227 2.1.1).
      .add(fmt::format("{} arp saddr ip 0.0.0.0 arp daddr ip {{ {} }} {}", from, own, few));
}

}  // namespace

std::string pod_rules(const PodInterface& pod) {
  return capture_rules() + capture_exceptions(pod) + arrivals(pod) + other_chains() +
         departures(pod);
}

std::string wall_rules(const Wall& wall, const PodInterface& pod) {
  const bool in_pod = wall.at == Wall::At::pod;
  const std::string table = fmt::format("netdev {}", wall.table);
  const std::string own4 = joined(addresses(pod, is_v4));
  const std::string own6 = joined(addresses(pod, is_v6));
  Chain in(table, "arrivals");
  in.create(fmt::format("filter hook {} device \"{}\" priority 0", in_pod ? "ingress" : "egress",
                        wall.device));
  Chain out(table, "departures");
  const char* const refuse = "counter name refused drop";
  out.create(fmt::format("filter hook {} device \"{}\" priority 0; policy drop",
                         in_pod ? "egress" : "ingress", wall.device))
      .add(fmt::format("ether saddr != {} {}", pod.mac, refuse))
      .add(fmt::format("ether type {{ 8021q, 8021ad }} {}", refuse));
  if (!own4.empty()) add_arp(out, pod, own4);
  add_neighbour_discovery(out, pod);
  add_plain_headers_only(out, refuse);
  for (const auto& [family, own] : {std::pair<std::string, std::string>("ip", own4),
                                    std::pair<std::string, std::string>("ip6", own6)}) {
    if (own.empty()) continue;
    add_learning(in, family, own);
    add_answers(out, family, own);
  }
  out.add(refuse);
  return wall_sets(wall) + in.text() + out.text();
}

std::string without_wall(const Wall& wall) {
  // `destroy` is of Linux 6.3.
  return fmt::format("add table netdev {0}\ndelete table netdev {0}\n", wall.table);
}

}  // namespace sluice::netns
