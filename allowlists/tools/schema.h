// The JSON Schema of policy files, for editors, made of the tables that the loader knows.
#pragma once

#include <string>

namespace sluice::allowlists {

// JSON Schema, draft 7, as indented text with a last newline; the same at each call. It refuses no
// file that the loader accepts, except texts that YAML reads as true, false or a number and that
// want quotes (`host: true`). What only the loader knows passes it: public suffixes, RE2's syntax,
// host bits of ranges, names of groups, overlapping patterns, keys that stand twice.
std::string policy_schema();

}  // namespace sluice::allowlists
