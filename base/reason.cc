#include "base/reason.h"

namespace sluice {
namespace {

constexpr std::array<std::string_view, reason_count> names = {"listed",
                                                              "listed_cidr",
                                                              "reported",
                                                              "not_listed",
                                                              "denied",
                                                              "never",
                                                              "port_not_allowed",
                                                              "unknown_agent",
                                                              "request_not_allowed",
                                                              "policy_changed",
                                                              "address_forbidden",
                                                              "address_private",
                                                              "auth_required",
                                                              "bad_request",
                                                              "bad_host",
                                                              "scheme_not_allowed",
                                                              "sni_mismatch",
                                                              "sni_missing",
                                                              "not_tls",
                                                              "ech_present",
                                                              "host_mismatch",
                                                              "proxy_loop",
                                                              "connection_limit",
                                                              "rate_limit",
                                                              "upload_budget",
                                                              "download_budget",
                                                              "header_too_large",
                                                              "deadline",
                                                              "dns_failed",
                                                              "dns_timeout",
                                                              "connect_refused",
                                                              "connect_timeout",
                                                              "unreachable",
                                                              "origin_tls_failed",
                                                              "internal"};
static_assert(!names.back().empty());

}  // namespace

std::string_view reason_name(Reason reason) noexcept {
  return names[static_cast<std::size_t>(reason)];
}

std::string_view verdict_name(Verdict verdict) noexcept {
  switch (verdict) {
    case Verdict::allow:
      return "allow";
    case Verdict::report:
      return "report";
    case Verdict::deny:
      break;
  }
  return "deny";
}

}  // namespace sluice
