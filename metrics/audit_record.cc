#include "metrics/audit_record.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>
#include <utility>

namespace sluice::metrics {
namespace {

constexpr std::array texts = {&AuditLine::agent,   &AuditLine::session, &AuditLine::host,
                              &AuditLine::rule,    &AuditLine::method,  &AuditLine::path,
                              &AuditLine::address, &AuditLine::sni,     &AuditLine::error,
                              &AuditLine::members};

// What a record begins with; the bytes of the texts follow.
struct Head {
  std::chrono::system_clock::time_point time;
  std::chrono::milliseconds duration;
  std::uint64_t bytes_up;
  std::uint64_t bytes_down;
  std::array<std::size_t, texts.size()> sizes;
  std::uint16_t port;
  Via via;
  Verdict verdict;
  Reason reason;
  std::optional<Reason> would_deny;
};
static_assert(std::is_trivially_copyable_v<Head>);

Head head_of(const AuditLine& line) noexcept {
  Head head{.time = line.time,
            .duration = line.duration,
            .bytes_up = line.bytes_up,
            .bytes_down = line.bytes_down,
            .sizes = {},
            .port = line.port,
            .via = line.via,
            .verdict = line.verdict,
            .reason = line.reason,
            .would_deny = line.would_deny};
  for (std::size_t i = 0; i < texts.size(); ++i) head.sizes[i] = (line.*texts[i]).size();
  return head;
}

}  // namespace

std::size_t weight(const AuditLine& line) noexcept {
  std::size_t bytes = sizeof(AuditLine);
  for (const auto text : texts) bytes += (line.*text).size();
  return bytes;
}

void AuditRecords::push(const AuditLine& line) {
  const Head head = head_of(line);
  char* next = room(weight(line) - sizeof(AuditLine) + sizeof(Head));
  std::memcpy(next, &head, sizeof(Head));
  next += sizeof(Head);
  for (const auto text : texts) {
    const std::string& value = line.*text;
    next = std::copy(value.begin(), value.end(), next);
  }
}

const char* AuditRecords::read(const char* bytes, AuditLine& line) {
  Head head;
  std::memcpy(&head, bytes, sizeof(Head));
  bytes += sizeof(Head);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    (line.*texts[i]).assign(bytes, head.sizes[i]);
    bytes += head.sizes[i];
  }
  line.time = head.time;
  line.duration = head.duration;
  line.bytes_up = head.bytes_up;
  line.bytes_down = head.bytes_down;
  line.port = head.port;
  line.via = head.via;
  line.verdict = head.verdict;
  line.reason = head.reason;
  line.would_deny = head.would_deny;
  return bytes;
}

char* AuditRecords::room(std::size_t bytes) {
  if (blocks_.empty() || blocks_.back().capacity - blocks_.back().used < bytes) {
    Block fresh;
    if (bytes <= block_bytes && !spare_.empty()) {
      fresh = std::move(spare_.back());
      spare_.pop_back();
    } else {
      fresh.capacity = std::max(bytes, block_bytes);
      fresh.bytes = std::make_unique_for_overwrite<char[]>(fresh.capacity);
    }
    blocks_.push_back(std::move(fresh));
  }
  Block& block = blocks_.back();
  char* place = block.bytes.get() + block.used;
  block.used += bytes;
  return place;
}

void AuditRecords::clear() {
  for (Block& block : blocks_) {
    if (block.capacity != block_bytes || spare_.size() == spare_cap) continue;
    block.used = 0;
    spare_.push_back(std::move(block));
  }
  blocks_.clear();
}

void AuditRecords::move_to(AuditRecords& other) {
  blocks_.swap(other.blocks_);
  while (!other.spare_.empty() && spare_.size() < spare_cap) {
    spare_.push_back(std::move(other.spare_.back()));
    other.spare_.pop_back();
  }
}

}  // namespace sluice::metrics
