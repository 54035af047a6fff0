#include "launcher/exec_log/outbox.h"

#include <string_view>

#include "netns/handover.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t message_room = netns::max_message - 1024;  // around the programs
constexpr std::size_t much = message_room / 2;
constexpr std::size_t keys_and_numbers = 256;  // of a program

// At most so many bytes of JSON.
std::size_t size_of(std::string_view text) {
  std::size_t size = 3;  // quotes and a comma
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    size += byte < 0x20 ? 6U : byte >= 0x80 ? 3U : c == '"' || c == '\\' ? 2U : 1U;
  }
  return size;
}

std::size_t size_of(const netns::SeenExec& seen) {
  std::size_t size = keys_and_numbers;
  for (const std::string& word : seen.argv) size += size_of(word);
  for (const std::string* text : {&seen.program, &seen.cwd, &seen.parent, &seen.error}) {
    size += size_of(*text);
  }
  return size;
}

}  // namespace

void Outbox::put(netns::SeenExec seen) {
  const std::size_t size = size_of(seen);
  if (size > message_room || bytes_ + size > most_bytes) {
    ++left_out_;
    return;
  }
  bytes_ += size;
  waiting_.push_back({std::move(seen), size});
}

bool Outbox::has_much() const noexcept { return bytes_ >= much; }

std::string Outbox::take() {
  netns::Event event;
  event.kind = netns::Event::Kind::exec;
  event.count = left_out_;
  left_out_ = 0;
  for (std::size_t room = message_room; !waiting_.empty() && waiting_.front().size <= room;) {
    Entry& next = waiting_.front();
    room -= next.size;
    bytes_ -= next.size;
    event.execs.push_back(std::move(next.seen));
    waiting_.pop_front();
  }
  return netns::encode(event);
}

}  // namespace sluice::launcher
