// ADD and CHECK of the CNI plugin: an agent's network in a pod's namespace.
#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "netns/capture.h"
#include "netns/containers/chained_interface.h"
#include "netns/containers/chained_routes.h"
#include "netns/containers/chained_rules.h"
#include "netns/containers/cni.h"
#include "netns/containers/cni_agent.h"
#include "netns/containers/cni_reply.h"
#include "netns/inside.h"
#include "netns/named/kept.h"
#include "netns/named/lease.h"
#include "netns/namespace.h"
#include "netns/network.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

using Unexpected = tl::unexpected<CniError>;

constexpr const char* capture_fact = "capture";

Unexpected fail_cni(const Error& error) { return Unexpected(to_cni_error(error)); }

Unexpected invalid_netns(const Error& error) {
  return Unexpected(CniError{CniError::invalid_environment,
                             fmt::format("CNI_NETNS: {}", error.what), error.hint});
}

// The pod's, and never the node's own.
CniResult<Fd> open_pod_network(const std::string& path) {
  auto network = open_network_namespace(path);
  if (!network) return invalid_netns(network.error());
  for (const char* const own : {"/proc/self/ns/net", "/proc/1/ns/net"}) {
    const auto node = open_network_namespace(own);
    if (node && is_same_namespace(node->get(), network->get())) {
      return invalid_netns({Errc::bad_config, "that is the network namespace of the node", "", {}});
    }
  }
  return std::move(*network);
}

std::string capture_table_of_agent() {
  return fmt::format("{} {}", ip_versions() == IpVersions::both ? "inet" : "ip", capture_table);
}

Result<Brought> build_alone() {
  auto sockets = build_agent_network();
  if (!sockets) return Failure(sockets.error());
  if (!is_captured(*sockets)) {
    return fail(Errc::unavailable, "the kernel has no nf_tables",
                "a pod needs CONFIG_NF_TABLES; sluice doctor tells what else is missing");
  }
  auto digest = rules_digest(capture_table_of_agent(), {"capture"});
  if (!digest) return Failure(digest.error());
  return Brought{std::move(*digest), std::move(*sockets), {}};
}

// The facts that the network brings are added to the state's.
Result<std::vector<RoleSocket>> build(const CniRequest& request, int network, LeaseState& state) {
  if (request.previous.is_null()) {
    auto built = do_inside(network, build_alone);
    if (!built) return Failure(built.error());
    state.facts[capture_fact] = built->text;
    return std::move(built->sockets);
  }
  auto built = build_chained_network(
      {network, request.attachment.ifname, cni_node_table(request), request.raw});
  if (!built) return Failure(built.error());
  for (auto& [key, value] : built->facts) state.facts[key] = value;
  return std::move(built->sockets);
}

CniResult<LeaseState> plan(const CniRequest& request, int network) {
  auto agent = agent_of(request);
  if (!agent) return Unexpected(agent.error());
  const auto cookie = cookie_of(network);
  if (!cookie) return fail_cni(cookie.error());
  LeaseState state{LeaseState::Kind::cni, cni_state_id(request), *agent,
                   request.netns,         request.proxy,         *cookie};
  state.facts = {{"network", request.network},
                 {"container", request.attachment.container},
                 {"ifname", request.attachment.ifname}};
  if (!request.previous.is_null()) {
    state.facts["interface"] = request.attachment.ifname;
    state.facts["node_table"] = cni_node_table(request);
    if (request.raw) state.withdrawn.emplace_back("raw sockets of the pod are not filtered");
  }
  return state;
}

// What an ADD that was killed half-way has left is removed; what is whole, or another pod's name,
// is an error.
CniResult<void> make_room(const StateFolder& folder, const LeaseState& wanted) {
  const auto before = folder.read(LeaseState::Kind::cni, wanted.id);
  if (!before) return fail_cni(before.error());
  if (*before && (*before)->complete) {
    return Unexpected(CniError{CniError::refused, "this container is attached already",
                               "the runtime must call DEL first"});
  }
  if (*before) {
    if (auto removed = remove_network(folder, **before); !removed) return fail_cni(removed.error());
  }
  return {};
}

CniResult<void> attach(const CniRequest& request, const StateFolder& folder, int network,
                       LeaseState& state) {
  const auto sockets = build(request, network, state);
  if (!sockets) return fail_cni(take_back(folder, state, sockets.error()).value());
  if (auto registered = register_network(folder, state, *sockets); !registered) {
    return fail_cni(registered.error());
  }
  return {};
}

