// Turns what an agent wrote into what a terminal may be given, piece by piece: pure.
#pragma once

#include <string>
#include <string_view>

namespace sluice::launcher {

// Line feeds and tabs stay, a carriage return before a line feed goes; everything else is
// text::printable(). A character that two pieces share is kept until it is whole.
class LogText {
 public:
  std::string add(std::string_view bytes);
  // What is left at the end.
  std::string rest();

 private:
  std::string waiting_;
};

}  // namespace sluice::launcher
