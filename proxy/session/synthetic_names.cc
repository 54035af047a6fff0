#include "proxy/session/synthetic_names.h"

#include <random>

namespace sluice::proxy {
namespace {

// 198.18.0.0/15 without its first and last address.
constexpr std::uint32_t first_index = 1;
constexpr std::uint32_t last_index = (std::uint32_t{1} << 17) - 2;

}  // namespace

SyntheticNames::SyntheticNames() {
  std::random_device random;
  next_ = std::uniform_int_distribution<std::uint32_t>(first_index, last_index)(random);
}

std::optional<SyntheticNames::Given> SyntheticNames::give(const std::string& name) {
  const std::lock_guard lock(mutex_);
  if (const auto found = index_of_.find(name); found != index_of_.end()) {
    return Given{found->second, false};
  }
  if (frozen_ || index_of_.size() >= max_names) return std::nullopt;
  while (name_of_.contains(next_)) next_ = next_ == last_index ? first_index : next_ + 1;
  const std::uint32_t index = next_;
  name_of_.emplace(index, name);
  index_of_.emplace(name, index);
  next_ = index == last_index ? first_index : index + 1;
  return Given{index, true};
}

void SyntheticNames::take_back(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = index_of_.find(name);
  if (found == index_of_.end()) return;
  name_of_.erase(found->second);
  index_of_.erase(found);
}

std::optional<std::string> SyntheticNames::find(std::uint32_t index) const {
  const std::lock_guard lock(mutex_);
  const auto found = name_of_.find(index);
  if (found == name_of_.end()) return std::nullopt;
  return found->second;
}

bool SyntheticNames::restore(std::span<const netns::Binding> bindings) {
  const std::lock_guard lock(mutex_);
  for (const auto& [name, index] : bindings) {
    if (index < first_index || index > last_index || index_of_.size() >= max_names) return false;
    const auto [by_name, name_is_new] = index_of_.emplace(name, index);
    const auto [by_index, index_is_new] = name_of_.emplace(index, name);
    if (by_name->second != index || by_index->second != name) return false;
    // Where the earlier life stopped: the next new name continues behind it.
    next_ = index == last_index ? first_index : index + 1;
  }
  return true;
}

std::vector<netns::Binding> SyntheticNames::freeze() {
  const std::lock_guard lock(mutex_);
  frozen_ = true;
  std::vector<netns::Binding> all;
  all.reserve(name_of_.size());
  for (const auto& [index, name] : name_of_) all.push_back({name, index});
  return all;
}

void SyntheticNames::thaw() noexcept {
  const std::lock_guard lock(mutex_);
  frozen_ = false;
}

bool SyntheticNames::is_frozen() const noexcept {
  const std::lock_guard lock(mutex_);
  return frozen_;
}

}  // namespace sluice::proxy
