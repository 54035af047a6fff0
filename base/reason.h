// Why a connection was allowed, denied or failed: the one vocabulary of wire, audit, metric and
// explain.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace sluice {

enum class Verdict : std::uint8_t { deny, allow, report };

// In the order of the documentation. Names are a contract (reason_name); numbers are not.
enum class Reason : std::uint8_t {
  // allowed
  listed,
  listed_cidr,
  reported,
  // denied by policy
  not_listed,
  denied,
  never,
  port_not_allowed,
  unknown_agent,
  request_not_allowed,
  policy_changed,
  address_forbidden,
  address_private,
  auth_required,
  // denied by form
  bad_request,
  bad_host,
  scheme_not_allowed,
  sni_mismatch,
  sni_missing,
  not_tls,
  ech_present,
  host_mismatch,
  proxy_loop,
  // denied by limit
  connection_limit,
  rate_limit,
  upload_budget,
  download_budget,
  header_too_large,
  deadline,
  // not denied: failed
  dns_failed,
  dns_timeout,
  connect_refused,
  connect_timeout,
  unreachable,
  origin_tls_failed,
  internal,
};

inline constexpr std::size_t reason_count = static_cast<std::size_t>(Reason::internal) + 1;

std::string_view reason_name(Reason reason) noexcept;
std::string_view verdict_name(Verdict verdict) noexcept;

// True for the last group: the policy allowed it and the network or sluiced itself did not deliver.
constexpr bool is_failure(Reason reason) noexcept { return reason >= Reason::dns_failed; }
constexpr bool is_allowed(Reason reason) noexcept { return reason <= Reason::reported; }

}  // namespace sluice
