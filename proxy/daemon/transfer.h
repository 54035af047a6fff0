// One message of a take-over at a time, on the connection of two sluiced.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "netns/take_over.h"

namespace sluice::proxy {

// False: the other side has gone, or its buffer is full.
bool send_transfer(int link, const netns::Transfer& message, const std::vector<int>& fds = {});

struct Received {
  std::optional<netns::Transfer> message;  // none: nothing is there, or the other side is gone
  std::vector<Fd> fds;
  bool gone = false;
  std::string why;  // it is gone
};
// What breaks the protocol counts as gone.
Received receive_transfer(int link);

// Allowances::save() in pieces that fit a message, each with the first line, that of the version.
std::vector<std::string> in_pieces(const std::string& lines);

// Says what agents used of their budgets. What does not fit into the link's buffer is said by a
// later call: unsaid, an agent could use it again.
class SpentTeller {
 public:
  // False: something is still to be said.
  bool tell(int link, const std::string& lines);

 private:
  std::deque<std::string> unsaid_;
};

}  // namespace sluice::proxy
