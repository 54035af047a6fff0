#include "proxy/daemon/exec_line.h"

#include <string_view>

#include "base/text.h"

namespace sluice::proxy {
namespace {

void add_string(std::string& out, std::string_view value) {
  out += '"';
  text::append_json(out, value);
  out += '"';
}

// `key` is `,"name":`.
void add_text(std::string& out, std::string_view key, std::string_view value) {
  out += key;
  add_string(out, value);
}

void add_number(std::string& out, std::string_view key, std::optional<std::uint64_t> value) {
  out += key;
  if (value) {
    text::append_decimal(out, *value);
  } else {
    out += "null";
  }
}

void add_words(std::string& out, const std::vector<std::string>& words) {
  char before = '[';
  out += R"(,"argv":)";
  for (const std::string& word : words) {
    out += std::exchange(before, ',');
    add_string(out, word);
  }
  out += words.empty() ? "[]" : "]";
}

metrics::AuditLine line_of(const std::string& agent, metrics::Via via) {
  metrics::AuditLine line;
  line.agent = agent;
  line.via = via;
  line.verdict = Verdict::allow;  // else a flood would be taken for one of denials
  return line;
}

}  // namespace

metrics::AuditLine exec_line(const std::string& agent, const netns::SeenExec& exec) {
  metrics::AuditLine line = line_of(agent, metrics::Via::exec);
  std::string& out = line.members;
  add_text(out, R"(,"program":)", exec.program);
  add_words(out, exec.argv);
  if (exec.argv_cut) out += R"(,"argv_cut":true)";
  add_text(out, R"(,"cwd":)", exec.cwd);
  add_number(out, R"(,"pid":)", exec.pid);
  add_text(out, R"(,"parent":)", exec.parent);
  add_number(out, R"(,"parent_pid":)", exec.parent_pid);
  add_number(out, R"(,"ms":)", exec.ms);
  add_number(out, R"(,"exit_status":)", exec.exit_status);
  add_text(out, R"(,"error":)", exec.error);
  return line;
}

metrics::AuditLine execs_left_out_line(const std::string& agent, std::uint64_t count) {
  metrics::AuditLine line = line_of(agent, metrics::Via::event);
  add_text(line.members, R"(,"event":)", "execs_left_out");
  add_number(line.members, R"(,"count":)", count);
  return line;
}

}  // namespace sluice::proxy
