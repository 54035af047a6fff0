// What an audit line costs to write as text.
#include <string>

#include "bench/run.h"
#include "metrics/audit_line.h"

namespace sluice::metrics {
namespace {

AuditLine line() {
  using namespace std::chrono_literals;
  AuditLine line;
  line.time = std::chrono::system_clock::time_point(1767323045678ms);
  line.agent = "coder-1";
  line.session = "4f6d9c1e-12-34567";
  line.host = "api.example.com";
  line.port = 443;
  line.rule = "policy.yaml:31";
  return line;
}

AuditLine tunnel() {
  AuditLine allowed = line();
  allowed.via = Via::connect;
  allowed.verdict = Verdict::allow;
  allowed.reason = Reason::listed;
  allowed.address = "203.0.113.7";
  allowed.bytes_up = 1234;
  allowed.bytes_down = 567890;
  allowed.duration = std::chrono::milliseconds(87);
  allowed.sni = "api.example.com";
  return allowed;
}

AuditLine request() {
  AuditLine allowed = tunnel();
  allowed.via = Via::http;
  allowed.port = 80;
  allowed.method = "GET";
  allowed.path = "/v1/items?page=2&order=descending&fields=name,size,date";
  allowed.sni.clear();
  return allowed;
}

AuditLine denial() {
  AuditLine denied = line();
  denied.via = Via::connect;
  denied.verdict = Verdict::deny;
  denied.reason = Reason::not_listed;
  denied.rule = "default";
  return denied;
}

AuditLine hostile() {
  AuditLine odd = request();
  odd.path = "/\"},\n{\"verdict\":\"allow\"\x1b[2J\xff\xe2\x80\xae\\caf\xc3\xa9";
  return odd;
}

void audit_tunnel() {
  static const AuditLine of = tunnel();
  benchmark::DoNotOptimize(to_json(of));
}
void audit_request() {
  static const AuditLine of = request();
  benchmark::DoNotOptimize(to_json(of));
}
void audit_denial() {
  static const AuditLine of = denial();
  benchmark::DoNotOptimize(to_json(of));
}
void audit_hostile_request() {
  static const AuditLine of = hostile();
  benchmark::DoNotOptimize(to_json(of));
}

constexpr bench::Operation operations[] = {
    {"audit_tunnel", audit_tunnel},
    {"audit_request", audit_request},
    {"audit_denial", audit_denial},
    {"audit_hostile_request", audit_hostile_request},
};

}  // namespace
}  // namespace sluice::metrics

int main(int argc, char** argv) {
  return sluice::bench::run(sluice::metrics::operations, argc, argv);
}
