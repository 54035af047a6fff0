#include "launcher/control.h"

#include <algorithm>
#include <charconv>

#include "netns/handover.h"

namespace sluice::launcher {
namespace {

// KIND NUMBER NUL SENTENCE NUL HINT, kind and number in decimal.
std::string encode(const ControlMessage& message) {
  std::string bytes = std::to_string(static_cast<int>(message.kind));
  bytes += ' ';
  bytes += std::to_string(message.number);
  bytes += '\0';
  bytes += message.sentence;
  bytes += '\0';
  bytes += message.hint;
  return bytes;
}

Result<ControlMessage> decode(std::string_view bytes) {
  ControlMessage message;
  int kind = -1;
  const char* const end = bytes.data() + bytes.size();
  const auto [space, kind_error] = std::from_chars(bytes.data(), end, kind);
  const std::size_t first = bytes.find('\0');
  const std::size_t second = first == std::string_view::npos ? first : bytes.find('\0', first + 1);
  if (kind_error != std::errc{} || second == std::string_view::npos || kind < 0 ||
      kind > static_cast<int>(ControlMessage::Kind::signal)) {
    return fail(Errc::bug, "the sandbox's control message is malformed");
  }
  if (std::from_chars(space + 1, end, message.number).ec != std::errc{}) {
    return fail(Errc::bug, "the sandbox's control message has no number");
  }
  message.kind = static_cast<ControlMessage::Kind>(kind);
  message.sentence = bytes.substr(first + 1, second - first - 1);
  message.hint = bytes.substr(second + 1);
  return message;
}

}  // namespace

void attach(ControlMessage& message, std::string_view name, Fd fd) {
  message.sentence += name;
  message.sentence += ' ';
  message.fds.push_back(std::move(fd));
}

Fd detach(ControlMessage& message, std::string_view name) {
  std::string_view names = message.sentence;
  for (Fd& fd : message.fds) {
    const std::size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return std::move(fd);
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return {};
}

Result<std::optional<ControlMessage>> receive_control(int socket) {
  auto packet = netns::receive_packet(socket);
  if (!packet) return Failure(packet.error());
  if (!*packet) return std::optional<ControlMessage>{};
  if ((*packet)->closed) return fail(Errc::unavailable, "the other end of the sandbox is gone");
  auto message = decode((*packet)->bytes);
  if (!message) return Failure(message.error());
  message->fds = std::move((*packet)->fds);
  return std::optional<ControlMessage>(std::move(*message));
}

Result<void> send_control(int socket, const ControlMessage& message) {
  std::vector<int> fds;
  fds.reserve(message.fds.size());
  for (const Fd& fd : message.fds) fds.push_back(fd.get());
  return netns::send_packet(socket, encode(message), fds);
}

ControlMessage failure_message(int status, const Error& error) {
  ControlMessage message;
  message.kind = ControlMessage::Kind::failed;
  message.number = status;
  message.sentence = error.what;
  message.hint = error.hint;
  return message;
}

}  // namespace sluice::launcher
