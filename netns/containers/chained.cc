#include "netns/containers/chained.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/io.h"
#include "base/text.h"
#include "netns/capture.h"
#include "netns/containers/chained_interface.h"
#include "netns/containers/chained_routes.h"
#include "netns/containers/chained_rules.h"
#include "netns/inside.h"
#include "netns/namespace.h"
#include "netns/network.h"
#include "netns/routes.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

constexpr const char* pod_table = "inet sluice";
constexpr const char* pod_wall_table = "netdev sluice";

Wall pod_wall(const PodInterface& pod) { return {capture_table, pod.name, Wall::At::pod}; }

Result<void> require_no_other_link(const std::string& interface) {
  auto links = list_links();
  if (!links) return Failure(links.error());
  std::erase_if(*links, [&](const Link& link) { return link.name == interface; });
  return require_no_way_out(*links);
}

Result<Brought> look_at_pod(const std::string& interface) {
  if (ip_versions() != IpVersions::both) {
    return fail(Errc::unavailable, "the kernel has no IPv6",
                "a pod with an interface needs CONFIG_IPV6, and no ipv6.disable=1 at boot");
  }
  return require_no_other_link(interface)
      .and_then([&] { return find_pod_interface(interface); })
      .map([](const PodInterface& pod) {
        return Brought{encode(pod), {}, {}};
      });
}

// Rules first: from then on nothing leaves by the interface.
Result<Brought> build_in_pod(const PodInterface& pod, AllowRawSockets raw) {
  std::string rules = pod_rules(pod);
  if (!raw) rules += without_wall(pod_wall(pod)) + wall_rules(pod_wall(pod), pod);
  auto built = load_rules(rules, "cannot load the pod's rules")
                   .and_then(route_everything_to_loopback)
                   .and_then([&] { return route_answers(pod); });
  if (!built) return Failure(built.error());
  // A convenience for the pod's own servers; /proc/sys is read-only in many containers.
  static_cast<void>(write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"));
  auto sockets = open_listeners();
  if (!sockets) return Failure(sockets.error());
  if (auto proved = prove_agent_network(*sockets); !proved) return Failure(proved.error());
  return Brought{"", std::move(*sockets), {}};
}

// tc(8) can send a packet on (mirred, BPF) before the node's wall sees it.
Result<void> require_wall_comes_first(const std::string& device) {
  const auto earlier = has_earlier_hook(device);
  if (!earlier) return Failure(earlier.error());
  if (!*earlier) return {};
  return fail(Errc::not_permitted,
              fmt::format("'{}' has a tc filter for what comes from the pod: it goes before the "
                          "node's rules",
                          device),
              "chain no plugin that shapes or redirects what the pod sends, or, if no pod has "
              "CAP_NET_RAW, set \"allowRawSockets\": true");
}

Result<std::string> load_node_wall(const ChainedRequest& request, const PodInterface& pod) {
  const auto device = find_other_end(pod, request.pod_network);
  if (!device) return Failure(device.error());
  if (!*device) {
    return fail(Errc::not_permitted,
                fmt::format("the interface '{}'{} has no other end in this network namespace: raw "
                            "sockets of the pod could not be filtered",
                            text::printable(pod.name),
                            pod.kind.empty() ? "" : " (" + text::printable(pod.kind) + ")"),
                "chain sluice-netns behind a plugin that makes a veth pair, or, if no pod has "
                "CAP_NET_RAW, set \"allowRawSockets\": true");
  }
  const Wall wall{request.node_table, **device, Wall::At::node};
  return require_wall_comes_first(wall.device)
      .and_then([&] {
        return load_rules(without_wall(wall) + wall_rules(wall, pod),
                          "cannot load the node's rules");
      })
      .map([&] { return wall.device; });
}

Result<std::string> digest_inside(int network, const std::string& table,
                                  const std::vector<std::string>& chains) {
  return do_inside(network,
                   [&] {
                     return rules_digest(table, chains).map([](std::string&& text) {
                       return Brought{std::move(text), {}, {}};
                     });
                   })
      .map([](Brought&& brought) { return std::move(brought.text); });
}

// "rules", "pod_wall" and "node_wall": digests of what is loaded.
Result<ChainedFacts> digests(int pod_network, const ChainedFacts& facts) {
  ChainedFacts all;
  const auto add = [&](const char* key, Result<std::string> digest) -> Result<void> {
    if (!digest) return Failure(digest.error());
    all[key] = std::move(*digest);
    return {};
  };
  auto added = add("rules", digest_inside(pod_network, pod_table, pod_chains()));
  if (added && facts.contains("node_device")) {
    added =
        add("pod_wall", digest_inside(pod_network, pod_wall_table, wall_chains())).and_then([&] {
          return add("node_wall", rules_digest("netdev " + facts.at("node_table"), wall_chains()));
        });
  }
  if (!added) return Failure(added.error());
  return all;
}

}  // namespace

Result<ChainedNetwork> build_chained_network(const ChainedRequest& request) {
  const auto looked =
      do_inside(request.pod_network, [&] { return look_at_pod(request.interface); });
  if (!looked) return Failure(looked.error());
  const auto pod = decode_pod_interface(looked->text);
  if (!pod) return Failure(pod.error());
  ChainedFacts facts{{"interface", pod->name}};
  if (!request.raw) {
    auto device = load_node_wall(request, *pod);
    if (!device) return Failure(device.error());
    facts["node_device"] = std::move(*device);
    facts["node_table"] = request.node_table;
  }
  auto built = do_inside(request.pod_network, [&] { return build_in_pod(*pod, request.raw); });
  if (!built) return Failure(built.error());
  auto loaded = digests(request.pod_network, facts);
  if (!loaded) return Failure(loaded.error());
  facts.merge(*loaded);
  return ChainedNetwork{std::move(built->sockets), std::move(facts)};
}

Result<void> check_chained_network(int pod_network, const ChainedFacts& facts) {
  const auto looked = do_inside(pod_network, [&] {
    return require_routes_to_loopback().and_then(
        [&] { return look_at_pod(facts.at("interface")); });
  });
  if (!looked) return Failure(looked.error());
  if (const auto device = facts.find("node_device"); device != facts.end()) {
    if (auto first = require_wall_comes_first(device->second); !first) return first;
  }
  const auto loaded = digests(pod_network, facts);
  if (!loaded) return Failure(loaded.error());
  for (const auto& [key, digest] : *loaded) {
    const auto before = facts.find(key);
    if (before != facts.end() && before->second == digest) continue;
    return fail(Errc::not_permitted,
                fmt::format("the rules of the pod's network were changed ({})", key),
                "make the pod anew");
  }
  return {};
}

Result<void> remove_node_wall(const std::string& node_table) {
  return load_rules(without_wall({node_table, "", Wall::At::node}),
                    "cannot remove the node's rules");
}

}  // namespace sluice::netns
