#include "netns/named/kept.h"

#include <fmt/core.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/text.h"
#include "netns/containers/chained.h"
#include "netns/inside.h"
#include "netns/named/run_netns.h"
#include "netns/namespace.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

// The namespace that the state tells of; nothing when its path leads to none, or to another.
Result<std::optional<Fd>> open_namespace_of(const LeaseState& state) {
  auto opened = open_network_namespace(state.netns);
  if (!opened) return std::nullopt;
  const auto cookie = cookie_of(opened->get());
  if (!cookie) return Failure(cookie.error());
  if (*cookie != state.netns_cookie) return std::nullopt;
  return std::optional(std::move(*opened));
}

// Of the calling thread's namespace. Answered by the kernel: nobody else may listen there as well.
bool listeners_are_held() {
  const SocketAddress address = to_socket_address(role_endpoint(Role::proxy));
  const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int yes = 1;
  ::setsockopt(probe.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  return ::bind(probe.get(), address.get(), address.size) != 0 && errno == EADDRINUSE;
}

constexpr const char* held = "held";

bool is_served(int network_namespace) {
  const auto brought = do_inside(network_namespace, []() -> Result<Brought> {
    return Brought{listeners_are_held() ? held : "", {}, {}};
  });
  return brought && brought->text == held;
}

Result<Brought> reopen(LeaseState::Kind kind) {
  if (listeners_are_held()) return Brought{held, {}, {}};
  if (kind == LeaseState::Kind::named) {
    if (auto alone = list_links().and_then(require_no_way_out); !alone) {
      return Failure(alone.error());
    }
  }
  return open_listeners().map([](std::vector<RoleSocket> sockets) {
    return Brought{"", std::move(sockets), {}};
  });
}

bool is_alive(const LeaseState& state) {
  return state.supervisor > 0 && start_time_of(state.supervisor) == state.supervisor_born;
}

std::string describe(const LeaseState& state) {
  return fmt::format("{} '{}' (agent '{}')", kind_name(state.kind), text::printable(state.id),
                     text::printable(state.agent));
}

// The name, if what stands there is what the state tells of, or what a killed create left.
Result<void> release_name(const LeaseState& state) {
  if (state.kind != LeaseState::Kind::named) return {};
  const auto named = open_name(state.id);
  if (!named) return Failure(named.error());
  if (*named) {
    const auto cookie = cookie_of((*named)->get());
    if (!cookie) return Failure(cookie.error());
    // Somebody removed ours and gave the name to another.
    if (*cookie != state.netns_cookie) return {};
  }
  return remove_name(state.id);
}

// What was made goes again; of two errors the first is the one to tell.
Failure undo(const Result<void>& undone, Error error) {
  if (!undone) {
    error.hint = fmt::format("what was made could not be removed ({}): run sluice-netns gc",
                             undone.error().what);
  }
  return Failure(std::move(error));
}

bool is_garbage(Condition condition) noexcept {
  return condition == Condition::half_made || condition == Condition::gone ||
         condition == Condition::ended;
}

}  // namespace

std::string_view condition_name(Condition condition) noexcept {
  switch (condition) {
    case Condition::served:
      return "served";
    case Condition::unserved:
      return "unserved";
    case Condition::way_out:
      return "way out";
    case Condition::half_made:
      return "half made";
    case Condition::gone:
      return "gone";
    case Condition::ended:
      break;
  }
  return "ended";
}

Condition look_at(const LeaseState& state) {
  if (!is_explicit(state.kind)) return is_alive(state) ? Condition::served : Condition::ended;
  if (!state.complete) return Condition::half_made;
  const auto opened = open_namespace_of(state);
  // An error is no answer: what may be there is not garbage.
  if (!opened) return Condition::unserved;
  if (!*opened) return Condition::gone;
  if (state.facts.contains(way_out_fact)) return Condition::way_out;
  return is_served((*opened)->get()) ? Condition::served : Condition::unserved;
}

