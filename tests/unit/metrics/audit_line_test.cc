#include "metrics/audit_line.h"

#include <gtest/gtest.h>

#include "tests/unit/allowlists/allocations.h"

namespace sluice::metrics {
namespace {

AuditLine example() {
  AuditLine line;
  line.agent = "coder-1";
  line.session = "4f6d9c1e-12-34567";
  line.via = Via::http;
  line.host = "api.example.com";
  line.port = 80;
  line.rule = "policy.yaml:31";
  line.method = "GET";
  line.path = "/v1/items?page=2\"\x1b\xff\u202e";
  line.address = "203.0.113.7";
  line.bytes_down = 18446744073709551615U;
  return line;
}

TEST(AuditLine, TakesMemoryOnlyForItself) {
  const AuditLine line = example();
  std::size_t before = allocations();
  std::string text = to_json(line);
  EXPECT_EQ(allocations() - before, 1U);
  const std::size_t size = text.size();
  text.reserve(10 * size);
  before = allocations();
  for (int i = 0; i < 5; ++i) append_json(text, line);
  append_json(text, Gap{line.time, "coder-1", "lines_dropped", 7});
  EXPECT_EQ(allocations() - before, 0U);
  EXPECT_GT(text.size(), 6 * size);
}

}  // namespace
}  // namespace sluice::metrics
