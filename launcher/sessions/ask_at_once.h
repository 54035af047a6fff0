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
  std::chrono::milliseconds each{5000};  // from when it is connected to, or tried to be
  std::size_t most_open = 300;           // connections; further ones wait for the end of one
  std::size_t largest_answer = std::size_t{64} * 1024 * 1024;
  std::size_t all_answers = std::size_t{256} * 1024 * 1024;  // together
};

// What each says until it closes, in the order of the questions: nothing where nobody listens, ""
// of one that ended meanwhile. An error is of one that was silent, said too much or could not be
// asked, and does not name it. As long as fewer than `most_open` are silent, all of them together
// take no longer than one.
std::vector<Result<std::optional<std::string>>> ask_at_once(const std::vector<Question>& questions,
                                                            const Patience& patience = {});

}  // namespace sluice::launcher
