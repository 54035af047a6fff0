#include "launcher/sandbox/environment.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>

namespace sluice::launcher {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

constexpr std::array<std::string_view, 7> kept{"PATH", "SHELL",     "TERM",    "LANG",
                                               "TZ",   "COLORTERM", "NO_COLOR"};
constexpr std::string_view default_path =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr const char* http_proxy = "http://127.0.0.1:3128";
// socks5h: the proxy resolves, so that no name is lost on the way.
constexpr const char* socks_proxy = "socks5h://127.0.0.1:3128";
constexpr const char* java_options =
    "-Dhttp.proxyHost=127.0.0.1 -Dhttp.proxyPort=3128 -Dhttps.proxyHost=127.0.0.1 "
    "-Dhttps.proxyPort=3128 -Dhttp.nonProxyHosts=localhost|127.0.0.1|[::1]";

bool is_kept(std::string_view name) {
  return name.starts_with("LC_") || std::find(kept.begin(), kept.end(), name) != kept.end();
}

void add_proxy(Variables& variables) {
  for (const char* name : {"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"}) {
    variables[name] = http_proxy;
  }
  for (const char* name : {"ALL_PROXY", "all_proxy"}) variables[name] = socks_proxy;
  for (const char* name : {"NO_PROXY", "no_proxy"}) variables[name] = "localhost,127.0.0.1,::1";
  variables["NODE_USE_ENV_PROXY"] = "1";
  variables["JAVA_TOOL_OPTIONS"] = java_options;
}

}  // namespace

std::vector<std::string> agent_environment(const EnvironmentRequest& request) {
  Variables variables{{"PATH", std::string(default_path)}};
  const auto is_passed = [&](std::string_view name) {
    return std::find(request.passed.begin(), request.passed.end(), name) != request.passed.end();
  };
  Variables passed;
  for (const std::string& entry : request.inherited) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos) continue;
    const std::string name = entry.substr(0, equals);
    if (is_passed(name)) passed[name] = entry.substr(equals + 1);
    if (is_kept(name)) variables[name] = entry.substr(equals + 1);
  }
  variables["HOME"] = request.home;
  variables["USER"] = request.user;
  variables["LOGNAME"] = request.user;
  add_proxy(variables);
  for (const auto& [name, value] : passed) variables[name] = value;
  for (const auto& [name, value] : request.assignments) variables[name] = value;
  std::vector<std::string> environment;
  environment.reserve(variables.size());
  for (const auto& [name, value] : variables) {
    environment.push_back(fmt::format("{}={}", name, value));
  }
  return environment;
}

}  // namespace sluice::launcher
