#include "launcher/supervision/end_of_run.h"

#include <fmt/core.h>

#include <algorithm>

#include "launcher/paths.h"
#include "launcher/trust.h"

namespace sluice::launcher {
namespace {

constexpr int timeout_status = 124;  // sluice's own begin here
constexpr std::size_t longest_shown = 200;

// A program chose it.
std::string shown(const std::string& path) {
  return in_quotes(path.substr(0, longest_shown)) + (path.size() > longest_shown ? "..." : "");
}

std::string listed(const std::vector<std::string>& paths, bool has_more) {
  std::string list;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    const bool is_last = i + 1 == paths.size() && !has_more;
    list += (i == 0 ? "" : is_last ? " and " : ", ") + shown(paths[i]);
  }
  return has_more ? list + " and others" : list;
}

// Where the agent may write, but for what is protected there.
bool is_in_writable_bind(const Plan& plan, const std::string& path) {
  return std::any_of(plan.mounts.begin(), plan.mounts.end(), [&](const Mount& mount) {
    return mount.kind == Mount::Kind::bind && mount.access == Access::read_write &&
           is_at_or_below(path, mount.path);
  });
}

std::string they_said(const std::string& paths) {
  return fmt::format("it failed, and its programs said \"Read-only file system\"{}{} (their words)",
                     paths.empty() ? "" : " of ", paths);
}

void tell_what_was_heard(const Plan& plan, const ErofsWatch& heard,
                         std::vector<std::string>& lines) {
  std::vector<std::string> of_root = heard.paths();
  const auto others = std::stable_partition(
      of_root.begin(), of_root.end(),
      [&](const std::string& path) { return !is_in_writable_bind(plan, path); });
  const std::vector<std::string> is_protected(others, of_root.end());
  of_root.erase(others, of_root.end());
  if (!is_protected.empty()) {
    lines.push_back(they_said(listed(is_protected, heard.has_more_paths())) +
                    ": what runs code outside later stays as it is while an agent runs");
  }
  if (plan.root.is_overlay() || (of_root.empty() && !is_protected.empty())) return;
  lines.push_back(they_said(listed(of_root, heard.has_more_paths())) +
                  ": --tmpfs PATH or --seed PATH allows that, and --learn-writes names all that it "
                  "would write");
}

// Whether a command failed for what may have been its root, where nobody has heard why. What the
// kernel refused is nobody's to count: an agent's calls for files are not watched. Where the policy
// blocked something that is the likelier reason.
bool may_be_the_root_why(const Plan& plan, const EndOfRun& end) {
  const bool has_failed = end.status >= 1 && end.status < timeout_status && !end.timed_out;
  const bool is_blocked = end.account.totals && !end.account.totals->denied.empty();
  return has_failed && !is_blocked && !end.was_heard && !plan.root.is_overlay() && !plan.proves;
}

}  // namespace

std::vector<std::string> tell_end(const Plan& plan, const EndOfRun& end) {
  std::vector<std::string> lines;
  if (!end.was_running) {
    if (!end.limit.empty()) lines.push_back("the agent did not start" + end.limit);
    return lines;
  }
  if (end.status != 0 && end.heard != nullptr && end.heard->has_heard()) {
    tell_what_was_heard(plan, *end.heard, lines);
  } else if (may_be_the_root_why(plan, end)) {
    lines.emplace_back(
        "where a read-only root is why it failed, --learn-writes names what it would write");
  }
  std::string summary = netns::end_line(plan.agent, end.account);
  if (end.timed_out) summary += ", ended by its --timeout";
  lines.push_back(summary + end.limit);
  return lines;
}

}  // namespace sluice::launcher
