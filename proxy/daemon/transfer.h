// One message of a take-over at a time, on the connection of two sluiced.
#pragma once

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

}  // namespace sluice::proxy
