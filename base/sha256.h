// SHA-256, for names and digests that must not meet however their text was chosen.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice {

// FIPS 180-4; the first `digits` (at most 64) of its lower case hexadecimal form.
std::string sha256_hex(std::string_view bytes, std::size_t digits = 64);

}  // namespace sluice
