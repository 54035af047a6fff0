// sluiced: the egress proxy, shared by a machine's agents (--config) or of one run (--embedded).
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <thread>

#include "allowlists/amend.h"
#include "base/io.h"
#include "base/usage.h"
#include "metrics/line_sink.h"
#include "proxy/daemon/activation.h"
#include "proxy/daemon/admin.h"
#include "proxy/daemon/config.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/healthcheck.h"
#include "proxy/daemon/server.h"
#include "proxy/daemon/unix_socket.h"

namespace sluice::proxy {
namespace {

constexpr std::size_t largest_system_file = std::size_t{4} * 1024 * 1024;

struct Arguments {
  std::string config;
  bool check = false;
  bool healthcheck = false;
  bool take_over = false;
  bool embedded = false;
  int handover_fd = -1;
  std::vector<std::string> policy_fds;  // "N:NAME"
  int audit_fd = -1;
  int admin_fd = -1;
  long as_uid = -1;
  std::string agent;
  std::vector<std::string> allow;
  bool report = false;
};

int complain(const Error& error) {
  fmt::print(stderr, "sluiced: {}\n", to_string(error));
  return 1;
}

int complain(const std::vector<Error>& errors) {
  for (const Error& error : errors) fmt::print(stderr, "{}\n", to_string(error));
  return 1;
}

// A missing hosts file is an empty one, as for every resolver.
std::string optional_file(const std::string& path) {
  return read_file(path, largest_system_file).value_or(std::string());
}

std::shared_ptr<const ResolverSettings> resolver_settings(const Config::Resolver& config) {
  auto settings = std::make_shared<ResolverSettings>();
  settings->hosts = HostsFile::parse(optional_file(config.hosts_file));
  settings->timeout = config.timeout;
  for (const Endpoint& server : config.servers)
    settings->servers.push_back({server.address, server.port});
  if (settings->servers.empty()) {
    for (const IpAddress& server : parse_resolv_conf(optional_file("/etc/resolv.conf"))) {
      settings->servers.push_back({server, 53});
    }
  }
  return settings;
}

// "N:NAME": a descriptor that the supervisor left open, and the file's name in rules and errors.
Result<allowlists::Source> inherited_source(const std::string& argument) {
  const std::size_t colon = argument.find(':');
  if (colon == std::string::npos)
    return fail(Errc::bad_config, fmt::format("--policy-fd '{}'", argument), "N:NAME");
  const Fd fd(std::atoi(argument.c_str()));
  auto text = read_fd(fd.get(), argument.substr(colon + 1), std::size_t{64} * 1024 * 1024);
  if (!text) return Failure(text.error());
  return allowlists::Source{argument.substr(colon + 1), std::move(*text)};
}

Fd inherited(int fd) {
  if (fd >= 0) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  return Fd(fd);
}

int run(ServerOrder order) {
  const auto status = run_server(std::move(order));
  return status ? *status : complain(status.error());
}

// What the supervisor has judged in the same way before it started this process.
tl::expected<PolicyEdition, std::vector<Error>> embedded_policy(const Arguments& arguments) {
  std::vector<allowlists::Source> sources;
  for (const std::string& argument : arguments.policy_fds) {
    auto source = inherited_source(argument);
    if (!source) return tl::unexpected(std::vector{source.error()});
    sources.push_back(std::move(*source));
  }
  allowlists::Amendment amendment{arguments.agent, arguments.allow, std::nullopt};
  if (arguments.report) amendment.mode = allowlists::Mode::report;
  if (sources.empty() && amendment.empty()) return no_policy();
  auto read = sources.empty() ? allowlists::ReadText{allowlists::bare_policy(arguments.agent), {}}
                              : allowlists::read_text(sources);
  if (read && !amendment.empty()) read = allowlists::amend(std::move(read->text), amendment);
  if (!read) return tl::unexpected(std::move(read.error()));
  return edition_of(sources.empty() ? "" : sources.front().name,
                    sources.empty() ? "" : digest_of(sources), std::move(*read));
}

int run_embedded(const Arguments& arguments) {
  log::init("sluiced", log::Level::warning);
  if (arguments.handover_fd < 0) {
    return complain(
        {Errc::bad_config, "--embedded needs --handover-fd", "'sluice run' starts it so", {}});
  }
  ServerOrder order{.resolver = resolver_settings({})};
  order.handover_peer = inherited(arguments.handover_fd);
  if (arguments.audit_fd >= 0) {
    order.audit = std::make_unique<metrics::LineSink>(inherited(arguments.audit_fd));
  }
  if (arguments.admin_fd >= 0) {
    ::fcntl(arguments.admin_fd, F_SETFL, O_NONBLOCK);
    order.admin_socket = inherited(arguments.admin_fd);
  }
  auto policy = embedded_policy(arguments);
  if (!policy) return complain(policy.error());
  order.policy = std::move(*policy);
  Enclosure enclosure;
  if (arguments.as_uid >= 0) enclosure.as_uid = static_cast<uid_t>(arguments.as_uid);
  order.enclosure = enclosure;
  return run(std::move(order));
}

// The old one's socket of this kind and address, or the service manager's, or else a new one.
using Open = std::function<Result<Fd>()>;
Result<Fd> given_or_new(ServerOrder& order, Activation& activation, Inheritance::Kind kind,
                        const std::string& address, const Open& open) {
  if (order.inheritance) {
    if (Fd taken = order.inheritance->socket(kind, address)) return taken;
  }
  if (Fd given = activation.socket(SOCK_STREAM, address)) return given;
  return open();
}

Result<Fd> open_handover(const std::string& path, ServerOrder& order, Activation& activation) {
  if (order.inheritance) return order.inheritance->handover_socket();
  if (Fd given = activation.socket(SOCK_SEQPACKET, path)) return given;
  return listen_for_peers(path);
}

Result<void> open_admin(const Config& config, ServerOrder& order, Activation& activation) {
  const Config::Admin& admin = config.admin;
  auto socket = given_or_new(order, activation, Inheritance::Kind::admin, admin.socket,
                             [&] { return listen_unix(admin.socket, SOCK_STREAM, admin.mode); });
  if (!socket) return Failure(socket.error());
  order.admin_socket = std::move(*socket);
  if (!admin.address) return {};
  const auto& [address, port] = *admin.address;
  auto listener = given_or_new(order, activation, Inheritance::Kind::admin_address,
                               Inheritance::address_text(address, port),
                               [&] { return listen_admin(address, port); });
  if (!listener) return Failure(listener.error());
  order.admin_address = std::move(*listener);
  order.own_listeners.emplace_back(to_asio(address), port);
  return {};
}

Result<void> open_listeners(const Config& config, ServerOrder& order) {
  auto activation = Activation::take();
  if (!activation) return Failure(activation.error());
  auto handover = open_handover(config.handover.socket, order, *activation);
  if (!handover) return Failure(handover.error());
  order.handover_listener = std::move(*handover);
  if (auto opened = open_admin(config, order, *activation); !opened) return opened;
  for (ReadyListener& listener : order.listeners) {
    const auto& [address, port] = listener.config.address;
    auto socket = given_or_new(order, *activation, Inheritance::Kind::listen,
                               Inheritance::address_text(address, port),
                               [&] { return listen_on(listener.config.address); });
    if (!socket) return Failure(socket.error());
    listener.socket = std::move(*socket);
    order.own_listeners.emplace_back(to_asio(address), port);
  }
  return activation->require_all_used();
}

int run_shared(const Arguments& arguments) {
  const auto config = read_config(arguments.config);
  if (!config) return complain(config.error());
  log::init("sluiced", config->log_level);
  auto edition = read_edition(config->policy);
  if (!edition) return complain(edition.error());
  for (const Error& warning : config->warnings) log::warning("{}", without_kind(warning));
  for (const Error& warning : edition->warnings) log::warning("{}", without_kind(warning));
  auto listeners = ready_listeners(config->listen);
  if (!listeners) return complain(listeners.error());
  Errors doubts;
  auto way_out = WayOut::open(*config, doubts);
  if (!way_out) return complain(way_out.error());
  for (const Error& doubt : doubts) log::warning("{}", without_kind(doubt));
  if (arguments.check) return 0;
  ServerOrder order{.threads = config->threads != 0
                                   ? config->threads
                                   : std::max(1U, std::thread::hardware_concurrency()),
                    .resolver = resolver_settings(config->resolver),
                    .timeouts = config->timeouts,
                    .limits = config->limits,
                    .policy = std::move(*edition)};
  order.budget_file = config->state + "/budgets";
  order.peer_access = PeerAccess(config->handover.peers);
  auto audit = metrics::open_audit(config->audit);
  if (!audit) return complain(audit.error());
  order.audit = std::move(*audit);
  order.way_out = std::move(*way_out);
  order.listeners = std::move(*listeners);
  if (arguments.take_over) {
    auto inheritance = ask_to_take_over(config->handover.socket);
    if (!inheritance) return complain(inheritance.error());
    order.inheritance = std::move(*inheritance);
  }
  if (auto opened = open_listeners(*config, order); !opened) return complain(opened.error());
  return run(std::move(order));
}

int run_healthcheck(const std::string& path) {
  const auto config = read_config(path);
  if (!config) return complain(config.error());
  const auto ready = ask_whether_ready(config->admin.socket);
  return ready ? 0 : complain(ready.error());
}

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("sluiced: the proxy through which sluice's agents reach what the policy allows",
               "sluiced");
  app.set_version_flag("--version", SLUICE_VERSION);
  auto* config =
      app.add_option("--config", arguments.config, "configuration file of a shared sluiced");
  app.add_flag("--check", arguments.check, "validate the configuration and its policy, then exit")
      ->needs(config);
  app.add_flag("--healthcheck", arguments.healthcheck,
               "ask the one that runs whether it is ready: 0, or else 1 and why")
      ->needs(config);
  app.add_flag("--take-over", arguments.take_over,
               "serve in place of the sluiced that runs, which ends when its tunnels have")
      ->needs(config);
  auto* embedded =
      app.add_flag("--embedded", arguments.embedded, "for 'sluice run': serve one supervisor");
  app.add_option("--handover-fd", arguments.handover_fd, "connected handover socket")
      ->needs(embedded);
  app.add_option("--policy-fd", arguments.policy_fds, "N:NAME, a policy file")->needs(embedded);
  app.add_option("--audit-fd", arguments.audit_fd, "where audit lines go")->needs(embedded);
  app.add_option("--admin-fd", arguments.admin_fd, "listening admin socket")->needs(embedded);
  app.add_option("--as-uid", arguments.as_uid, "whom root becomes")->needs(embedded);
  auto* agent =
      app.add_option("--agent", arguments.agent, "whose policy --allow and --report amend")
          ->needs(embedded);
  app.add_option("--allow", arguments.allow, "HOST[:PORT] to allow besides")
      ->expected(1)
      ->allow_extra_args(false)  // else a value in brackets would be taken for a list
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->needs(agent);
  app.add_flag("--report", arguments.report, "let pass and count what the policy would block")
      ->needs(agent);
  config->excludes(embedded);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    fmt::print(stderr, "sluiced: {}\n", to_string(usage_error(app, error)));
    return 2;
  }
  if (arguments.embedded) return run_embedded(arguments);
  if (arguments.config.empty()) {
    fmt::print(stderr, "sluiced: error: no configuration is named\nhint: sluiced --config FILE\n");
    return 2;
  }
  if (arguments.healthcheck) return run_healthcheck(arguments.config);
  return run_shared(arguments);
}

}  // namespace
}  // namespace sluice::proxy

int main(int argc, char** argv) {
  try {
    return sluice::proxy::main(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "sluiced: error: {}\n", error.what());
    return 1;
  }
}
