// Asks a sluiced over its admin socket: HTTP, one question a connection.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace sluice::launcher {

// Where a machine's sluiced is asked, unless its configuration says otherwise.
inline constexpr const char* machine_admin_socket = "/run/sluice/admin.sock";

// The admin socket beside a shared sluiced's handover socket, where the defaults put it.
std::string admin_socket_beside(const std::string& handover_socket);

struct AdminQuestion {
  std::string path;    // of an admin socket
  std::string target;  // of GET
};

// The bodies of their 200s, in the order of the questions, which ask_at_once() asks. Nothing where
// nobody listens. Another answer is an error that says what sluiced says of it; of one that is
// silent, it names the path.
std::vector<Result<std::optional<std::string>>> ask_admins(
    const std::vector<AdminQuestion>& questions);
// One of them.
Result<std::optional<std::string>> ask_admin(const std::string& path, std::string_view target);

// The body of a whole response; pure.
Result<std::string> body_of(std::string_view response);

}  // namespace sluice::launcher
