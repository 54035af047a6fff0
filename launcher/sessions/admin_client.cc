#include "launcher/sessions/admin_client.h"

#include <fmt/core.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "launcher/json/shallow_json.h"
#include "launcher/sessions/ask_at_once.h"
#include "launcher/sessions/run_socket.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t longest_said = 500;

std::string said_in(std::string_view body, const char* key) {
  const auto json = parse_shallow(body);
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

std::vector<Result<std::optional<std::string>>> ask_admins(
    const std::vector<AdminQuestion>& questions) {
  std::vector<Question> asked;
  asked.reserve(questions.size());
  for (const AdminQuestion& one : questions) {
    asked.push_back({one.path, fmt::format("GET {} HTTP/1.1\r\nHost: sluiced\r\n"
                                           "Connection: close\r\n\r\n",
                                           one.target)});
  }
  auto answers = ask_at_once(asked);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    auto& answer = answers[i];
    if (!answer) {
      answer = Failure(unanswered(questions[i].path, std::move(answer.error())));
    } else if (*answer && (*answer)->empty()) {
      answer = std::optional<std::string>();  // it ended between the question and the answer
    } else if (*answer) {
      auto body = body_of(**answer);
      if (body) {
        **answer = std::move(*body);
      } else {
        answer = Failure(body.error());
      }
    }
  }
  return answers;
}

Result<std::optional<std::string>> ask_admin(const std::string& path, std::string_view target) {
  return std::move(ask_admins({{path, std::string(target)}}).front());
}

}  // namespace sluice::launcher
