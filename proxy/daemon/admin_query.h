// What is behind the '?' of a question to /api/v1: read whole, refused whole.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "metrics/recent.h"

namespace sluice::proxy {

// `agent=NAME`, `verdict=allow|deny|report`, `limit=N`, each at most once; values may be
// percent-encoded (RFC 3986 2.1). An error says which keys there are.
struct DecisionQuery {
  static constexpr std::size_t largest_limit = 1000;

  metrics::Recent::Wanted wanted;
  std::optional<std::size_t> limit;  // 0 to largest_limit
};
Result<DecisionQuery> read_decision_query(std::string_view query);

// For a page that takes none.
Result<void> refuse_query(std::string_view path, std::string_view query);

}  // namespace sluice::proxy
