// What `sluice top` shows: lines that fit a screen. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/top/view.h"

namespace sluice::launcher {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t rows = 24;  // 0: as many as there is something to show
};

struct FrameLine {
  enum class Style : std::uint8_t { plain, title, heading, denied, reported, faint };
  std::string text;  // ASCII without controls, at most as long as the screen is wide
  Style style = Style::plain;
};

// `hint`: which keys there are, at the end of the first line; empty for none.
std::vector<FrameLine> frame(const View& view, ScreenSize size, std::string_view hint = "");

// Every byte that is not printable ASCII is escaped, so that what an agent chose is as wide as it
// is long.
std::string ascii(std::string_view untrusted);
// Four figures at most: "17", "4.2K", "310M". Of bytes K is 1024.
std::string short_count(double value, double unit = 1000);

}  // namespace sluice::launcher
