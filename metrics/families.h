// Metric families that are few: as prometheus-cpp writes them.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <string_view>
#include <vector>

#include "metrics/exposition.h"
#include "metrics/histogram.h"

namespace sluice::metrics {

// The interface of Page. Its text is built of objects and streams, which is dear for what there is
// of every agent: a thousand agents take 0.1 s instead of 0.02.
class Families {
 public:
  using Type = Page::Type;
  using Head = Page::Head;
  using Labels = Page::Labels;

  void begin(Type type, const Head& head);
  // Of the family that was begun last.
  void value(double number, Labels labels = {});

  void counter(const Head& head, double number) {
    begin(Type::counter, head);
    value(number);
  }
  void gauge(const Head& head, double number) {
    begin(Type::gauge, head);
    value(number);
  }

  void histogram(const Head& head, const Histogram& durations);

  std::string text() const;

 private:
  std::vector<prometheus::MetricFamily> families_;
};

}  // namespace sluice::metrics
