// What an old and a new sluiced say to one another while the new one takes over.
//
// On a connection to the old one's handover socket, after TakeOver: the old one sends OwnSocket,
// Budgets, and for each supervisor and each explicit lease Names, Sockets and HandedPeer, then
// Complete. The new one says Taken when
// it could serve all of it, the old one Yours: from then on the new one serves. Before Yours either
// may leave, and all stays as it was. Afterwards both say what agents have used (Spent) while the
// old one's tunnels last, and the old one what they came to (Counted).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "netns/handover.h"

namespace sluice::netns {

// The order and the meaning of these messages; another number is refused.
inline constexpr std::uint64_t take_over_format = 2;

// With one descriptor: a socket that sluiced itself listens on. Its address is asked of the kernel.
struct OwnSocket {
  enum class Kind : std::uint8_t { handover, admin, admin_address, listen };
  Kind kind = Kind::handover;
};

// With sockets.size() descriptors: listeners of the next HandedPeer, more than one message carries.
struct Sockets {
  std::vector<Role> sockets;
};

// With 1 + sockets.size() descriptors: the connection of a supervisor, then what it registered. An
// explicit lease comes without a connection, and so with one descriptor less.
struct HandedPeer {
  std::string agent;  // "": it has registered nothing yet
  std::vector<Role> sockets;
  Totals counted;                         // so far
  std::optional<std::uint32_t> holder{};  // the user whose explicit lease it is
  std::string asked_ports{};              // the agent of the connection's AskPorts; "": none
  std::string leased{};                   // whose explicit lease the connection asked for; "": none
};

// Lines of Allowances::save(). What has been used of byte budgets; and what was used since.
struct Budgets {
  std::string lines;
};
struct Spent {
  std::string lines;
};

struct Complete {
  std::uint64_t peers = 0;  // with explicit leases
};
struct Taken {};
struct Yours {};

// What the tunnels left behind came to since the last Counted, by the id of the registration.
// `last`: there are none any more.
struct Counted {
  std::string agent_id;
  Totals more;
  bool last = false;
};
// The new one's: this registration has ended, so its tunnels must. Answered by a last Counted.
struct Ended {
  std::string agent_id;
};

using Transfer = std::variant<OwnSocket, Names, Sockets, HandedPeer, Budgets, Complete, Taken,
                              Yours, Spent, Counted, Ended, Refused>;

std::string encode(const Transfer& message);
// As strict as decode_request().
Result<Transfer> decode_transfer(std::string_view message);

// Adds `more` to `totals`.
void add(Totals& totals, const Totals& more);
// What `now` has and `before`, an earlier state of it, has not.
Totals difference(const Totals& now, const Totals& before);

// At most this much of `lines` fits a message.
inline constexpr std::size_t max_lines_per_message = std::size_t{30} * 1024;

}  // namespace sluice::netns
