// Knows under which names strangers register theirs (the Public Suffix List).
#pragma once

#include <string>

namespace sluice::allowlists {

// For a canonical name: com, co.uk, github.io. A top-level domain that the list does not know
// counts as one, except those that nobody can register in: RFC 6761, RFC 6762 and ICANN's
// private-use "internal".
bool is_public_suffix(const std::string& name);

}  // namespace sluice::allowlists
