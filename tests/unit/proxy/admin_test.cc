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
  const std::string metrics = admin_response("GET", "/metrics?x=1", registry);
  EXPECT_THAT(
      metrics,
      StartsWith("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
  EXPECT_THAT(
      metrics,
      HasSubstr(
          "sluice_decisions_total{agent=\"coder-1\",verdict=\"deny\",reason=\"not_listed\"} 1"));
  EXPECT_THAT(admin_response("GET", "/healthz", registry), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/readyz", registry), StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(admin_response("GET", "/", registry), StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_THAT(admin_response("POST", "/metrics", registry),
              StartsWith("HTTP/1.1 405 Method Not Allowed\r\n"));
  EXPECT_THAT(admin_response("HEAD", "/healthz", registry), testing::EndsWith("\r\n\r\n"));
}

}  // namespace
}  // namespace sluice::proxy
