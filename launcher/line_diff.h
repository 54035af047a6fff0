// What changed from one text to another, as a person reads it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::launcher {

// How much is shown; what is left out is counted.
struct DiffBounds {
  std::size_t lines = 60;
  std::size_t line_bytes = 200;
};

// As diff -u without its header: "@@ -1,3 +1,4 @@", then lines behind ' ', '-' or '+', three of
// context around each change. Printable; "" for equal texts. Where the texts differ in too many
// lines, all of them are shown as removed and added, so that time and memory stay bounded.
std::string line_diff(std::string_view before, std::string_view after, DiffBounds bounds = {});

// One line of a file, printable; bytes behind `most` are counted and not shown.
std::string shown_line(std::string_view line, std::size_t most);

}  // namespace sluice::launcher
