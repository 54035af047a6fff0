#include "netns/containers/cni_agent.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

#include "base/sha256.h"
#include "base/text.h"
#include "netns/named/state.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

constexpr std::size_t max_name = 63;
constexpr std::size_t digits = 32;
constexpr const char* annotation = "dev.sluice.agent";
constexpr const char* annotations = "io.kubernetes.cri.pod-annotations";

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

bool is_of_kubernetes(std::string_view name, std::string_view others) {
  return !name.empty() && is_lower_or_digit(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) {
           return is_lower_or_digit(c) || others.find(c) != std::string_view::npos;
         });
}

std::string hashed(std::string_view readable, std::string_view all) {
  std::string name;
  for (const char c : readable.substr(0, max_name - digits - 1)) {
    const bool fits =
        is_lower_or_digit(c) || (c >= 'A' && c <= 'Z') || (!name.empty() && (c == '.' || c == '-'));
    if (fits) name += c;
  }
  return (name.empty() ? "pod" : name) + "_" + sha256_hex(all, digits);
}

// The text at the end of these keys, if all are there.
std::optional<Json> find(const Json& json, std::initializer_list<const char*> keys) {
  const Json* at = &json;
  for (const char* const key : keys) {
    if (!at->is_object() || !at->contains(key)) return std::nullopt;
    at = &at->at(key);
  }
  return *at;
}

CniResult<std::string> given(const Json& name) {
  if (name.is_string() && is_valid_name(name.get<std::string>())) return name.get<std::string>();
  return tl::unexpected(
      CniError{CniError::invalid_config,
               fmt::format("{} is no name of an agent",
                           text::printable(name.dump().substr(0, max_name * 4))),
               "at most 63 letters, digits, '.', '_' and '-', a letter or a digit first"});
}

}  // namespace

std::string agent_of_pod(std::string_view pod_namespace, std::string_view pod_name) {
  std::string whole = fmt::format("{}.{}", pod_namespace, pod_name);
  // A namespace has no dot, so the first one tells where it ends.
  const bool plain = is_of_kubernetes(pod_namespace, "-") && is_of_kubernetes(pod_name, "-.");
  if (plain && whole.size() <= max_name) return whole;
  return hashed(whole, fmt::format("{}/{}", pod_namespace, pod_name));
}

std::string agent_of_container(std::string_view id) {
  return is_valid_name(id) ? std::string(id) : hashed(id, id);
}

CniResult<std::string> agent_of(const CniRequest& request) {
  const auto& arguments = request.arguments;
  if (const auto name = arguments.find("SLUICE_AGENT"); name != arguments.end()) {
    return given(name->second);
  }
  const Json& config = request.config;
  for (const auto& name :
       {find(config, {"args", "cni", "agent"}), find(config, {"runtimeConfig", annotation}),
        find(config, {"runtimeConfig", annotations, annotation})}) {
    if (name) return given(*name);
  }
  const auto pod_namespace = arguments.find("K8S_POD_NAMESPACE");
  const auto pod_name = arguments.find("K8S_POD_NAME");
  if (pod_namespace != arguments.end() && pod_name != arguments.end()) {
    return agent_of_pod(pod_namespace->second, pod_name->second);
  }
  return agent_of_container(request.attachment.container);
}

}  // namespace sluice::netns
