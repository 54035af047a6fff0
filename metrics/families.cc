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

void Families::histogram(const Head& head, const Histogram& durations) {
  const auto seconds = [](std::chrono::nanoseconds time) {
    return std::chrono::duration<double>(time).count();
  };
  const Histogram::Seen seen = durations.seen();
  prometheus::ClientMetric metric;
  metric.histogram.sample_count = seen.count;
  metric.histogram.sample_sum = seconds(seen.sum);
  for (std::size_t i = 0; i < durations.bounds().size(); ++i) {
    metric.histogram.bucket.push_back({seen.at_most[i], seconds(durations.bounds()[i])});
  }
  prometheus::MetricFamily family;
  family.name = head.name;
  family.help = head.help;
  family.type = prometheus::MetricType::Histogram;
  family.metric.push_back(std::move(metric));
  families_.push_back(std::move(family));
}

std::string Families::text() const {
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_);
  return std::move(out).str();
}

}  // namespace sluice::metrics