Result<Service> serve_again(const LeaseState& state) {
  if (const auto sentence = state.facts.find(way_out_fact); sentence != state.facts.end()) {
    return fail(Errc::not_permitted, sentence->second, "delete the network and make it again");
  }
  const auto opened = open_namespace_of(state);
  if (!opened) return Failure(opened.error());
  if (!*opened) {
    return fail(Errc::unavailable, fmt::format("the namespace of {} is gone", describe(state)),
                "sluice-netns gc removes what is left of it");
  }
  const auto brought = do_inside((*opened)->get(), [&] { return reopen(state.kind); });
  if (!brought) return Failure(brought.error());
  if (brought->text == held) return Service::was_there;
  return take_lease(state.proxy, state.agent, brought->sockets).map([](const Registered&) {
    return Service::again;
  });
}

Result<void> register_network(const StateFolder& folder, LeaseState state,
                              const std::vector<RoleSocket>& sockets) {
  const auto remove = [&] { return remove_network(folder, state).map([](const LeaseEnd&) {}); };
  if (const auto lease = take_lease(state.proxy, state.agent, sockets); !lease) {
    return undo(remove(), lease.error());  // without an answer it may be registered
  }
  state.complete = true;
  if (auto written = folder.write(state); !written) return undo(remove(), written.error());
  return {};
}

Result<LeaseEnd> remove_network(const StateFolder& folder, LeaseState state) {
  state.complete = false;
  if (auto written = folder.write(state); !written) return Failure(written.error());
  auto ended = end_lease(state.proxy, state.agent, state.netns_cookie);
  if (!ended) return ended;
  if (auto removed = remove_unregistered(folder, state); !removed) {
    return Failure(removed.error());
  }
  return ended;
}

Result<void> remove_unregistered(const StateFolder& folder, const LeaseState& state) {
  if (const auto table = state.facts.find("node_table"); table != state.facts.end()) {
    if (auto removed = remove_node_wall(table->second); !removed) return removed;
  }
  return release_name(state).and_then([&] { return folder.remove(state.kind, state.id); });
}

Failure take_back(const StateFolder& folder, const LeaseState& state, Error error) {
  return undo(remove_unregistered(folder, state), std::move(error));
}

Result<Collected> collect_garbage(const StateFolder& folder) {
  const auto lock = folder.lock();
  if (!lock) return Failure(lock.error());
  const auto listing = folder.list();
  if (!listing) return Failure(listing.error());
  Collected collected;
  for (const std::string& name : listing->damaged) {
    if (auto removed = folder.remove_file(name); !removed) {
      collected.failed.push_back(removed.error());
    } else {
      collected.removed.push_back(
          fmt::format("removed '{}', which is no state file", text::printable(name)));
    }
  }
  for (const LeaseState& state : listing->states) {
    const Condition condition = look_at(state);
    if (!is_garbage(condition)) continue;
    Result<void> removed;
    if (is_explicit(state.kind)) {
      removed = remove_network(folder, state).map([](const LeaseEnd&) {});
    } else {
      removed = folder.remove(state.kind, state.id);
    }
    if (!removed) {
      collected.failed.push_back(removed.error());
    } else {
      collected.removed.push_back(
          fmt::format("removed {}: {}", describe(state), condition_name(condition)));
    }
  }
  return collected;
}

Result<RestoreReport> restore_all(const StateFolder& folder, const std::string& proxy) {
  const auto lock = folder.lock();
  if (!lock) return Failure(lock.error());
  const auto listing = folder.list();
  if (!listing) return Failure(listing.error());
  RestoreReport report;
  for (const LeaseState& state : listing->states) {
    if (!is_explicit(state.kind) || !state.complete) continue;
    if (!proxy.empty() && state.proxy != proxy) continue;
    const auto service = serve_again(state);
    if (!service) {
      Error error = service.error();
      error.what = fmt::format("{}: {}", describe(state), error.what);
      report.failed.push_back(std::move(error));
    } else if (*service == Service::again) {
      report.again.push_back(fmt::format("{} is served again", describe(state)));
    } else {
      ++report.served;
    }
  }
  return report;
}

}  // namespace sluice::netns
