// Reads YAML into a policy or a list of located errors.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "allowlists/compile.h"
#include "allowlists/policy.h"
#include "allowlists/policy_text.h"
#include "base/error.h"

namespace sluice::allowlists {

// One policy file: its name as it appears in errors and in Decision::rule, and its bytes.
struct Source {
  std::string name;
  std::string text;
};

struct ReadText {
  PolicyText text;
  std::vector<Error> warnings;
};

// All errors at once, in file order, each with its place and a hint. Never partly read.
tl::expected<ReadText, std::vector<Error>> read_text(std::span<const Source> sources);

struct Loaded {
  std::shared_ptr<const Policy> policy;
  std::vector<Error> warnings;
};

// read_text() and compile().
tl::expected<Loaded, std::vector<Error>> load(std::span<const Source> sources);

// A file, or every *.yaml and *.yml of a directory in name order. Names are relative to the
// policy's root: the file's own name, or the path below the directory. At most 50 MB together.
Result<std::vector<Source>> read_sources(const std::string& path);

}  // namespace sluice::allowlists
