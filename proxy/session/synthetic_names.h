// Which synthetic address stands for which name: one table an agent, never recycled while it lives.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "netns/handover.h"

namespace sluice::proxy {

// Any thread. The lock covers a hash lookup, is never held across an await, and no byte of a
// connection passes it: it is taken once a DNS answer and once a connection to a synthetic address.
class SyntheticNames {
 public:
  // More would let one allowed wildcard fill memory.
  static constexpr std::size_t max_names = 16384;

  // Starts at a random index, so that an address cached from an earlier life of sluiced is unknown
  // here rather than someone else's name.
  SyntheticNames();

  struct Given {
    std::uint32_t index = 0;
    bool is_new = false;
  };
  // The index of a (canonical) name; nothing once max_names have one.
  std::optional<Given> give(const std::string& name);
  // Forgets a name that give() called new and that nobody was told of. Its index is not the next
  // one.
  void take_back(const std::string& name);
  // The name an index stands for; nothing for one that was not given out.
  std::optional<std::string> find(std::uint32_t index) const;
  // Bindings of an earlier registration. False: one contradicts another, or is out of range.
  bool restore(std::span<const netns::Binding> bindings);

  // No new name is given from here on, so that the answer stays true: every binding there is.
  std::vector<netns::Binding> freeze();
  void thaw() noexcept;
  bool is_frozen() const noexcept;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::uint32_t> index_of_;
  std::unordered_map<std::uint32_t, std::string> name_of_;
  std::uint32_t next_;
  bool frozen_ = false;
};

}  // namespace sluice::proxy
