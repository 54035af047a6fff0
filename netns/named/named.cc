#include "netns/named/named.h"

#include <fmt/core.h>
#include <unistd.h>

#include "base/text.h"
#include "netns/inside.h"
#include "netns/named/kept.h"
#include "netns/named/run_netns.h"
#include "netns/network.h"

namespace sluice::netns {
namespace {

constexpr auto kind = LeaseState::Kind::named;

Result<void> require_valid_names(const NamedOrder& order) {
  for (const std::string& name : {order.name, order.agent}) {
    if (is_valid_name(name)) continue;
    return fail(Errc::bad_config, fmt::format("'{}' is no name", text::printable(name)),
                "use at most 63 letters, digits, '.', '_' and '-', a letter or a digit first");
  }
  return {};
}

Result<Brought> build() {
  auto sockets = build_agent_network();
  if (!sockets) return Failure(sockets.error());
  if (!is_captured(*sockets)) {
    return fail(Errc::unavailable, "without nf_tables a named network cannot follow its policy",
                "use 'sluice-netns attach' or 'sluice run', whose supervisors open its ports; or "
                "modprobe nf_tables nft_tproxy");
  }
  const auto cookie = own_netns_cookie();
  if (!cookie) return Failure(cookie.error());
  return Brought{fmt::format("{}", *cookie), std::move(*sockets), {}};
}

Failure foreign(const std::string& name) {
  return fail(Errc::not_permitted,
              fmt::format("'{}' is there and was not made by sluice-netns", path_of_name(name)),
              "choose another name, or remove it by what made it (ip netns delete)");
}

Result<Creation> name_and_register(const StateFolder& folder, const LeaseState& state,
                                   const Brought& built) {
  if (auto bound = bind_name(state.id, built.fds.back().get()); !bound) {
    return take_back(folder, state, bound.error());
  }
  return register_network(folder, state, built.sockets).map([] { return Creation::made; });
}

Result<Creation> make(const StateFolder& folder, LeaseState state) {
  // Until it has a name the namespace is gone with this process.
  const auto built = do_in_fresh_namespace(build);
  if (!built) return Failure(built.error());
  state.netns_cookie = std::stoull(built->text);
  // From here on the state file stands before everything that it tells of.
  if (auto written = folder.write(state); !written) return Failure(written.error());
  return name_and_register(folder, state, *built);
}

Result<Creation> keep(const LeaseState& state, const NamedOrder& order) {
  if (state.agent != order.agent || state.proxy != order.proxy) {
    return fail(Errc::bad_config,
                fmt::format("'{}' is there already, for the agent '{}' of the sluiced at '{}'",
                            state.id, text::printable(state.agent), text::printable(state.proxy)),
                "delete it first, or choose another name");
  }
  return serve_again(state).map([](Service service) {
    return service == Service::again ? Creation::served_again : Creation::was_there;
  });
}

}  // namespace

Result<Creation> create_named(const StateFolder& folder, const NamedOrder& order) {
  if (auto valid = require_valid_names(order); !valid) return Failure(valid.error());
  const auto lock = folder.lock();
  if (!lock) return Failure(lock.error());
  const auto state = folder.read(kind, order.name);
  if (!state) return Failure(state.error());
  if (*state) {
    const Condition condition = look_at(**state);
    if (condition != Condition::half_made && condition != Condition::gone) {
      return keep(**state, order);
    }
    if (auto removed = remove_network(folder, **state); !removed) return Failure(removed.error());
  }
  const auto taken = has_name(order.name);
  if (!taken) return Failure(taken.error());
  if (*taken) return foreign(order.name);
  LeaseState fresh;
  fresh.kind = kind;
  fresh.id = order.name;
  fresh.agent = order.agent;
  fresh.netns = path_of_name(order.name);
  fresh.proxy = order.proxy;
  return make(folder, std::move(fresh));
}

Result<std::optional<LeaseEnd>> delete_named(const StateFolder& folder, const std::string& name) {
  if (auto valid = require_valid_names({name, name, ""}); !valid) return Failure(valid.error());
  const auto lock = folder.lock();
  if (!lock) return Failure(lock.error());
  const auto state = folder.read(kind, name);
  if (!state) return Failure(state.error());
  if (*state) {
    return remove_network(folder, **state).map([](const LeaseEnd& end) {
      return std::optional(end);
    });
  }
  const auto there = has_name(name);
  if (!there) return Failure(there.error());
  if (*there) return foreign(name);
  return std::nullopt;
}

Result<Fd> open_named(const StateFolder& folder, const std::string& name) {
  const auto state = folder.read(kind, name);
  if (!state) return Failure(state.error());
  if (!*state || !(*state)->complete) {
    return fail(Errc::bad_config, fmt::format("there is no agent network '{}'", name),
                fmt::format("sluice-netns create {}", name));
  }
  auto opened = open_network_namespace((*state)->netns);
  if (!opened) return opened;
  const auto cookie = cookie_of(opened->get());
  if (!cookie) return Failure(cookie.error());
  if (*cookie != (*state)->netns_cookie) return foreign(name);
  return opened;
}

}  // namespace sluice::netns
