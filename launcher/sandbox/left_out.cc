#include "launcher/sandbox/left_out.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include "base/text.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t most_named = 5;
constexpr std::size_t longest_name = 200;  // bytes

}  // namespace

void LeftOut::add(std::string_view path, std::string_view why) {
  ++count_;
  if (named_.size() == most_named) return;
  const char* const cut = path.size() > longest_name ? "..." : "";
  named_.push_back(
      fmt::format("'{}{}' ({})", text::printable(path.substr(0, longest_name)), cut, why));
}

std::string LeftOut::sentence() const {
  if (count_ == 0) return {};
  std::string text =
      fmt::format("the seed '{}' leaves out {} {}: {}", text::printable(seed_), count_,
                  count_ == 1 ? "entry" : "entries", fmt::join(named_, ", "));
  if (count_ > named_.size()) text += fmt::format(" and {} more", count_ - named_.size());
  return text;
}

}  // namespace sluice::launcher
