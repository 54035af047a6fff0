#include "proxy/daemon/admin.h"

#include <gmock/gmock.h>

namespace sluice::proxy {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(Admin, ServesMetricsAndHealthAndNothingElse) {
  metrics::Registry registry;
  const auto agent = registry.agent("coder-1");
  agent->decided(Verdict::deny, Reason::not_listed);
  const AdminPages pages{.registry = registry, .policy = nullptr};
  const std::string metrics = admin_response("GET", "/metrics?x=1", pages);
  EXPECT_THAT(
      metrics,
      StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(
      metrics,
      HasSubstr(
          "sluice_decisions_total{agent=\"coder-1\",verdict=\"deny\",reason=\"not_listed\"} 1"));
  EXPECT_THAT(admin_response("GET", "/healthz", pages), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/readyz", pages), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/", pages), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(admin_response("POST", "/metrics", pages),
              StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(admin_response("HEAD", "/healthz", pages), testing::EndsWith("\r\n\r\n"));
}

TEST(Admin, TellsThePolicyOnlyWhereItIsServed) {
  const metrics::Registry registry;
  const AdminPages for_all{.registry = registry, .policy = nullptr};
  EXPECT_EQ(admin_response("GET", "/api/v1/policy", for_all),
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 41\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
            "there are /metrics, /healthz and /readyz\n");
  const AdminPages for_operators{.registry = registry, .policy = [] { return "{}\n"; }};
  EXPECT_EQ(admin_response("GET", "/api/v1/policy?x", for_operators),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n{}\n");
}

}  // namespace
}  // namespace sluice::proxy
