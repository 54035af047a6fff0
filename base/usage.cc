#include "base/usage.h"

#include <fmt/core.h>

#include <cctype>

#include "base/text.h"

namespace sluice {
namespace {

std::string where_options_stand(std::string_view command) {
  return fmt::format("'{} --help' shows what it takes", command);
}

// "The following …" and "A subcommand …" begin as our sentences do; "FILE is required" stays.
std::string as_our_sentence(std::string_view complaint) {
  std::string text = text::printable(complaint.substr(0, complaint.find('\n')));
  const bool is_name = text.size() > 1 && std::isupper(static_cast<unsigned char>(text[1])) != 0;
  if (!text.empty() && !is_name) {
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  }
  return text;
}

}  // namespace

Error unknown_option(std::string_view word, const std::vector<std::string>& known,
                     std::string_view command) {
  const std::string_view option = word.substr(0, word.find('='));
  // Of a single letter any other would be near.
  const std::string near = option.starts_with("--") ? text::nearest(option, known) : "";
  return {Errc::bad_config, fmt::format("there is no option '{}'", text::printable(option)),
          near.empty() ? where_options_stand(command) : fmt::format("did you mean '{}'?", near),
          std::nullopt};
}

Error complaint_error(std::string_view complaint, std::string_view command) {
  return {Errc::bad_config, as_our_sentence(complaint), where_options_stand(command), std::nullopt};
}

}  // namespace sluice
