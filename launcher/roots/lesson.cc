#include "launcher/roots/lesson.h"

#include <fmt/core.h>
#include <fts.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/text.h"
#include "launcher/options.h"
#include "launcher/plan/limits.h"
#include "launcher/sandbox/private_files.h"
#include "launcher/sandbox/tmpfs_need.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

// A file or directory that the agent may not read in its own right: it is not copied.
bool is_private(const FTSENT& entry) {
  const bool is_directory = entry.fts_info == FTS_D;
  const mode_t needed = is_directory ? S_IROTH | S_IXOTH : S_IROTH;
  return (entry.fts_statp->st_mode & needed) != needed;
}

void count(const FTSENT& entry, TmpfsNeed& need) {
  const struct stat& status = *entry.fts_statp;
  if (entry.fts_info == FTS_SL) {
    need.add_link(static_cast<std::uint64_t>(status.st_size));
    return;
  }
  need.add_entry();
  if (entry.fts_info != FTS_F) return;
  need.add_data(0, static_cast<std::uint64_t>(std::min(status.st_size, status.st_blocks * 512)));
}

// Looks at directories of a root; at no more of them together than an upper layer may have.
class RootLook {
 public:
  explicit RootLook(const Root& root) : root_(root) {}

  // A caller that is root gives its agent what everybody may read and no more.
  Existing operator()(const std::string& directory) {
    if (root_.is_host() && is_always_hidden(directory)) return {};
    std::string top = (root_.is_host() ? "" : root_.source) + directory;
    char* const tops[] = {top.data(), nullptr};
    const std::unique_ptr<FTS, int (*)(FTS*)> walk(
        ::fts_open(tops, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr), &::fts_close);
    TmpfsNeed need;
    while (FTSENT* entry = walk ? ::fts_read(walk.get()) : nullptr) {
      if (left_ == 0) return {need.entries(), need.bytes(), true};
      --left_;
      if (!is_counted(*entry)) {
        ::fts_set(walk.get(), entry, FTS_SKIP);
        continue;
      }
      if (entry->fts_level > 0) count(*entry, need);
      if (need.bytes() > default_tmpfs_bytes) return {need.entries(), need.bytes(), true};
    }
    return {need.entries() - 1, need.entries() > 1 ? need.bytes() : 0, false};
  }

  bool saw_all() const { return left_ > 0; }

 private:
  bool is_counted(const FTSENT& entry) const {
    const bool is_link = entry.fts_info == FTS_SL;
    if (!is_link && entry.fts_info != FTS_F && entry.fts_info != FTS_D) return false;
    return is_link || !is_strangers_ || !is_private(entry);
  }

  const Root& root_;
  const bool is_strangers_ = ::geteuid() == 0;
  std::size_t left_ = most_changes;
};

std::string counted(std::uint64_t number, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", number, number == 1 ? one : many);
}

std::string sentence_of(const Written& written) {
  std::string text = fmt::format("  {}: ", text::printable(written.directory));
  if (written.entries == 0 && written.deletions == 0) return text + "nothing that is left";
  text += fmt::format("{}, {}", counted(written.files, "file", "files"),
                      counted(written.bytes, "byte", "bytes"));
  if (written.deletions == 0) return text;
  return text + fmt::format(", {}", counted(written.deletions, "deletion", "deletions"));
}

// "16MiB"
std::string size_of(std::uint64_t bytes) {
  std::string text = size_in_words(bytes);
  text.erase(std::remove(text.begin(), text.end(), ' '), text.end());
  return text;
}

std::string option_of(const Allowance& allowance) {
  return allowance.kind == Allowance::Kind::seed ? "--seed" : "--tmpfs";
}

std::string value_of(const Allowance& allowance) {
  return fmt::format("{}:{}", allowance.path, size_of(allowance.bytes));
}

bool is_plain(std::string_view word) {
  return std::all_of(word.begin(), word.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           std::string_view("/._+-:").find(c) != std::string_view::npos;
  });
}

