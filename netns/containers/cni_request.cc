#include "netns/containers/cni_request.h"

#include <fmt/core.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/text.h"
#include "netns/named/lease.h"

extern char** environ;  // environ(7)

namespace sluice::netns {
namespace {

using Json = nlohmann::json;
using Unexpected = tl::unexpected<CniError>;

constexpr std::array<std::pair<std::string_view, CniCommand>, 6> commands{
    {{"ADD", CniCommand::add},
     {"DEL", CniCommand::del},
     {"CHECK", CniCommand::check},
     {"GC", CniCommand::gc},
     {"STATUS", CniCommand::status},
     {"VERSION", CniCommand::version}}};
constexpr std::size_t max_word = 256;

Unexpected fail_cni(CniError::Code code, std::string what, std::string hint = {}) {
  return Unexpected(CniError{code, std::move(what), std::move(hint)});
}

Unexpected invalid_variable(std::string_view name, std::string_view why) {
  return fail_cni(CniError::invalid_environment, fmt::format("CNI_{} {}", name, why));
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The form of container ids and network names.
bool is_word(std::string_view word) {
  return !word.empty() && word.size() <= max_word && is_alphanumeric(word.front()) &&
         std::all_of(word.begin(), word.end(),
                     [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

bool is_interface_name(std::string_view name) {
  return !name.empty() && name.size() < IF_NAMESIZE && name != "." && name != ".." &&
         name.find_first_of("/: \t\n\v\f\r") == std::string_view::npos;
}

bool concerns_container(CniCommand command) {
  return command == CniCommand::add || command == CniCommand::del || command == CniCommand::check;
}

CniResult<CniCommand> read_command(const CniEnvironment& environment) {
  const auto found = environment.find("COMMAND");
  if (found == environment.end()) return invalid_variable("COMMAND", "is not set");
  for (const auto& [name, command] : commands) {
    if (found->second == name) return command;
  }
  return invalid_variable("COMMAND", fmt::format("'{}' is none of ADD, DEL, CHECK, GC, STATUS, "
                                                 "VERSION",
                                                 text::printable(found->second)));
}

std::string value_of(const CniEnvironment& environment, const char* name) {
  const auto found = environment.find(name);
  return found == environment.end() ? "" : found->second;
}

CniResult<void> read_variables(CniRequest& request, const CniEnvironment& environment) {
  request.attachment = {value_of(environment, "CONTAINERID"), value_of(environment, "IFNAME")};
  request.netns = value_of(environment, "NETNS");
  const std::string arguments = value_of(environment, "ARGS");
  for (std::size_t at = 0; at < arguments.size();) {
    const std::size_t end = std::min(arguments.find(';', at), arguments.size());
    const std::string pair = arguments.substr(at, end - at);
    const std::size_t equals = pair.find('=');
    if (equals == std::string::npos) {
      return invalid_variable(
          "ARGS", fmt::format("has '{}', which is no KEY=VALUE", text::printable(pair)));
    }
    request.arguments[pair.substr(0, equals)] = pair.substr(equals + 1);
    at = end + 1;
  }
  if (!concerns_container(request.command)) return {};
  if (!is_word(request.attachment.container)) {
    return invalid_variable("CONTAINERID", "is not a container id");
  }
  if (!is_interface_name(request.attachment.ifname)) {
    return invalid_variable("IFNAME", "is not an interface name");
  }
  if (request.netns.empty() && request.command != CniCommand::del) {
    return invalid_variable("NETNS", "is not set");
  }
  return {};
}

CniResult<Json> parse_config(std::string_view text) {
  if (text.size() > max_cni_config) {
    return fail_cni(CniError::decoding_failure,
                    fmt::format("the configuration is longer than {} bytes", max_cni_config));
  }
  Json config = Json::parse(text, nullptr, false);
  if (!config.is_object()) {
    return fail_cni(CniError::decoding_failure, "the configuration on stdin is not a JSON object");
  }
  return config;
}

CniResult<void> read_version(CniRequest& request) {
  const Json version = request.config.value("cniVersion", Json(""));
  if (!version.is_string()) {
    return fail_cni(CniError::decoding_failure, "'cniVersion' is not a text");
  }
  const auto text = version.get<std::string>();
  if (text != "1.0.0" && text != "1.1.0") {
    return fail_cni(CniError::incompatible_version,
                    fmt::format("the CNI version '{}' is not supported", text::printable(text)),
                    "supported are 1.0.0 and 1.1.0");
  }
  request.version = text;
  const bool newer = request.command == CniCommand::gc || request.command == CniCommand::status;
  if (newer && text != "1.1.0") {
    return fail_cni(CniError::incompatible_version,
                    fmt::format("CNI {} has neither GC nor STATUS", text),
                    "set \"cniVersion\": \"1.1.0\"");
  }
  return {};
}

Unexpected invalid_key(std::string_view key, std::string_view why) {
  return fail_cni(CniError::invalid_config, fmt::format("key '{}' {}", key, why));
}

CniResult<void> read_own_keys(CniRequest& request) {
  const Json& config = request.config;
  const Json name = config.value("name", Json());
  if (!name.is_string() || !is_word(name.get<std::string>())) {
    return invalid_key("name", "is not the name of a network");
  }
  request.network = name.get<std::string>();
  const Json proxy = config.value("proxy", Json(""));
  if (!proxy.is_string()) return invalid_key("proxy", "is not the path of a socket");
  request.proxy = choose_proxy_socket(proxy.get<std::string>());
  if (request.proxy.front() != '/') return invalid_key("proxy", "is not an absolute path");
  const Json raw = config.value("allowRawSockets", Json(false));
  if (!raw.is_boolean()) return invalid_key("allowRawSockets", "is neither true nor false");
  request.raw = AllowRawSockets(raw.get<bool>());
  // Asked of whoever gives the pod its address: that is not us.
  for (const char* const key : {"ipam", "ipMasq", "isGateway"}) {
    if (!config.contains(key) || config.at(key) == Json(false) || config.at(key).empty()) continue;
    return fail_cni(CniError::unsupported_field,
                    fmt::format("field '{}' is not supported: {}", key,
                                text::printable(config.at(key).dump().substr(0, max_word))),
                    "give it to the plugin that makes the interface");
  }
  request.previous = config.value("prevResult", Json());
  if (!request.previous.is_null() && !request.previous.is_object()) {
    return invalid_key("prevResult", "is not an object");
  }
  if (request.command == CniCommand::check && request.previous.is_null()) {
    return invalid_key("prevResult", "is missing, and CHECK needs it");
  }
  return {};
}

CniResult<void> read_valid_attachments(CniRequest& request) {
  if (request.command != CniCommand::gc) return {};
  // Without the list everything would be garbage.
  const Json list = request.config.value("cni.dev/valid-attachments", Json());
  if (!list.is_array()) return invalid_key("cni.dev/valid-attachments", "is not a list");
  for (const Json& one : list) {
    const bool good = one.is_object() && one.value("containerID", Json()).is_string() &&
                      one.value("ifname", Json()).is_string();
    if (!good) {
      return invalid_key("cni.dev/valid-attachments",
                         "has an entry without 'containerID' and 'ifname'");
    }
    request.valid.push_back({one.at("containerID"), one.at("ifname")});
  }
  return {};
}

}  // namespace

CniError to_cni_error(const Error& error) {
  switch (error.code) {
    case Errc::bad_config:
      return {CniError::invalid_config, error.what, error.hint};
    case Errc::not_permitted:
      return {CniError::refused, error.what, error.hint};
    case Errc::unavailable:
      return {CniError::try_again_later, error.what, error.hint};
    case Errc::bug:
      break;
  }
  return {CniError::bug, error.what, error.hint};
}

CniEnvironment read_cni_environment() {
  constexpr std::string_view prefix = "CNI_";
  CniEnvironment found;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view line(*entry);
    const std::size_t equals = line.find('=');
    if (!line.starts_with(prefix) || equals == std::string_view::npos) continue;
    found.emplace(line.substr(prefix.size(), equals - prefix.size()), line.substr(equals + 1));
  }
  return found;
}

CniResult<CniRequest> read_cni_request(const CniEnvironment& environment, std::string_view config) {
  const auto command = read_command(environment);
  if (!command) return Unexpected(command.error());
  CniRequest request;
  request.command = *command;
  if (request.command == CniCommand::version) {
    const Json asked = Json::parse(config, nullptr, false);
    if (asked.is_object() && asked.value("cniVersion", Json()) == "1.0.0")
      request.version = "1.0.0";
    return request;
  }
  if (auto read = read_variables(request, environment); !read) return Unexpected(read.error());
  auto parsed = parse_config(config);
  if (!parsed) return Unexpected(parsed.error());
  request.config = std::move(*parsed);
  for (const auto read : {read_version, read_own_keys, read_valid_attachments}) {
    if (auto done = read(request); !done) return Unexpected(done.error());
  }
  return request;
}

}  // namespace sluice::netns
