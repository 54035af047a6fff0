#include "netns/commands/arguments.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <sstream>

#include "base/io.h"
#include "base/text.h"
#include "base/usage.h"
#include "netns/commands/attach.h"
#include "netns/commands/named.h"
#include "netns/commands/report.h"
#include "netns/commands/supervise.h"
#include "netns/containers/oci_hook.h"
#include "netns/named/lease.h"

namespace sluice::netns {
namespace {

constexpr const char* examples =
    "Examples:\n"
    "  sluice-netns create coder-1\n"
    "  sluice-netns exec coder-1 -- curl https://api.example.com/\n"
    "  podman run --network ns:/run/netns/coder-1 image\n"
    "  sluice-netns attach --pid 4711 --agent coder-2\n"
    "  sluice-netns delete coder-1\n"
    "Exit status: 0, or 125 with the reason on stderr; 'exec' has that of its command, 126 when "
    "it\n"
    "cannot be run, 127 when it is not found.\n"
    "With CNI_COMMAND in the environment it is a CNI plugin.\n";

// The options as they are typed.
struct Typed {
  std::string name, agent, proxy, netns;
  std::vector<std::string> despite;
  std::vector<std::string> command;
  long pid = 0;
  bool json = false;
  bool detach = false;
};

void add_once(CLI::App* app, const std::string& names, std::string& value,
              const std::string& help) {
  app->add_option(names, value, help)->multi_option_policy(CLI::MultiOptionPolicy::Throw);
}

void add_proxy(CLI::App* app, Typed& typed) {
  add_once(app, "--proxy", typed.proxy,
           "SOCKET of the sluiced (default: $SLUICE_HANDOVER, else /run/sluice/handover.sock)");
}

CLI::App* add_named(CLI::App& app, const char* command, Typed& typed, const char* help) {
  CLI::App* const added = app.add_subcommand(command, help);
  added->add_option("NAME", typed.name, "name in /run/netns")->required();
  return added;
}

void add_create(CLI::App& app, Typed& typed) {
  CLI::App* const create =
      add_named(app, "create", typed, "Makes an agent network with a name in /run/netns");
  add_once(create, "--agent", typed.agent, "NAME by which the policy knows it (default: NAME)");
  add_proxy(create, typed);
  create->footer("Needs root. What exists, is registered and has the same agent is left as it is.");
}

void add_exec(CLI::App& app) {
  app.add_subcommand("exec", "Runs a command in a named agent network: exec NAME -- CMD...")
      ->footer(
          "This is no sandbox: the command runs as root with the machine's files, processes and\n"
          "Unix sockets. Only its network is the agent's. It has no capabilities and can get none\n"
          "(no_new_privs). For code that is not trusted: sluice run, or a container.");
}

void add_attach(CLI::App& app, Typed& typed) {
  CLI::App* const attach = app.add_subcommand(
      "attach", "Gives a network to a process or namespace that has none, and watches over it");
  auto* const pid = attach->add_option("--pid", typed.pid, "PID of any of its processes");
  auto* const path = attach->add_option("--netns", typed.netns, "PATH of the namespace");
  pid->excludes(path);
  add_once(attach, "--agent", typed.agent, "NAME by which the policy knows it");
  attach->get_option("--agent")->required();
  add_proxy(attach, typed);
  attach->add_flag("--detach", typed.detach,
                   "Return once it is registered; stay in the background");
  attach
      ->add_option("--despite", typed.despite,
                   "link, net_admin or vsock: attach although that is so, and promise less")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  attach->footer(
      "Root may attach any; an ordinary user those of processes of their own. Ends with the\n"
      "process (--pid), or when PATH no longer leads to the namespace; SIGTERM ends it before.");
}

std::unique_ptr<CLI::App> make_app(Typed& typed) {
  auto app = std::make_unique<CLI::App>(
      "Networks for agents and containers whose only way out is a sluiced", "sluice-netns");
  app->set_version_flag("--version", SLUICE_VERSION);
  app->require_subcommand(1);
  app->footer(examples);
  add_create(*app, typed);
  add_named(*app, "delete", typed, "Removes a named agent network");
  app->add_subcommand("list", "Shows all agent networks that sluice-netns made")
      ->add_flag("--json", typed.json, "As a JSON array");
  add_exec(*app);
  add_attach(*app, typed);
  app->add_subcommand("gc", "Removes what killed commands and ended containers left");
  app->add_subcommand("restore", "Serves again what an ended sluiced served, once");
  app->add_subcommand("supervise", "Does so for ever, and watches for ways out");
  app->add_subcommand("oci-hook", "An OCI hook: the state of a container as JSON on stdin");
  return app;
}

Action farewell(std::string text) {
  return [text = std::move(text)] {
    (void)write_all(STDOUT_FILENO, "stdout", text);
    return 0;
  };
}

Action usage(const std::string& what, const std::string& hint) {
  return [error = Error{Errc::bad_config, what, hint, std::nullopt}] { return report(error); };
}

Action attach_action(const Typed& typed) {
  if (typed.pid == 0 && typed.netns.empty()) {
    return usage("nothing to attach", "sluice-netns attach --pid PID, or --netns PATH");
  }
  AttachOrder order;
  order.pid = static_cast<pid_t>(typed.pid);
  order.path = typed.netns;
  order.agent = typed.agent;
  order.proxy = choose_proxy_socket(typed.proxy);
  for (const std::string& word : typed.despite) {
    const auto weakness = weakness_named(word);
    if (!weakness) {
      return usage(fmt::format("--despite '{}' is unknown", text::printable(word)),
                   "link, net_admin or vsock");
    }
    order.despite.push_back(*weakness);
  }
  return [order, detach = typed.detach] {
    return detach ? run_attach_detached(order) : run_attach(order);
  };
}

Action action_of(const std::string& command, const Typed& typed) {
  if (command == "create") {
    const NamedOrder order{typed.name, typed.agent.empty() ? typed.name : typed.agent,
                           choose_proxy_socket(typed.proxy)};
    return [order] { return run_create(order); };
  }
  if (command == "delete") return [name = typed.name] { return run_delete(name); };
  if (command == "list") return [json = typed.json] { return run_list(AsJson(json)); };
  if (command == "attach") return attach_action(typed);
  if (command == "gc") return run_gc;
  if (command == "restore") return run_restore;
  if (command == "supervise") return run_supervise;
  return oci_hook_main;
}

// Taken apart by hand: everything behind the name is the command's, options too.
Action exec_action(const std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes - words.begin() != 2 || words.end() - dashes < 2) {
    return usage("no command to run", "sluice-netns exec NAME -- CMD...");
  }
  return [name = words[1], command = std::vector<std::string>(dashes + 1, words.end())] {
    return run_exec(name, command);
  };
}

// CLI11 says only that a command is missing.
std::optional<Action> unknown_command(const CLI::App& app, const std::vector<std::string>& words) {
  if (words.empty() || words.front().starts_with('-')) return std::nullopt;
  std::vector<std::string> known;
  for (const CLI::App* command : app.get_subcommands({})) known.push_back(command->get_name());
  if (std::count(known.begin(), known.end(), words.front()) > 0) return std::nullopt;
  const std::string near = text::nearest(words.front(), known);
  return usage(fmt::format("there is no command '{}'", text::printable(words.front())),
               near.empty() ? "sluice-netns --help" : fmt::format("did you mean '{}'?", near));
}

}  // namespace

Action parse_arguments(const std::vector<std::string>& words) {
  const bool asks_help = words.size() == 2 && (words[1] == "--help" || words[1] == "-h");
  if (!words.empty() && words.front() == "exec" && !asks_help) return exec_action(words);
  Typed typed;
  const auto app = make_app(typed);
  if (const auto unknown = unknown_command(*app, words)) return *unknown;
  try {
    app->parse(std::vector<std::string>(words.rbegin(), words.rend()));
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      return [said = usage_error(*app, error)] { return report(said); };
    }
    std::ostringstream said;  // --help, --version
    app->exit(error, said, said);
    return farewell(said.str());
  }
  return action_of(app->get_subcommands().front()->get_name(), typed);
}

}  // namespace sluice::netns
