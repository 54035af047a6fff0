#include "launcher/audit_view/event_stream.h"

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "launcher/json/shallow_json.h"
#include "launcher/sessions/admin_client.h"

namespace sluice::launcher {
namespace {

constexpr int answer_ms = 5000;
constexpr std::size_t longest_event = std::size_t{1024} * 1024;

StreamEvent event_of(std::string_view block) {
  StreamEvent event;
  while (!block.empty()) {
    const std::string_view line = block.substr(0, block.find('\n'));
    block.remove_prefix(std::min(line.size() + 1, block.size()));
    if (line.starts_with("event: ")) event.name = line.substr(7);
    if (line.starts_with("data: ")) event.data = line.substr(6);
  }
  return event;
}

}  // namespace

std::deque<StreamEvent> take_events(std::string& bytes) {
  std::deque<StreamEvent> events;
  for (std::size_t end; (end = bytes.find("\n\n")) != bytes.npos; bytes.erase(0, end + 2)) {
    StreamEvent event = event_of(std::string_view(bytes).substr(0, end));
    if (!event.name.empty()) events.push_back(std::move(event));
  }
  return events;
}

std::string missing_text(const StreamEvent& event) {
  const auto json = parse_shallow(event.data);
  const auto count =
      json.is_object() && json.contains("count") ? json["count"].dump() : std::string("some");
  if (event.name == "lost") return count + " lines of the stream were lost: it was read too slowly";
  return count + " denials were left out of a flood of them";
}

Result<void> EventStream::begin(const std::string& target) {
  const std::string question =
      fmt::format("GET {} HTTP/1.1\r\nHost: sluiced\r\nAccept: text/event-stream\r\n\r\n", target);
  const ssize_t sent = ::send(connection_, question.data(), question.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(question.size())) return fail_errno(Errc::unavailable, "send");
  std::size_t end = std::string::npos;
  while ((end = bytes_.find("\r\n\r\n")) == bytes_.npos) {
    const auto more = fill(answer_ms);
    if (!more) return Failure(more.error());
    if (!*more) return fail(Errc::unavailable, "sluiced does not answer", "is it stopped?");
  }
  if (!bytes_.starts_with("HTTP/1.1 200 ")) {
    for (auto more = fill(answer_ms); more && *more;) more = fill(answer_ms);
    return Failure(body_of(bytes_).error());
  }
  bytes_.erase(0, end + 4);
  return {};
}

Result<bool> EventStream::fill(int patience_ms) {
  pollfd wait{connection_, POLLIN, 0};
  const int ready = ::poll(&wait, 1, patience_ms);
  if (ready < 0 && errno == EINTR) return true;
  if (ready <= 0) return false;
  std::array<char, 16384> bytes;
  const ssize_t size = ::read(connection_, bytes.data(), bytes.size());
  if (size < 0) return fail_errno(Errc::unavailable, "cannot read a sluiced's stream");
  bytes_.append(bytes.data(), static_cast<std::size_t>(size));
  if (bytes_.size() > longest_event) {
    return fail(Errc::unavailable, "sluiced's stream has no end of an event",
                "is it of another version than sluice?");
  }
  return size > 0;
}

Result<std::optional<StreamEvent>> EventStream::next() {
  while (events_.empty()) {
    const auto more = fill(-1);
    if (!more) return Failure(more.error());
    if (!*more) return std::optional<StreamEvent>();
    events_ = take_events(bytes_);
  }
  std::optional<StreamEvent> event(std::move(events_.front()));
  events_.pop_front();
  return event;
}

}  // namespace sluice::launcher
