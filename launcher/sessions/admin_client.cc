#include "launcher/sessions/admin_client.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/io.h"
#include "base/text.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_answer = std::size_t{64} * 1024 * 1024;
constexpr std::size_t longest_said = 500;

std::string said_in(std::string_view body, const char* key) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object() || !json.contains(key) || !json[key].is_string()) return "";
  return text::printable(json[key].get<std::string>().substr(0, longest_said));
}

}  // namespace

std::string admin_socket_beside(const std::string& handover_socket) {
  return std::filesystem::path(handover_socket).replace_filename("admin.sock").string();
}

Result<std::string> body_of(std::string_view response) {
  const std::size_t end = response.find("\r\n\r\n");
  if (!response.starts_with("HTTP/1.1 ") || end == response.npos) {
    return fail(Errc::unavailable, "what answers is no sluiced", "name its admin socket");
  }
  const std::string_view body = response.substr(end + 4);
  if (response.starts_with("HTTP/1.1 200 ")) return std::string(body);
  const std::string_view line = response.substr(0, response.find('\r'));
  const std::string said = said_in(body, "error");
  return fail(Errc::unavailable,
              fmt::format("sluiced answers '{}'{}{}",
                          text::printable(line.substr(9).substr(0, longest_said)),
                          said.empty() ? "" : ": ", said),
              said_in(body, "hint"));
}

Result<std::optional<std::string>> ask_admin(const std::string& path, std::string_view target) {
  const auto connection = connect_socket(path);
  if (!connection) return Failure(connection.error());
  if (!*connection) return std::optional<std::string>();
  const std::string question =
      fmt::format("GET {} HTTP/1.1\r\nHost: sluiced\r\nConnection: close\r\n\r\n", target);
  const ssize_t sent = ::send(connection->get(), question.data(), question.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(question.size())) return fail_errno(Errc::unavailable, "send");
  const auto response = read_fd(connection->get(), "a sluiced's answer", largest_answer);
  if (!response) return Failure(response.error());
  // It ended between the question and the answer.
  if (response->empty()) return std::optional<std::string>();
  auto body = body_of(*response);
  if (!body) return Failure(body.error());
  return std::optional<std::string>(std::move(*body));
}

}  // namespace sluice::launcher
