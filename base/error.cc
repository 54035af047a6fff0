#include "base/error.h"

#include <fmt/core.h>

#include <cerrno>
#include <cstring>

namespace sluice {

namespace {

std::string render(const Error& error, std::string_view kind) {
  std::string text;
  if (error.where) {
    text = fmt::format("{}:{}:{}: ", error.where->file, error.where->line, error.where->column);
  }
  text += fmt::format("{}{}", kind, error.what);
  if (!error.hint.empty()) text += fmt::format("\nhint: {}", error.hint);
  return text;
}

}  // namespace

std::string to_string(const Error& error) { return render(error, "error: "); }

std::string without_kind(const Error& error) { return render(error, ""); }

Error errno_error(Errc code, std::string_view what, int error_number, std::string hint) {
  return Error{code, fmt::format("{}: {}", what, strerrordesc_np(error_number)), std::move(hint),
               std::nullopt};
}

Failure fail_errno(Errc code, std::string_view what, std::string hint) {
  return Failure(errno_error(code, what, errno, std::move(hint)));
}

}  // namespace sluice
