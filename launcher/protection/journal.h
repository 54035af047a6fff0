// What a run's journal of placeholders says, as text: pure.
#pragma once

#include <sys/types.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "launcher/protection/names.h"

namespace sluice::launcher {

struct Placeholder {
  enum class State : std::uint8_t {
    intended,  // about to be made: whether it was is not known
    made,
    not_ours,  // somebody else made it meanwhile, or nobody could
  };
  State state = State::intended;
  StandIn kind = StandIn::directory;
  dev_t device = 0;  // made
  ino_t inode = 0;
  std::string path;
};

using FileId = std::pair<dev_t, ino_t>;

struct Journal {
  std::vector<FileId> sources;                      // directories that the run's agent may write to
  std::map<std::string, Placeholder> placeholders;  // by path, the last word on each
};

// One record each, to be appended; NUL ends it, for a path may hold every other byte.
std::string encode_source(const FileId& source);
std::string encode(const Placeholder& placeholder);

// Nothing for what is no journal; a record that was cut off at the end (a full disk) is left out.
std::optional<Journal> decode_journal(std::string_view bytes);

}  // namespace sluice::launcher
