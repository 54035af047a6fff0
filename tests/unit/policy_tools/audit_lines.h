// Audit lines as sluiced writes them, for the tests of what reads them.
#pragma once

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/load.h"
#include "allowlists/tools/audit_reader.h"
#include "base/text.h"

namespace sluice::allowlists {

struct Wrote {
  std::string agent = "coder-1";
  std::string via = "connect";
  std::string host;
  std::uint16_t port = 443;
  std::string verdict = "allow";
  std::string reason = "listed";
  std::string would_deny;
  std::string rule = "policy.yaml:4";
  std::string address;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::string sni;
};

inline std::string quoted(std::string_view key, std::string_view value) {
  std::string out = fmt::format("\"{}\":\"", key);
  text::append_json(out, value);
  return out + "\",";
}

inline std::string line(const Wrote& wrote) {
  std::string out = R"({"ts":"2026-01-02T03:04:05.678Z",)";
  out += quoted("agent", wrote.agent) + quoted("session", "s1") + quoted("via", wrote.via);
  out += quoted("host", wrote.host) + fmt::format("\"port\":{},", wrote.port);
  out += quoted("verdict", wrote.verdict) + quoted("reason", wrote.reason);
  out += quoted("would_deny", wrote.would_deny) + quoted("rule", wrote.rule);
  if (!wrote.address.empty()) out += quoted("address", wrote.address);
  out += fmt::format(R"("bytes_up":{},"bytes_down":{},"ms":7,)", wrote.bytes_up, wrote.bytes_down);
  if (!wrote.sni.empty()) out += quoted("sni", wrote.sni);
  return out + R"("error":""})";
}

inline Wrote refused(std::string host, std::string reason, std::uint16_t port = 443) {
  return {.host = std::move(host),
          .port = port,
          .verdict = "deny",
          .reason = std::move(reason),
          .rule = "default"};
}

inline Wrote asked_in_dns(std::string host, std::string reason = "not_listed") {
  Wrote wrote = refused(std::move(host), std::move(reason), 0);
  wrote.via = "dns";
  return wrote;
}

// Gives each of `lines` to `tool`, which may fail.
template <class Tool>
Result<void> feed(Tool& tool, const std::vector<Wrote>& lines) {
  AuditLine parsed;
  for (const Wrote& wrote : lines) {
    const std::string text = line(wrote);
    EXPECT_EQ(parsed.parse(text), AuditLine::Kind::decision) << text;
    if (auto added = tool.add(parsed.decision()); !added) return added;
  }
  return {};
}

inline std::shared_ptr<const Policy> policy_of(const std::string& yaml) {
  const std::vector<Source> sources = {{"new.yaml", yaml}};
  const auto loaded = load(sources);
  if (!loaded) {
    for (const Error& error : loaded.error()) ADD_FAILURE() << to_string(error) << '\n' << yaml;
    return empty_policy();
  }
  return loaded->policy;
}

}  // namespace sluice::allowlists