std::string for_a_shell(const std::string& word) {
  if (is_plain(word)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

// A double-quoted scalar takes what a JSON string takes (YAML 1.2).
std::string for_yaml(const std::string& word) {
  if (is_plain(word)) return word;
  std::string quoted = "\"";
  text::append_json(quoted, word);
  return quoted + "\"";
}

std::string options_of(const std::vector<Allowance>& allow) {
  std::string line = " ";
  for (const Allowance& one : allow) {
    line += fmt::format(" {} {}", option_of(one), for_a_shell(value_of(one)));
  }
  return line;
}

void add_policy(const std::vector<Allowance>& allow, std::vector<std::string>& lines) {
  const auto add = [&](Allowance::Kind kind, const char* key, auto line_of) {
    bool is_first = true;
    for (const Allowance& one : allow) {
      if (one.kind != kind) continue;
      if (std::exchange(is_first, false)) lines.push_back(fmt::format("      {}:", key));
      lines.push_back("        " + line_of(one));
    }
  };
  lines.emplace_back("    sandbox:");
  add(Allowance::Kind::tmpfs, "tmpfs", [](const Allowance& one) {
    return fmt::format("{}: {}", for_yaml(one.path), size_of(one.bytes));
  });
  add(Allowance::Kind::seed, "seed",
      [](const Allowance& one) { return "- " + for_yaml(value_of(one)); });
}

void add_warnings(const Lesson& lesson, std::vector<std::string>& lines) {
  for (const Allowance& one : lesson.advice.allow) {
    if (!one.hides) continue;
    lines.push_back(fmt::format(
        "  {} is empty then: what the root has there is too much to copy; --root-mode overlay "
        "shows it",
        text::printable(one.path)));
  }
  for (const NotAllowed& one : lesson.advice.cannot) {
    lines.push_back(fmt::format("no option allows '{}': {}; --root-mode overlay does",
                                text::printable(one.path), one.why));
  }
  if (lesson.advice.has_other_owners) {
    lines.emplace_back(
        "some of it belongs to other ids than the agent's: changes of owner need --root-mode "
        "overlay");
  }
  if (lesson.status == 0) return;
  lines.push_back(
      fmt::format("it ended with status {}: it may write more when it goes on", lesson.status));
}

void add_untold(const Advice& advice, std::vector<std::string>& lines) {
  if (const Untold& untold = advice.untold; untold.places > 0) {
    lines.push_back(fmt::format("  and {}: {}, {}, {}; no option below is for them",
                                counted(untold.places, "smaller directory", "smaller directories"),
                                counted(untold.files, "file", "files"),
                                counted(untold.bytes, "byte", "bytes"),
                                counted(untold.deletions, "deletion", "deletions")));
  }
  if (advice.unseen.empty()) return;
  lines.push_back("not everything was looked at, so that it needs more than is named here: " +
                  advice.unseen);
}

Json written_of(const Advice& advice) {
  Json list = Json::array();
  for (const Written& one : advice.written) {
    list.push_back({{"path", one.directory},
                    {"files", one.files},
                    {"bytes", one.bytes},
                    {"deletions", one.deletions}});
  }
  return list;
}

Json allowed_of(const Advice& advice) {
  Json list = Json::array();
  for (const Allowance& one : advice.allow) {
    list.push_back({{"kind", one.kind == Allowance::Kind::seed ? "seed" : "tmpfs"},
                    {"path", one.path},
                    {"bytes", one.bytes},
                    {"hides", one.hides}});
  }
  return list;
}

}  // namespace

Result<Advice> learn(int changes, const Root& root) {
  auto tree = look_at_written(changes, root, own_files_of_a_read_only_root());
  if (!tree) return Failure(tree.error());
  RootLook look(root);
  Advice advice = advise(std::move(*tree), root, std::ref(look));
  if (!look.saw_all() && advice.unseen.empty()) {
    advice.unseen =
        fmt::format("the root has more than {} files and directories where it wrote", most_changes);
  }
  return advice;
}

std::vector<std::string> in_lines(const Lesson& lesson) {
  const Advice& advice = lesson.advice;
  const std::string who = fmt::format(
      "'{}' and what it started", lesson.command.empty() ? "" : text::printable(lesson.command[0]));
  std::vector<std::string> lines;
  if (advice.written.empty()) {
    lines.push_back(who +
                    ": nothing was written outside of the workspace that a read-only root forbids");
  } else {
    lines.push_back(who + " wrote outside of the workspace:");
  }
  for (const Written& one : advice.written) lines.push_back(sentence_of(one));
  add_untold(advice, lines);
  if (!advice.allow.empty()) {
    lines.emplace_back("under a read-only root these options allow it:");
    lines.push_back(options_of(advice.allow));
    lines.emplace_back("or, for the agent in the policy:");
    add_policy(advice.allow, lines);
  }
  add_warnings(lesson, lines);
  return lines;
}

std::string to_json(const Lesson& lesson) {
  Json cannot = Json::array();
  for (const NotAllowed& one : lesson.advice.cannot) {
    cannot.push_back({{"path", one.path}, {"why", one.why}});
  }
  Json options = Json::array();
  for (const Allowance& one : lesson.advice.allow) {
    options.push_back(option_of(one));
    options.push_back(value_of(one));
  }
  const Json json{{"command", lesson.command},
                  {"status", lesson.status},
                  {"written", written_of(lesson.advice)},
                  {"left_out", lesson.advice.untold.places},
                  {"unseen", lesson.advice.unseen},
                  {"allow", allowed_of(lesson.advice)},
                  {"options", options},
                  {"cannot", cannot},
                  {"other_owners", lesson.advice.has_other_owners}};
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace sluice::launcher
