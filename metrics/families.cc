#include "metrics/families.h"

#include <prometheus/text_serializer.h>

#include <sstream>
#include <utility>

namespace sluice::metrics {

void Families::begin(Type type, const Head& head) {
  prometheus::MetricFamily family;
  family.name = head.name;
  family.help = head.help;
  family.type =
      type == Type::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
  families_.push_back(std::move(family));
}

void Families::value(double number, Labels labels) {
  prometheus::ClientMetric metric;
  for (const Label& label : labels) {
    metric.label.push_back({std::string(label.name), std::string(label.value)});
  }
  prometheus::MetricFamily& family = families_.back();
  const bool counts = family.type == prometheus::MetricType::Counter;
  (counts ? metric.counter.value : metric.gauge.value) = number;
  family.metric.push_back(std::move(metric));
}

std::string Families::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_);
  return std::move(out).str();
}

}  // namespace sluice::metrics
