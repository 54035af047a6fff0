// Asks a sluiced over its admin socket: HTTP, one question a connection.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"

namespace sluice::launcher {

// Where a machine's sluiced is asked, unless its configuration says otherwise.
inline constexpr const char* machine_admin_socket = "/run/sluice/admin.sock";

// The admin socket beside a shared sluiced's handover socket, where the defaults put it.
std::string admin_socket_beside(const std::string& handover_socket);

// The body of a 200 to GET `target`. Nothing where nobody listens at `path`. Another answer is an
// error that says what sluiced says of it.
Result<std::optional<std::string>> ask_admin(const std::string& path, std::string_view target);

// The body of a whole response; pure.
Result<std::string> body_of(std::string_view response);

}  // namespace sluice::launcher
