#include "base/reason.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace sluice {
namespace {

TEST(Reason, NamesAreTheOnesOfTheDocumentationInItsOrder) {
  std::string all;
  for (std::size_t i = 0; i < reason_count; ++i) {
    all += std::string(reason_name(static_cast<Reason>(i))) + ' ';
  }
  EXPECT_EQ(all,
            "listed listed_cidr reported "
            "not_listed denied never port_not_allowed unknown_agent request_not_allowed "
            "policy_changed address_forbidden address_private auth_required "
            "bad_request bad_host scheme_not_allowed sni_mismatch sni_missing not_tls ech_present "
            "host_mismatch proxy_loop "
            "connection_limit rate_limit upload_budget download_budget header_too_large deadline "
            "dns_failed dns_timeout connect_refused connect_timeout unreachable origin_tls_failed "
            "internal ");
}

TEST(Reason, IsAllowedOrAFailureOrNeither) {
  EXPECT_TRUE(is_allowed(Reason::listed));
  EXPECT_TRUE(is_allowed(Reason::reported));
  EXPECT_FALSE(is_allowed(Reason::not_listed));
  EXPECT_FALSE(is_failure(Reason::deadline));
  EXPECT_TRUE(is_failure(Reason::dns_failed));
  EXPECT_TRUE(is_failure(Reason::internal));
}

TEST(Verdict, HasAName) {
  EXPECT_EQ(verdict_name(Verdict::allow), "allow");
  EXPECT_EQ(verdict_name(Verdict::deny), "deny");
  EXPECT_EQ(verdict_name(Verdict::report), "report");
}

}  // namespace
}  // namespace sluice
