// The ids that an ordinary user may give to his own namespaces: /etc/subuid and /etc/subgid.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::launcher {

// Two ranges of sub_id_count ids each. Inside they follow 0, which is the caller himself.
struct SubIds {
  uid_t first_uid = 0;
  gid_t first_gid = 0;
};
inline constexpr unsigned sub_id_count = 65535;

// The first range of subuid(5)'s `file` that is `user`'s or `uid`'s, by name or number, and long
// enough. One with the id 0, with `own`, or with the highest number, which is none, is passed over.
std::optional<std::uint32_t> find_range(std::string_view file, std::string_view user, uid_t uid,
                                        std::uint32_t own);

// newuidmap(1) or newgidmap(1): "" where it is not installed, or has not the rights that it needs
// (no_new_privs, a file system without setuid).
std::string map_program(std::string_view name);

// The calling user's. Nothing for root, and where a range or a program is missing.
std::optional<SubIds> find_sub_ids();

}  // namespace sluice::launcher
