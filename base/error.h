// What a failure says to a person: kind, sentence, hint, file:line:column.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

namespace sluice {

// What kind of failure this is. Callers branch on it; people read the message.
enum class Errc : std::uint8_t {
  bad_config,     // the operator's file or flag says something we cannot obey
  not_permitted,  // the kernel or a policy refused
  unavailable,    // a peer, a file or a limit is not there right now
  bug,            // our own promise was broken
};

// A place in an operator's file. Lines and columns count from 1, as editors do.
struct Mark {
  std::string file;
  int line = 0;
  int column = 0;

  friend bool operator==(const Mark&, const Mark&) = default;
};

struct Error {
  Errc code = Errc::bug;
  std::string what;  // one sentence, lower case, no trailing dot, names the value at fault
  std::string hint;  // the next thing to try; may be empty
  std::optional<Mark> where;
};

// Renders "FILE:LINE:COL: error: WHAT" and, if there is one, a "hint:" line beneath it.
std::string to_string(const Error& error);

// The same without "error: ", for a log that says by itself of which kind its lines are.
std::string without_kind(const Error& error);

// "WHAT: Operation not permitted", from errno as it was when the call failed (errno(3)).
Error errno_error(Errc code, std::string_view what, int error_number, std::string hint = {});

template <class T>
using Result = tl::expected<T, Error>;

using Failure = tl::unexpected<Error>;

// For `return fail(Errc::bad_config, "…", "…")` in a function that returns a Result.
inline Failure fail(Errc code, std::string what, std::string hint = {}) {
  return Failure(Error{code, std::move(what), std::move(hint), std::nullopt});
}

// As fail(), with errno's text behind WHAT.
Failure fail_errno(Errc code, std::string_view what, std::string hint = {});

}  // namespace sluice
