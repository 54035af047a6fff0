#include "proxy/daemon/admin_query.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "allowlists/policy.h"
#include "base/text.h"

namespace sluice::proxy {
namespace {

constexpr std::string_view keys_hint = "there are agent=, verdict= and limit=";

Failure refused(std::string what, std::string hint) {
  return fail(Errc::bad_config, std::move(what), std::move(hint));
}

std::optional<char> decoded(std::string_view hex) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
  if (hex.size() != 2 || error != std::errc() || end != hex.data() + hex.size()) return {};
  return static_cast<char>(value);
}

Result<std::string> decode(std::string_view value) {
  std::string out;
  for (; !value.empty(); value.remove_prefix(1)) {
    if (value.front() != '%') {
      out += value.front();
      continue;
    }
    const auto byte = decoded(value.substr(1, 2));
    if (!byte) return refused("a '%' without two hexadecimal digits", "write '%25' for '%'");
    out += *byte;
    value.remove_prefix(2);
  }
  return out;
}

Result<void> set_agent(DecisionQuery& query, const std::string& value) {
  const bool may_be = value.starts_with('(') || allowlists::is_agent_name(value);
  if (!may_be) {
    return refused(fmt::format("'{}' is no agent name", text::printable(value)),
                   "/api/v1/agents lists them");
  }
  query.wanted.agent = value;
  return {};
}

Result<void> set_verdict(DecisionQuery& query, const std::string& value) {
  for (const Verdict verdict : {Verdict::allow, Verdict::deny, Verdict::report}) {
    if (value == verdict_name(verdict)) query.wanted.verdict = verdict;
  }
  if (query.wanted.verdict) return {};
  return refused(fmt::format("'{}' is no verdict", text::printable(value)),
                 "allow, deny or report");
}

Result<void> set_limit(DecisionQuery& query, const std::string& value) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc() || end != value.data() + value.size() ||
      number > DecisionQuery::largest_limit) {
    return refused(fmt::format("'{}' is no limit", text::printable(value)),
                   fmt::format("a number from 0 to {}", DecisionQuery::largest_limit));
  }
  query.limit = number;
  return {};
}

Result<void> set(DecisionQuery& query, std::string_view key, const std::string& value) {
  if (key == "agent") return set_agent(query, value);
  if (key == "verdict") return set_verdict(query, value);
  if (key == "limit") return set_limit(query, value);
  return refused(fmt::format("there is no '{}' to ask by", text::printable(key)),
                 std::string(keys_hint));
}

}  // namespace

Result<DecisionQuery> read_decision_query(std::string_view query) {
  DecisionQuery read;
  std::vector<std::string_view> seen;
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    const std::size_t equals = std::min(part.find('='), part.size());
    const std::string_view key = part.substr(0, equals);
    if (std::ranges::find(seen, key) != seen.end()) {
      return refused(fmt::format("'{}' is there twice", text::printable(key)), "ask one at a time");
    }
    seen.push_back(key);
    const auto value = decode(part.substr(std::min(equals + 1, part.size())));
    if (!value) return Failure(value.error());
    if (auto done = set(read, key, *value); !done) return Failure(done.error());
  }
  return read;
}

Result<void> refuse_query(std::string_view path, std::string_view query) {
  if (query.empty()) return {};
  return refused(fmt::format("{} takes nothing behind '?'", path), "ask without it");
}

}  // namespace sluice::proxy
