// Reads policy files, one after the other, into one policy's text.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "allowlists/compile.h"
#include "allowlists/reporter.h"

namespace sluice::allowlists {

class PolicyReader {
 public:
  PolicyReader(Problems& errors, Problems& warnings) : errors_(errors), warnings_(warnings) {}

  // `number`: of the file, for the order of the errors.
  void read(const Source& source, std::size_t number);
  // What holds between entries. After the last file.
  void finish();
  bool has_agents() const noexcept { return !entries_.empty(); }
  PolicyText take() { return std::move(text_); }

 private:
  struct Entry {
    std::size_t file = 0;
    Mark mark;
  };

  void read_version(const YamlValue& root, const std::optional<Field>& version, Reporter& report);
  void read_agents(const Field& agents, Reporter& report);
  void read_agent(const Field& agent, Reporter& report);
  void read_rules(const Field& list, Effect effect, std::vector<Rule>& rules, Reporter& report);
  bool add_entry(const Field& agent, Reporter& report);

  Problems& errors_;
  Problems& warnings_;
  PolicyText text_;
  std::string first_file_;
  std::vector<Entry> entries_;  // of text_.agents
  std::unordered_map<std::string, std::size_t> entry_of_;
};

}  // namespace sluice::allowlists
