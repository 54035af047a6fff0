#include "proxy/daemon/transfer.h"

#include <algorithm>

namespace sluice::proxy {

bool send_transfer(int link, const netns::Transfer& message, const std::vector<int>& fds) {
  return netns::send_packet(link, netns::encode(message), fds).has_value();
}

Received receive_transfer(int link) {
  Received received;
  auto packet = netns::receive_packet(link);
  if (packet && !*packet) return received;
  received.gone = true;
  if (!packet) {
    received.why = packet.error().what;
    return received;
  }
  if ((*packet)->closed) {
    received.why = "it has ended";
    return received;
  }
  auto message = netns::decode_transfer((*packet)->bytes);
  if (!message) {
    received.why = message.error().what;
    return received;
  }
  received.gone = false;
  received.message = std::move(*message);
  received.fds = std::move((*packet)->fds);
  return received;
}

std::vector<std::string> in_pieces(const std::string& lines) {
  std::vector<std::string> pieces;
  const std::size_t first = std::min(lines.find('\n'), lines.size() - 1) + 1;
  for (std::size_t at = first; at < lines.size();) {
    std::size_t end = lines.size();
    if (end - at > netns::max_lines_per_message) {
      end = lines.rfind('\n', at + netns::max_lines_per_message) + 1;
    }
    pieces.push_back(lines.substr(0, first) + lines.substr(at, end - at));
    at = end;
  }
  return pieces;
}

bool SpentTeller::tell(int link, const std::string& lines) {
  for (std::string& piece : in_pieces(lines)) unsaid_.push_back(std::move(piece));
  while (!unsaid_.empty() && send_transfer(link, netns::Spent{unsaid_.front()})) {
    unsaid_.pop_front();
  }
  return unsaid_.empty();
}

}  // namespace sluice::proxy
