#include "netns/attach/attach.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "netns/attach/processes.h"
#include "netns/attach/watch.h"
#include "netns/capture.h"
#include "netns/containers/chained_rules.h"
#include "netns/inside.h"
#include "netns/namespace.h"
#include "netns/network.h"
#include "netns/refused_udp.h"
#include "netns/routes.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

bool accepts(const AttachOrder& order, Weakness weakness) {
  return std::count(order.despite.begin(), order.despite.end(), weakness) > 0;
}

Result<std::vector<Finding>> find_weaknesses(const Target& target, const AttachOrder& order,
                                             const std::vector<Fd>& owners) {
  std::vector<Finding> findings;
  if (order.judge == JudgeProcesses::yes) {
    auto judged = judge_processes(target.network(), owners);
    if (!judged) return judged;
    findings = std::move(*judged);
  }
  const auto links = list_links();
  if (!links) return Failure(links.error());
  if (const auto alone = require_no_way_out(*links); !alone) {
    if (alone.error().code != Errc::not_permitted) return Failure(alone.error());
    findings.push_back({Weakness::link, alone.error().what});
  }
  return findings;
}

Failure refuse_all(const Target& target, const std::vector<const Finding*>& refused) {
  std::string reasons;
  std::string words;
  for (const Finding* finding : refused) {
    reasons += fmt::format("{}{}", reasons.empty() ? "" : "; ", finding->why);
    words += fmt::format(" --despite {}", weakness_name(finding->weakness));
  }
  return fail(
      Errc::not_permitted,
      fmt::format("what is promised of an agent network would not be true of {}: {}", target.name(),
                  reasons),
      fmt::format("start it without that, or attach with{}: then that is not promised", words));
}

// What is accepted, in words; an error names what is not.
Result<std::vector<std::string>> accept(const Target& target, const AttachOrder& order,
                                        const std::vector<Finding>& findings) {
  std::vector<std::string> withdrawn;
  std::vector<const Finding*> refused;
  for (const Finding& finding : findings) {
    if (accepts(order, finding.weakness)) {
      withdrawn.push_back(fmt::format("{}: {}", finding.why, withdrawal(finding.weakness)));
    } else {
      refused.push_back(&finding);
    }
  }
  if (!refused.empty()) return refuse_all(target, refused);
  return withdrawn;
}

// What comes in by another link is not the agent's, and must not be served as if it were.
Result<void> load_rules_beside_a_link() {
  return load_capture_rules().and_then([] {
    return load_rules(
        fmt::format("insert rule inet {} capture meta iifname != \"lo\" accept\n", capture_table),
        "cannot load the capture rules");
  });
}

Result<std::vector<RoleSocket>> open_and_prove() {
  auto sockets = open_listeners();
  if (!sockets) return sockets;
  if (auto proved = prove_agent_network(*sockets); !proved) return Failure(proved.error());
  return sockets;
}

Result<std::vector<RoleSocket>> build(const AttachOrder& order) {
  const auto made_before = has_capture_rules();
  if (!made_before) return Failure(made_before.error());
  if (*made_before) return open_and_prove();
  if (!accepts(order, Weakness::link)) return build_agent_network();
  return load_rules_beside_a_link().and_then(route_everything_to_loopback).and_then(open_and_prove);
}

// Between the judgement and now it may have got a link.
Result<void> look_again(std::vector<Fd>& sockets, const AttachOrder& order) {
  if (accepts(order, Weakness::link)) return {};
  Fd news(::fcntl(sockets[0].get(), F_DUPFD_CLOEXEC, 3));
  Fd questions(::fcntl(sockets[1].get(), F_DUPFD_CLOEXEC, 3));
  auto watch = WayOutWatch::adopt(std::move(news), std::move(questions));
  if (!watch) return Failure(watch.error());
  const auto found = watch->look();
  if (!found) return Failure(found.error());
  if (*found) {
    return fail(Errc::not_permitted, **found, "start the container without a network");
  }
  return {};
}

Result<Brought> bring(std::vector<RoleSocket> sockets, std::vector<Fd> watch,
                      const std::vector<std::string>& withdrawn) {
  const auto cookie = own_netns_cookie();
  if (!cookie) return Failure(cookie.error());
  Brought brought{Json{{"cookie", *cookie}, {"withdrawn", withdrawn}}.dump(), std::move(sockets),
                  std::move(watch)};
  if (!is_captured(brought.sockets)) return brought;
  auto counter = RefusedUdp::open_socket();
  if (!counter) return Failure(counter.error());
  brought.fds.push_back(std::move(*counter));
  return brought;
}

Result<Brought> make_inside(const Target& target, const AttachOrder& order,
                            const std::vector<Fd>& owners) {
  auto watch = WayOutWatch::open_sockets();
  if (!watch) return Failure(watch.error());
  auto withdrawn =
      find_weaknesses(target, order, owners).and_then([&](std::vector<Finding>&& findings) {
        return accept(target, order, findings);
      });
  if (!withdrawn) return Failure(withdrawn.error());
  if (order.judge == JudgeProcesses::yes && processes_in(target.network()).empty()) {
    withdrawn->emplace_back(
        "no process is seen in the namespace, so none was judged: what starts there must have "
        "neither CAP_NET_ADMIN nor AF_VSOCK");
  }
  auto sockets = build(order);
  if (!sockets) return Failure(sockets.error());
  if (auto again = look_again(*watch, order); !again) return Failure(again.error());
  return bring(std::move(*sockets), std::move(*watch), *withdrawn);
}

}  // namespace

Result<AttachedNetwork> make_attached_network(const Target& target, const AttachOrder& order) {
  const std::vector<Fd> owners = owners_of(target.network());
  auto brought = do_inside(target.network(), [&] { return make_inside(target, order, owners); });
  if (!brought) return Failure(brought.error());
  const Json told = Json::parse(brought->text);
  AttachedNetwork network;
  network.sockets = std::move(brought->sockets);
  network.cookie = told.at("cookie");
  network.withdrawn = order.withdrawn;
  for (const std::string sentence : told.at("withdrawn")) network.withdrawn.push_back(sentence);
  if (brought->fds.size() > 2) network.refused_udp = std::move(brought->fds[2]);
  brought->fds.resize(2);
  network.watch = std::move(brought->fds);
  return network;
}

}  // namespace sluice::netns
