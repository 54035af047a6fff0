#include "launcher/commands/root.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "launcher/plan/machine.h"
#include "launcher/roots/import.h"
#include "launcher/roots/store.h"

namespace sluice::launcher {
namespace {

struct RootOptions {
  std::string name;
  std::string source;
  bool json = false;
};

Result<RootStore> find_store() {
  return survey_machine().map(
      [](const Machine& machine) { return RootStore(roots_directory(machine)); });
}

int import(const RootOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  if (auto done = import_root(*store, options.name, options.source); !done) {
    return refuse(done.error());
  }
  fmt::print("imported {}: sluice run --root {} -- CMD...\n", options.name, options.name);
  return 0;
}

int list(const RootOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  const auto names = store->list();
  if (!names) return refuse(names.error());
  auto all = nlohmann::ordered_json::array();
  for (const std::string& name : *names) {
    if (!options.json) fmt::print("{}\n", text::printable(name));
    all.push_back({{"name", name}, {"path", store->directory() + "/" + name}});
  }
  if (options.json) {
    fmt::print("{}\n", all.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace));
  }
  return 0;
}

int remove(const RootOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  if (auto done = store->remove(options.name); !done) return refuse(done.error());
  fmt::print("deleted {}\n", options.name);
  return 0;
}

}  // namespace

void add_root(CLI::App& app, Action& chosen) {
  CLI::App* root = app.add_subcommand("root", "Keeps root directories for sluice run --root NAME");
  root->require_subcommand(1);
  const auto options = std::make_shared<RootOptions>();
  CLI::App* importing =
      root->add_subcommand("import", "Copies a root from an archive or directory");
  importing->add_option("NAME", options->name, "How it is called from then on")->required();
  importing->add_option("TAR|DIR", options->source, "tar archive, '-' for stdin, or directory")
      ->required();
  importing->callback([&chosen, options] { chosen = [options] { return import(*options); }; });
  CLI::App* listing = root->add_subcommand("list", "Tells which ones there are");
  listing->add_flag("--json", options->json, "One JSON value");
  listing->callback([&chosen, options] { chosen = [options] { return list(*options); }; });
  CLI::App* deleting = root->add_subcommand("delete", "Deletes one that no agent runs on");
  deleting->add_option("NAME", options->name)->required();
  deleting->callback([&chosen, options] { chosen = [options] { return remove(*options); }; });
}

}  // namespace sluice::launcher
