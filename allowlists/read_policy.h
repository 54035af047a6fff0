// Reads policy files, one after the other, into one policy's text.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "allowlists/policy_text.h"
#include "allowlists/read_rule.h"
#include "allowlists/reporter.h"

namespace sluice::allowlists {

class PolicyReader {
 public:
  PolicyReader(Problems& errors, Problems& warnings) : errors_(errors), warnings_(warnings) {}

  // `number`: of the file, for the order of the errors.
  void read(const Source& source, std::size_t number);
  // What holds between entries and between files. After the last file.
  void finish();
  bool has_agents() const noexcept { return !entries_.empty(); }
  PolicyText take() { return std::move(text_); }

 private:
  // Where something stands, for errors found after its file was read.
  struct Place {
    std::size_t file = 0;
    Mark mark;
  };
  struct Use {
    std::string name;  // "group:NAME" or "preset:NAME"
    Place place;
  };
  struct Entry {
    Place place;
    std::vector<Use> uses;
  };
  struct SharedRules {
    std::vector<Rule> rules;
    Place place;
    bool used = false;
  };

  void read_version(const YamlValue& root, const std::optional<Field>& version, Reporter& report);
  void read_groups(const Field& groups, Reporter& report);
  void read_group(const Field& group, Reporter& report);
  void read_agents(const Field& agents, Reporter& report);
  void read_agent(const Field& agent, Reporter& report);
  void read_mode(const Field& mode, AgentEntry& entry, Reporter& report);
  void read_uses(const Field& list, std::vector<Use>& uses, Reporter& report);
  void read_lists(const Field* allow, const Field* deny, std::vector<Rule>& rules,
                  Reporter& report);
  void read_rules(const Field& list, Effect effect, std::vector<Rule>& rules, Reporter& report);
  bool add_entry(const Field& agent, Reporter& report);

  void error(const Place& place, std::string what, std::string hint);
  // The rules of a group or preset; null, and an error, where there is none.
  const std::vector<Rule>* find_shared(const Use& use);
  SharedRules* find_preset_rules(const std::string& name);
  void expand_uses();
  void check_regexes(const std::vector<Rule>& rules, std::string_view whose, const Place& where);
  void check_groups();
  void check_globs();

  Problems& errors_;
  Problems& warnings_;
  PolicyText text_;
  std::vector<Entry> entries_;  // of text_.agents
  std::unordered_map<std::string, std::size_t> entry_of_;
  std::unordered_map<std::string, SharedRules> shared_;  // by "group:NAME" and "preset:NAME"
  std::vector<std::string> group_names_;
  RegexSizes regexes_;
};

}  // namespace sluice::allowlists
