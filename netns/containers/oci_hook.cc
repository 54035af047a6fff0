#include "netns/containers/oci_hook.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/io.h"
#include "base/sha256.h"
#include "base/text.h"
#include "netns/attach/attach_supervisor.h"
#include "netns/named/lease.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

constexpr std::size_t max_state_json = std::size_t{256} * 1024;
constexpr std::size_t max_config_json = std::size_t{4} * 1024 * 1024;
constexpr const char* agent_annotation = "dev.sluice.agent";
constexpr const char* proxy_annotation = "dev.sluice.proxy";
constexpr const char* despite_annotation = "dev.sluice.despite";

std::string annotation(const OciState& state, const char* name) {
  const auto found = state.annotations.find(name);
  return found == state.annotations.end() ? "" : found->second;
}

Result<std::vector<Weakness>> read_despite(const std::string& words) {
  std::vector<Weakness> despite;
  for (std::size_t at = 0; at < words.size();) {
    const std::size_t end = std::min(words.find(',', at), words.size());
    const std::string word = words.substr(at, end - at);
    const auto weakness = weakness_named(word);
    if (!weakness) {
      return fail(
          Errc::bad_config,
          fmt::format("annotation {}: '{}' is unknown", despite_annotation, text::printable(word)),
          "link, net_admin or vsock, separated by commas");
    }
    despite.push_back(*weakness);
    at = end + 1;
  }
  return despite;
}

// A second call of the runtime's finds the first one's supervisor.
Result<bool> is_attached(const std::string& id) {
  if (::geteuid() != 0) return false;
  const auto before = StateFolder::open().and_then(
      [&](const StateFolder& folder) { return folder.read(LeaseState::Kind::oci, id); });
  if (!before) return Failure(before.error());
  return *before && start_time_of((*before)->supervisor) == (*before)->supervisor_born;
}

Result<void> attach(const OciState& state) {
  const auto config = read_file(state.bundle + "/config.json", max_config_json);
  if (!config) return Failure(config.error());
  const auto order = judge_oci_config(*config, vsock_ways()).and_then([&](const auto& findings) {
    return plan_attachment(state, findings);
  });
  if (!order) return Failure(order.error());
  const auto before = is_attached(order->id);
  if (!before) return Failure(before.error());
  if (*before) return {};
  const auto detached = attach_detached(*order);
  if (!detached) return Failure(detached.error());
  for (const std::string& sentence : detached->withdrawn) {
    fmt::print(stderr, "sluice-netns: warning: {}\n", sentence);
  }
  return {};
}

// An ordinary user's supervisor has no state file: it ends with the container.
Result<void> end(const OciState& state) {
  if (::geteuid() != 0) return {};
  return StateFolder::open().and_then([&](const StateFolder& folder) {
    return end_attached(folder, LeaseState::Kind::oci, oci_state_id(state.id));
  });
}

Result<void> run(const OciState& state) {
  if (annotation(state, agent_annotation).empty()) return {};
  if (state.status == "creating" || state.status == "created") return attach(state);
  if (state.status == "stopped") return end(state);
  return fail(Errc::bad_config,
              fmt::format("a hook for containers that are '{}' does not exist",
                          text::printable(state.status)),
              "call it at createRuntime and poststop");
}

}  // namespace

Result<OciState> read_oci_state(std::string_view json) {
  const Json state = Json::parse(json, nullptr, false);
  const auto text = [&](const char* key) {
    const Json value = state.is_object() ? state.value(key, Json()) : Json();
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  OciState read{text("id"), text("status"), 0, text("bundle"), {}};
  if (read.id.empty() || read.status.empty() || read.bundle.empty()) {
    return fail(Errc::bad_config, "what came on stdin is not the state of a container",
                "oci-hook is called by a container runtime");
  }
  const Json pid = state.value("pid", Json());
  if (pid.is_number_integer()) read.pid = pid.get<pid_t>();
  const Json annotations = state.value("annotations", Json::object());
  if (annotations.is_object()) {
    for (const auto& [key, value] : annotations.items()) {
      if (value.is_string()) read.annotations[key] = value.get<std::string>();
    }
  }
  return read;
}

Result<AttachOrder> plan_attachment(const OciState& state, const std::vector<Finding>& findings) {
  AttachOrder order;
  order.agent = annotation(state, agent_annotation);
  if (!is_valid_name(order.agent)) {
    return fail(Errc::bad_config,
                fmt::format("annotation {}: '{}' is no name of an agent", agent_annotation,
                            text::printable(order.agent)),
                "at most 63 letters, digits, '.', '_' and '-', a letter or a digit first");
  }
  if (state.pid <= 0) {
    return fail(Errc::bad_config, "the state of the container has no pid",
                "call the hook at createRuntime");
  }
  auto despite = read_despite(annotation(state, despite_annotation));
  if (!despite) return Failure(despite.error());
  for (const Finding& finding : findings) {
    if (std::find(despite->begin(), despite->end(), finding.weakness) == despite->end()) {
      return fail(Errc::not_permitted, finding.why,
                  fmt::format("mend it, or set the annotation {}={}: the promise is then withdrawn",
                              despite_annotation, weakness_name(finding.weakness)));
    }
    order.withdrawn.push_back(fmt::format("{}: {}", finding.why, withdrawal(finding.weakness)));
  }
  order.pid = state.pid;
  order.proxy = choose_proxy_socket(annotation(state, proxy_annotation));
  order.despite = std::move(*despite);
  order.judge = JudgeProcesses::no;
  order.kind = LeaseState::Kind::oci;
  order.id = oci_state_id(state.id);
  return order;
}

std::string oci_state_id(std::string_view container) {
  return is_valid_name(container) ? std::string(container) : sha256_hex(container);
}

int oci_hook_main() {
  const auto done = read_fd(STDIN_FILENO, "stdin", max_state_json)
                        .and_then([](const std::string& json) { return read_oci_state(json); })
                        .and_then([](const OciState& state) { return run(state); });
  if (done) return 0;
  const Error& error = done.error();
  fmt::print(stderr, "sluice-netns: {}\n", to_string(error));
  return 125;
}

}  // namespace sluice::netns
