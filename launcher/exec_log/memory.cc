#include "launcher/exec_log/memory.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "netns/seen_exec.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t page = 4096;  // the smallest there is: a read across one may fail as a whole
constexpr std::size_t chunk = 512;
constexpr std::size_t pointers_at_once = 32;

std::size_t to_page_end(std::uint64_t address) {
  return page - static_cast<std::size_t>(address % page);
}

}  // namespace

tl::expected<std::size_t, int> Memory::read(std::uint64_t address, char* to,
                                            std::size_t size) const {
  const iovec local{to, size};
  // NOLINTNEXTLINE(performance-no-int-to-ptr): an address of another process.
  const iovec remote{reinterpret_cast<void*>(address), size};
  const ssize_t got = ::process_vm_readv(thread_, &local, 1, &remote, 1, 0);
  if (got <= 0) return tl::unexpected(got < 0 ? errno : EFAULT);
  return static_cast<std::size_t>(got);
}

tl::expected<Words, int> Memory::read_word(std::uint64_t address, std::size_t limit) const {
  Words word{{""}, false};
  std::string& text = word.list.front();
  std::array<char, chunk> bytes;
  while (text.size() < limit) {
    const std::size_t room = std::min({chunk, limit - text.size(), to_page_end(address)});
    const auto got = read(address, bytes.data(), room);
    if (!got) return tl::unexpected(got.error());
    const std::size_t length = ::strnlen(bytes.data(), *got);
    text.append(bytes.data(), length);
    if (length < *got) return word;
    address += *got;
  }
  char next = 0;
  const auto got = read(address, &next, 1);
  if (!got) return tl::unexpected(got.error());
  word.cut = next != 0;
  return word;
}

tl::expected<Words, int> Memory::read_words(std::uint64_t address) const {
  Words words;
  if (address == 0) return words;
  std::size_t left = most_argument_bytes;
  std::array<std::uint64_t, pointers_at_once> pointers{};
  std::size_t next = 0;
  for (std::size_t count = 0;; ++next) {
    if (next == count) {
      // A list that does not lie on a multiple of 8 may have a pointer across two pages.
      const std::size_t whole = std::min(sizeof(pointers), to_page_end(address));
      const std::size_t size = std::max(whole / sizeof(address), std::size_t{1}) * sizeof(address);
      const auto got = read(address, reinterpret_cast<char*>(pointers.data()), size);
      if (!got) return tl::unexpected(got.error());
      if (*got < sizeof(address)) return tl::unexpected(EFAULT);
      count = *got / sizeof(address);
      address += count * sizeof(address);
      next = 0;
    }
    const std::uint64_t at = pointers.at(next);
    if (at == 0) return words;
    if (left == 0 || words.list.size() == netns::max_exec_words) {
      words.cut = true;
      return words;
    }
    auto word = read_word(at, left);
    if (!word) return tl::unexpected(word.error());
    words.list.push_back(std::move(word->list.front()));
    left -= words.list.back().size();
    words.cut = words.cut || word->cut;
  }
}

}  // namespace sluice::launcher
