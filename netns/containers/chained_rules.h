// The rules of a pod with an interface of its own: it may answer there, and start nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "netns/containers/chained_interface.h"

namespace sluice::netns {

// The mark of what belongs to a connection that began outside, on packets and in conntrack.
inline constexpr std::uint32_t answer_mark = 0x736c;

// The rules in the pod's namespace, as nft(8) reads them: the capture rules for what travels on lo,
// and beside them
// - what comes in by the interface must be for the pod's own addresses, is marked with its
//   connection, and never reaches the DNS listener;
// - of what the pod's IP stack sends, packets of such connections are marked, whatever socket they
//   are from, so that the routes lead them back; the mark of any other packet (SO_MARK) is removed;
// - nothing else leaves by any interface but lo: refused at once; nothing is forwarded.
std::string pod_rules(const PodInterface& pod);

// A second, stateless filter at one end of the interface, for packets that pass no IP stack of the
// pod's: AF_PACKET and PPPoE sockets. It lets ARP and neighbour discovery pass (each only with the
// pod's own addresses, 50 a second), and answers: to whom, from which port, it learns from what
// came in. A packet that would start a TCP connection never passes.
struct Wall {
  std::string table;   // "sluice"; on the node "sluice_" and 32 hexadecimal digits
  std::string device;  // the link it stands at
  enum class At : std::uint8_t {
    pod,   // hooks of the pod's own end
    node,  // of the other end, in the node's namespace: AF_XDP sockets of the pod pass this one
           // only
  };
  At at = At::pod;
};
std::string wall_rules(const Wall& wall, const PodInterface& pod);

// Removes the wall's table, if it is there.
std::string without_wall(const Wall& wall);

// Loads such text into the calling thread's network namespace, all or nothing. `what` begins the
// sentence of an error. Needs CAP_NET_ADMIN over it.
Result<void> load_rules(const std::string& rules, const std::string& what);

// A digest of the rules that are loaded in those chains of the table ("inet sluice"), without
// counters and what sets have learned. Errors: there is no such chain.
Result<std::string> rules_digest(const std::string& table, const std::vector<std::string>& chains);
// What pod_rules() and wall_rules() make.
std::vector<std::string> pod_chains();
std::vector<std::string> wall_chains();

}  // namespace sluice::netns
