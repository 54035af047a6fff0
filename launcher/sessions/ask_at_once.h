// Asks many sockets at the same time, so that one that is silent holds up nobody else.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

struct Question {
  std::string path;  // of a listening stream socket (unix(7))
  std::string text;  // less than a socket's buffer
};

struct Patience {
  std::chrono::milliseconds whole{2000};  // for all of them together
  std::size_t most_open = 200;            // connections; further ones wait for the end of one
  std::size_t largest_answer = std::size_t{64} * 1024 * 1024;
};

// What each says until it closes, in the order of the questions: nothing where nobody listens, ""
// of one that ended meanwhile. An error is of one that was silent, said too much or could not be
// asked, and does not name it.
std::vector<Result<std::optional<std::string>>> ask_at_once(const std::vector<Question>& questions,
                                                            const Patience& patience = {});

}  // namespace sluice::launcher