Result<Brought> check_alone(const std::string& capture) {
  const auto digest =
      list_links().and_then(require_no_way_out).and_then(require_routes_to_loopback).and_then([] {
        return rules_digest(capture_table_of_agent(), {"capture"});
      });
  if (!digest) return Failure(digest.error());
  if (*digest != capture) {
    return fail(Errc::not_permitted, "the rules of the pod's network were changed",
                "make the pod anew");
  }
  return Brought{};
}

// What the runtime believes that the interface has.
std::vector<std::string> addresses_of_previous(const CniRequest& request) {
  std::vector<std::string> addresses;
  const auto interfaces = request.previous.value("interfaces", nlohmann::json::array());
  for (const auto& ip : request.previous.value("ips", nlohmann::json::array())) {
    const auto index = ip.value("interface", nlohmann::json());
    if (!index.is_number_unsigned() || index >= interfaces.size()) continue;
    const auto& interface = interfaces.at(index.get<std::size_t>());
    const bool of_pod = interface.value("name", "") == request.attachment.ifname &&
                        !interface.value("sandbox", "").empty();
    const std::string text = ip.value("address", "");
    if (of_pod) addresses.push_back(text.substr(0, text.find('/')));
  }
  return addresses;
}

Result<Brought> check_addresses(const std::string& ifname, const std::vector<std::string>& wanted) {
  const auto pod = find_pod_interface(ifname);
  if (!pod) return Failure(pod.error());
  for (const std::string& text : wanted) {
    const auto address = IpAddress::parse(text);
    const bool there = std::any_of(pod->addresses.begin(), pod->addresses.end(),
                                   [&](const auto& one) { return one.address == address; });
    if (!there) {
      return fail(Errc::not_permitted,
                  fmt::format("the interface '{}' has not the address '{}' of prevResult",
                              pod->name, text::printable(text)),
                  "make the pod anew");
    }
  }
  return Brought{};
}

Result<void> check_network(const CniRequest& request, int network, const LeaseState& state) {
  if (!state.facts.contains("interface")) {
    const auto found = state.facts.find(capture_fact);
    const std::string capture = found == state.facts.end() ? "" : found->second;
    return do_inside(network, [&] { return check_alone(capture); }).map([](const Brought&) {});
  }
  const auto wanted = addresses_of_previous(request);
  return do_inside(network, [&] { return check_addresses(request.attachment.ifname, wanted); })
      .and_then([&](const Brought&) { return check_chained_network(network, state.facts); });
}

}  // namespace

CniResult<std::string> cni_add(const CniRequest& request, const StateFolder& folder) {
  const auto lock = folder.lock();
  if (!lock) return fail_cni(lock.error());
  const auto network = open_pod_network(request.netns);
  if (!network) return Unexpected(network.error());
  auto state = plan(request, network->get());
  if (!state) return Unexpected(state.error());
  if (auto room = make_room(folder, *state); !room) return Unexpected(room.error());
  if (auto reachable = connect_proxy(state->proxy); !reachable) return fail_cni(reachable.error());
  if (auto written = folder.write(*state); !written) return fail_cni(written.error());
  if (auto attached = attach(request, folder, network->get(), *state); !attached) {
    return Unexpected(attached.error());
  }
  return add_result(request);
}

CniResult<std::string> cni_check(const CniRequest& request, const StateFolder& folder) {
  const auto state = folder.read(LeaseState::Kind::cni, cni_state_id(request));
  if (!state) return fail_cni(state.error());
  if (!*state || !(*state)->complete) {
    return Unexpected(CniError{CniError::unknown_container, "no such container is attached", ""});
  }
  const auto network = open_pod_network(request.netns);
  if (!network) return Unexpected(network.error());
  if (auto checked = check_network(request, network->get(), **state); !checked) {
    return fail_cni(checked.error());
  }
  const Condition condition = look_at(**state);
  if (condition == Condition::served) return "";
  return fail_cni({Errc::unavailable,
                   fmt::format("the agent '{}' is {}: sluiced does not serve it", (*state)->agent,
                               condition_name(condition)),
                   "start sluiced, then: sluice-netns restore",
                   {}});
}

}  // namespace sluice::netns
