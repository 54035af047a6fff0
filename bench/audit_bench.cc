// What an audit line costs to write as text, and to keep for whoever asks for recent decisions.
#include <cstdlib>
#include <string>

#include "bench/run.h"
#include "metrics/audit_line.h"
#include "metrics/audit_queue.h"
#include "metrics/recent.h"

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

// What the thread that decides does for it: the rest is the audit thread's, which takes many at
// once.
void queue_request() {
  static const AuditLine of = request();
  static AuditQueue queue({});
  static std::size_t waiting = 0;
  if (!queue.put(of)) std::abort();
  if (++waiting < 512) return;
  AuditBatch batch;
  queue.take(batch);
  waiting = 0;
}

// Full: each line has to forget another.
Recent& full_ring() {
  static Recent recent;
  static const bool is_full = [] {
    const AuditLine of = request();
    const std::string json = to_json(of);
    for (std::size_t i = 0; i < Recent::most_lines; ++i) recent.add(of, json);
    return true;
  }();
  benchmark::DoNotOptimize(is_full);
  return recent;
}

void keep_recent_request() {
  static const AuditLine of = request();
  static const std::string json = to_json(of);
  full_ring().add(of, json);
}
// A denial is counted for /api/v1/top as well.
void keep_recent_denial() {
  static const AuditLine of = denial();
  static const std::string json = to_json(of);
  full_ring().add(of, json);
}
// The search for a host that is not there: each is a new one and takes a place from the rarest.
void keep_recent_search() {
  static const std::string json = to_json(denial());
  static AuditLine of = denial();
  static std::uint64_t number = 0;
  of.host = "h" + std::to_string(number++) + ".example.com";
  full_ring().add(of, json);
}

constexpr bench::Operation operations[] = {
    {"audit_tunnel", audit_tunnel},
    {"audit_request", audit_request},
    {"audit_denial", audit_denial},
    {"audit_hostile_request", audit_hostile_request},
    {"queue_request", queue_request},
    {"keep_recent_request", keep_recent_request},
    {"keep_recent_denial", keep_recent_denial},
    {"keep_recent_search", keep_recent_search},
};

}  // namespace
}  // namespace sluice::metrics

int main(int argc, char** argv) {
  return sluice::bench::run(sluice::metrics::operations, argc, argv);
}
