#include "launcher/commands/logs_audit.h"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <utility>

#include "allowlists/policy.h"
#include "allowlists/tools/audit_reader.h"
#include "base/io.h"
#include "base/text.h"
#include "launcher/audit_view/event_stream.h"
#include "launcher/audit_view/line.h"
#include "launcher/audit_view/line_file.h"
#include "launcher/plan/machine.h"
#include "launcher/sessions/admin_client.h"
#include "launcher/sessions/run_socket.h"
#include "launcher/sessions/run_status.h"
#include "launcher/top/sample.h"
#include "launcher/top/screen.h"

namespace sluice::launcher {
namespace {

constexpr int pause_ms = 100;

int fail_with(const Error& error) {
  tell({error});
  return 1;
}

// Takes lines, shows those that are wanted, and counts the others that are none.
class Shower {
 public:
  Shower(const AuditLogOptions& options, AuditFilter filter)
      : name_(options.file.value_or("")),
        filter_(std::move(filter)),
        as_json_(options.json),
        colour_(colour_of_stdout()) {}

  void take(std::optional<std::string_view> line) {
    ++counts_.lines;
    const auto text = line ? read_audit_line(*line) : std::nullopt;
    if (!text) return misunderstand();
    if (!filter_.wants(*text)) return;
    out_ += as_json_ ? as_it_is(*line) : coloured(columns_.line(*text), colour_);
    out_ += '\n';
  }

  Result<void> flush() {
    const std::string text = std::exchange(out_, {});
    return text.empty() ? Result<void>() : write_all(STDOUT_FILENO, "stdout", text);
  }

  const allowlists::AuditCounts& counts() const { return counts_; }

 private:
  // A terminal gets no byte that could steer it.
  static std::string as_it_is(std::string_view line) {
    return ::isatty(STDOUT_FILENO) == 1 ? ascii_json(line) : std::string(line);
  }

  void misunderstand() {
    if (counts_.not_understood++ > 0) return;
    const bool is_stdin = name_ == "-";
    counts_.first_not_understood =
        fmt::format("{}:{}", is_stdin ? "stdin" : text::printable(name_), counts_.lines);
  }

  const std::string name_;
  const AuditFilter filter_;
  const bool as_json_;
  const WithColour colour_;
  AuditColumns columns_;
  allowlists::AuditCounts counts_;
  std::string out_;
};

Result<void> show_file(const AuditLogOptions& options, Shower& shower) {
  auto file = LineFile::open(*options.file);
  if (!file) return Failure(file.error());
  const auto each = [&](std::optional<std::string_view> line) { shower.take(line); };
  for (;;) {
    const auto more = file->read(each);
    if (!more) return Failure(more.error());
    if (!*more && (!options.follow || file->is_stream())) break;
    if (auto done = shower.flush(); !done) return done;
    if (*more) continue;
    ::poll(nullptr, 0, pause_ms);
    if (auto gone_on = file->go_on(each); !gone_on) return gone_on;
  }
  file->end(each);
  return shower.flush();
}

// Where the agent's decisions are told: its own sluiced, or else the machine's.
Result<std::string> admin_socket_for(const std::string& agent) {
  if (!allowlists::is_agent_name(agent)) {
    return fail(Errc::bad_config, fmt::format("'{}' is no agent name", text::printable(agent)),
                "sluice ps lists the agents that you run");
  }
  const auto machine = survey_person();
  if (!machine) return Failure(machine.error());
  const auto own = run_socket_path(machine->runtime_directory, agent, admin_suffix);
  for (const std::string& path : {own, std::string(machine_admin_socket)}) {
    const auto connection = connect_socket(path);
    if (!connection) return Failure(connection.error());
    if (*connection) return path;
  }
  return fail(Errc::bad_config, fmt::format("no sluiced serves '{}'", agent),
              "sluice ps lists the agents that you run; --file reads an audit log");
}

Result<void> follow_decisions(const std::string& path, const std::string& target, Shower& shower) {
  const auto connection = connect_socket(path);
  if (!connection) return Failure(connection.error());
  if (!*connection) return {};  // it has just ended
  EventStream events(connection->get());
  if (auto begun = events.begin(target); !begun) return begun;
  for (;;) {
    const auto event = events.next();
    if (!event) return Failure(event.error());
    if (!*event) return {};
    if ((*event)->name == "decision") {
      shower.take((*event)->data);
    } else {
      fmt::print(stderr, "sluice: {}\n", missing_text(**event));
    }
    if (events.has_more()) continue;
    if (auto done = shower.flush(); !done) return done;
  }
}

Result<void> show_decisions(const AuditLogOptions& options, Shower& shower) {
  const auto path = admin_socket_for(options.agent);
  if (!path) return Failure(path.error());
  const std::string verdict = options.verdict.empty() ? "" : "&verdict=" + options.verdict;
  const std::string target =
      fmt::format("/api/v1/decisions?agent={}{}&limit=1000", options.agent, verdict);
  if (options.follow) return follow_decisions(*path, target, shower);
  const auto page = ask_admin(*path, target);
  if (!page) return Failure(page.error());
  Sample sample;
  if (*page) {
    if (auto added = add_decisions(sample, **page); !added) return added;
  }
  for (const TopDecision& one : sample.decisions) shower.take(one.json);
  return shower.flush();
}

}  // namespace

int show_audit(const AuditLogOptions& options) {
  AuditFilter filter{options.agent, options.verdict, ""};
  if (!options.since.empty()) {
    const auto since = since_text(options.since, now_ms());
    if (!since) {
      return refuse({Errc::bad_config,
                     fmt::format("'{}' is no time", text::printable(options.since)),
                     "--since 10m, or --since 2026-01-02T03:04 (UTC)", std::nullopt});
    }
    filter.since = *since;
  }
  Shower shower(options, std::move(filter));
  const auto shown = options.file ? show_file(options, shower) : show_decisions(options, shower);
  for (const std::string& note : allowlists::notes_on(shower.counts())) {
    fmt::print(stderr, "sluice: {}\n", note);
  }
  return shown ? 0 : fail_with(shown.error());
}

}  // namespace sluice::launcher
