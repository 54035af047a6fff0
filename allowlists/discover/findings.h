// Collects which hosts a project's tools are configured for, and who could have written that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/discover/remote.h"
#include "base/strong.h"

namespace sluice::allowlists::discover {

// Who can have written what names a host.
enum class Trust : std::uint8_t {
  user,     // the operator or the system's administrator
  project,  // whoever writes in the project's directory, an agent included
};

// "~/.npmrc:3"; line 0: the whole file, or an environment variable.
struct Place {
  std::string file;
  int line = 0;
  Trust trust = Trust::project;

  // Printable, for a person.
  std::string to_string() const;
};

struct Finding {
  Remote remote;
  std::string_view tool;  // "npm registry": a constant
  Place place;
};

// What could not be read or obeyed. Never holds a value of a file: values hold credentials.
struct Warning {
  Place place;
  std::string what;
  std::string hint;
};

enum class Tool : std::uint8_t { npm, pip, cargo, go, maven };

class Findings {
 public:
  // Per trust, so that a project's files cannot crowd out the operator's.
  static constexpr std::size_t max_findings = 512;
  static constexpr std::size_t max_warnings = 64;

  // The same again is dropped.
  void add(Remote remote, std::string_view tool, const Place& place);
  // As add(), for text that should be a URL (git's other spellings too if `scp` says so); local
  // paths are passed over, what is no address of a host is a warning.
  void add_url(std::string_view url, std::string_view tool, const Place& place);
  void refuse(const NoRemote& why, std::string_view tool, const Place& place);
  void warn(const Place& place, std::string what, std::string hint = {});
  // A whole sentence for the reader; the same again is dropped.
  void note(std::string sentence);

  // That a configuration says which registry is used in place of the tool's own default.
  void replaces_default(Tool tool) { replaced_.insert(tool); }
  bool has_replaced_default(Tool tool) const { return replaced_.contains(tool); }

  const std::vector<Finding>& found() const noexcept { return found_; }
  const std::vector<Warning>& warnings() const noexcept { return warnings_; }
  const std::vector<std::string>& notes() const noexcept { return notes_; }
  std::size_t left_out(Trust trust) const { return left_out_[static_cast<std::size_t>(trust)]; }
  std::size_t warnings_left_out() const noexcept { return warnings_left_out_; }

 private:
  std::vector<Finding> found_;
  std::vector<Warning> warnings_;
  std::vector<std::string> notes_;
  std::set<std::string> known_;
  std::set<Tool> replaced_;
  std::size_t counts_[2] = {0, 0};
  std::size_t left_out_[2] = {0, 0};
  std::size_t warnings_left_out_ = 0;
};

}  // namespace sluice::allowlists::discover
