#include "netns/commands/named.h"

#include <fmt/core.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/io.h"
#include "base/text.h"
#include "netns/commands/report.h"
#include "netns/named/kept.h"
#include "netns/summary.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

int print(const std::string& text) {
  const auto written = write_all(STDOUT_FILENO, "stdout", text);
  return written ? 0 : report(written.error());
}

std::string as_json(const std::vector<LeaseState>& states) {
  Json all = Json::array();
  for (const LeaseState& state : states) {
    all.push_back({{"name", state.id},
                   {"kind", kind_name(state.kind)},
                   {"agent", state.agent},
                   {"netns", state.netns},
                   {"proxy", state.proxy},
                   {"condition", condition_name(look_at(state))},
                   {"supervisor", state.supervisor},
                   {"withdrawn", state.withdrawn}});
  }
  return all.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

std::string as_table(const std::vector<LeaseState>& states) {
  std::string table = fmt::format("{:<24} {:<9} {:<24} {}\n", "NAME", "KIND", "AGENT", "CONDITION");
  for (const LeaseState& state : states) {
    table +=
        fmt::format("{:<24} {:<9} {:<24} {}\n", text::printable(state.id), kind_name(state.kind),
                    text::printable(state.agent), condition_name(look_at(state)));
  }
  return table;
}

std::string_view sentence(Creation creation) {
  switch (creation) {
    case Creation::made:
      return "is made";
    case Creation::was_there:
      return "is there already, and served";
    case Creation::served_again:
      break;
  }
  return "was there already, and is served again";
}

}  // namespace

int run_create(const NamedOrder& order) {
  const auto created = open_state_as_root("create").and_then(
      [&](const StateFolder& folder) { return create_named(folder, order); });
  if (!created) return report(created.error());
  say(fmt::format("'{}' {}, for the agent '{}'", order.name, sentence(*created), order.agent));
  return 0;
}

int run_delete(const std::string& name) {
  const auto deleted = open_state_as_root("delete").and_then(
      [&](const StateFolder& folder) { return delete_named(folder, name); });
  if (!deleted) return report(deleted.error());
  if (!*deleted) {
    say(fmt::format("there is no agent network '{}'", name));
  } else if ((*deleted)->totals) {
    say(fmt::format("'{}' is deleted; {}", name, summary("its agent", *(*deleted)->totals)));
  } else {
    say(fmt::format("'{}' is deleted; it was not registered ({})", name, (*deleted)->why));
  }
  return 0;
}

int run_list(AsJson json) {
  const auto listing =
      open_state_as_root("list").and_then([](const StateFolder& folder) { return folder.list(); });
  if (!listing) return report(listing.error());
  for (const std::string& name : listing->damaged) {
    say(fmt::format("'{}' is no state file: run sluice-netns gc", text::printable(name)));
  }
  return print(json == AsJson::yes ? as_json(listing->states) : as_table(listing->states));
}

int run_gc() {
  const auto collected = open_state_as_root("gc").and_then(collect_garbage);
  if (!collected) return report(collected.error());
  for (const std::string& line : collected->removed) say(line);
  if (collected->removed.empty() && collected->failed.empty()) say("nothing was left behind");
  for (const Error& error : collected->failed) report(error);
  return collected->failed.empty() ? 0 : failed_status;
}

int run_restore() {
  const auto restored = open_state_as_root("restore").and_then(
      [](const StateFolder& folder) { return restore_all(folder); });
  if (!restored) return report(restored.error());
  for (const std::string& line : restored->again) say(line);
  for (const Error& error : restored->failed) report(error);
  say(fmt::format("{} served before, {} served again, {} not served", restored->served,
                  restored->again.size(), restored->failed.size()));
  return restored->failed.empty() ? 0 : failed_status;
}

}  // namespace sluice::netns
