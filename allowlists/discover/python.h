// What pip's and uv's readers share.
#pragma once

#include "allowlists/discover/readers.h"

namespace sluice::allowlists::discover {

inline constexpr std::string_view pip_index = "pip index";
inline constexpr std::string_view uv_index = "uv index";

// Tables and keys of uv.toml, which stand below `depth` keys in pyproject.toml.
void add_uv_setting(Scan& scan, const Setting& setting, std::size_t depth, const Place& place);
void read_uv_file(Scan& scan, const std::optional<TextFile>& file);

}  // namespace sluice::allowlists::discover
