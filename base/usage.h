// What a command line that cannot be read is told: the word at fault, what was perhaps meant, and
// where the options stand.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice {

// A word that begins with '-' and is no option of `command` ("sluice logs"), which has `known`.
Error unknown_option(std::string_view word, const std::vector<std::string>& known,
                     std::string_view command);

// What a parser complains of in a sentence of its own.
Error complaint_error(std::string_view complaint, std::string_view command);

// As a CLI11 application says it that has thrown `error`.
template <class App, class ParseError>
Error usage_error(const App& app, const ParseError& error) {
  const App* at = &app;
  std::string command = app.get_name();
  while (!at->get_subcommands().empty()) {
    at = at->get_subcommands().back();
    command += " " + at->get_name();
  }
  // Words that CLI11 could not place.
  for (const std::string& word : app.remaining(true)) {
    if (!word.starts_with('-')) continue;
    std::vector<std::string> known;
    for (const auto* option : at->get_options()) {
      for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
    }
    return unknown_option(word, known, command);
  }
  return complaint_error(error.what(), command);
}

}  // namespace sluice
