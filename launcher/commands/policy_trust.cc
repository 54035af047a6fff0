// `sluice policy trust`: records a workspace's own policy as reviewed.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "allowlists/tools/warnings.h"
#include "base/sha256.h"
#include "base/text.h"
#include "launcher/commands/policy_command.h"
#include "launcher/line_diff.h"
#include "launcher/paths.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

struct TrustOptions {
  std::string file;
  bool list = false;
  bool forget = false;
  bool json = false;
};

// All of it: what is cut off here would be trusted unseen.
constexpr DiffBounds everything{SIZE_MAX, SIZE_MAX};

void print(const Json& json) {
  fmt::print("{}\n", json.dump(-1, ' ', true, Json::error_handler_t::replace));
}

Result<TrustStore> find_store() {
  return survey_machine().map(
      [](const Machine& machine) { return TrustStore(state_directory(machine)); });
}

// The name `sluice run` will know it by. The file itself is not followed, and need not exist.
Result<std::string> canonical(const std::string& file) {
  const std::filesystem::path path(absolute(file));
  if (path.filename() != workspace_policy_name) {
    return fail(Errc::bad_config,
                fmt::format("{} is not a workspace's {}", in_quotes(file), workspace_policy_name),
                "any other policy is obeyed when you name it: sluice run --policy FILE");
  }
  auto parent = real_path(path.parent_path().string());
  if (!parent) return parent;
  return (*parent == "/" ? "" : *parent) + "/" + workspace_policy_name;
}

Result<std::string> read_to_trust(const std::string& path) {
  auto text = read_workspace_policy(path);
  if (!text) return Failure(text.error());
  if (*text) return std::move(**text);
  return fail(Errc::bad_config, fmt::format("there is no {}", in_quotes(path)),
              "name a .sluice.yaml that exists");
}

std::string agents_of(const allowlists::PolicyText& policy) {
  std::string names;
  for (const allowlists::AgentEntry& entry : policy.agents) {
    names += (names.empty() ? "" : ", ") + entry.pattern;
  }
  return names.empty() ? "none" : names;
}

void print_numbered(std::string_view text) {
  std::size_t number = 0;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    fmt::print("{:>5}  {}\n", ++number, shown_line(line, line.size()));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
}

// What is trusted now is shown, for the file may have changed since the person looked at it.
void show(const TrustRecord& record, const std::optional<TrustRecord>& before) {
  if (!before) {
    print_numbered(record.text);
  } else if (before->text == record.text) {
    fmt::print("unchanged since it was trusted\n");
  } else {
    fmt::print("--- as it was trusted\n+++ as it is trusted now\n{}",
               line_diff(before->text, record.text, everything));
  }
}

Json to_json(const TrustRecord& record, const allowlists::PolicyText& policy,
             std::string_view state) {
  Json agents = Json::array();
  for (const allowlists::AgentEntry& entry : policy.agents) agents.push_back(entry.pattern);
  return {{"path", record.path}, {"sha256", record.digest}, {"agents", agents}, {"state", state}};
}

int keep(const TrustStore& store, const TrustRecord& record, const ReadPolicy& policy,
         const TrustOptions& options) {
  const auto before = store.find(record.path);
  // A damaged record is replaced by this one; who owns the store is judged by put().
  const std::optional<TrustRecord> earlier = before ? *before : std::nullopt;
  if (const auto put = store.put(record); !put) return refuse(put.error());
  if (options.json) {
    const bool same = earlier && earlier->text == record.text;
    print(to_json(record, policy.text, !earlier ? "new" : same ? "unchanged" : "changed"));
    return 0;
  }
  show(record, earlier);
  fmt::print("trusted {} (sha256 {}), for agents: {}\n", in_quotes(record.path), record.digest,
             agents_of(policy.text));
  return 0;
}

// As `sluice policy check` does.
void tell_warnings(const allowlists::ReadText& read) {
  std::vector<Error> warnings = read.warnings;
  for (Error& one : allowlists::warnings_of(read.text)) warnings.push_back(std::move(one));
  allowlists::sort_by_place(warnings);
  for (const Error& warning : warnings) fmt::print(stderr, "{}\n", warning_text(warning));
}

int trust(const TrustOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  const auto path = canonical(options.file);
  if (!path) return refuse(path.error());
  auto text = read_to_trust(*path);
  if (!text) return refuse(text.error());
  // The bytes that are checked are the bytes that are recorded: the file is not read again.
  const allowlists::Source source{workspace_policy_name, *text};
  auto read = allowlists::read_text(std::span(&source, 1));
  if (!read) {
    tell(read.error());
    return usage_status;
  }
  tell_warnings(*read);
  ReadPolicy policy{std::move(read->text), nullptr, {}};
  return keep(*store, {*path, sha256_hex(*text), *text}, policy, options);
}

int forget(const TrustOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  const auto path = canonical(options.file);
  if (!path) return refuse(path.error());
  const auto forgotten = store->forget(*path);
  if (!forgotten) return refuse(forgotten.error());
  if (!*forgotten) {
    return refuse({Errc::bad_config,
                   fmt::format("{} is not trusted", in_quotes(*path)),
                   "sluice policy trust --list tells what is",
                   {}});
  }
  if (options.json) {
    print({{"path", *path}, {"state", "forgotten"}});
  } else {
    fmt::print("forgotten {}\n", in_quotes(*path));
  }
  return 0;
}

std::string_view state_of(const TrustRecord& record) {
  const auto text = read_workspace_policy(record.path);
  if (!text) return "unreadable";
  if (!*text) return "gone";
  return **text == record.text ? "unchanged" : "changed";
}

int list(const TrustOptions& options) {
  const auto store = find_store();
  if (!store) return refuse(store.error());
  const auto records = store->list();
  if (!records) return refuse(records.error());
  Json all = Json::array();
  for (const TrustRecord& record : *records) {
    const std::string_view state = state_of(record);
    all.push_back({{"path", record.path}, {"sha256", record.digest}, {"state", state}});
    if (!options.json) fmt::print("{:<10}  {}\n", state, text::printable(record.path));
  }
  if (options.json) print(all);
  return 0;
}

int act(const TrustOptions& options) {
  if (options.list != options.file.empty() || (options.list && options.forget)) {
    return refuse({Errc::bad_config,
                   options.file.empty() ? "no file is named" : "--list takes no file",
                   "sluice policy trust FILE, --forget FILE or --list",
                   {}});
  }
  if (options.list) return list(options);
  return options.forget ? forget(options) : trust(options);
}

}  // namespace

void add_policy_trust(CLI::App& policy, Action& chosen) {
  CLI::App* command =
      policy.add_subcommand("trust", "Records a workspace's .sluice.yaml as reviewed");
  const auto options = std::make_shared<TrustOptions>();
  command->add_option("FILE", options->file, "WORKSPACE/.sluice.yaml");
  command->add_flag("--list", options->list, "Tell what is trusted, and what changed since");
  command->add_flag("--forget", options->forget, "Trust FILE no longer");
  command->add_flag("--json", options->json, "One JSON value");
  command->callback([&chosen, options] { chosen = [options] { return act(*options); }; });
}

}  // namespace sluice::launcher
