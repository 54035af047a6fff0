#include "allowlists/read_limits.h"

#include <fmt/core.h>

#include <limits>

#include "allowlists/language.h"
#include "allowlists/read_value.h"
#include "base/units.h"

namespace sluice::allowlists {
namespace {

enum Key : std::size_t { connections, connects, upload, download, bandwidth };
constexpr auto keys = keys_of(limit_words);
static_assert(keys[bandwidth] == "bandwidth" && keys.size() == bandwidth + 1);

constexpr std::uint64_t smallest_amount = 1024;  // bytes: less could not carry one request
constexpr std::uint64_t largest_amount = std::uint64_t{1} << 50;

struct Split {
  std::string_view amount;
  std::string_view per;
};

// "50/s" -> 50 and s.
std::optional<Split> split(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  return Split{text.substr(0, slash), text.substr(slash + 1)};
}

std::optional<std::chrono::seconds> rate_period(std::string_view name) {
  if (name == "s") return std::chrono::seconds(1);
  if (name == "m") return std::chrono::minutes(1);
  if (name == "h") return std::chrono::hours(1);
  return std::nullopt;
}

std::optional<std::chrono::seconds> window(std::string_view name) {
  if (name == "minute") return std::chrono::minutes(1);
  if (name == "hour") return std::chrono::hours(1);
  if (name == "day") return std::chrono::hours(24);
  return std::nullopt;
}

std::optional<std::uint64_t> amount_of(std::string_view text) {
  const auto bytes = units::bytes(text);
  if (!bytes || *bytes < smallest_amount || *bytes > largest_amount) return std::nullopt;
  return bytes;
}

class LimitsReader {
 public:
  explicit LimitsReader(Reporter& report) : report_(report) {}

  std::optional<std::uint32_t> count(const Field& field) {
    return read_unquoted(field, "write it in decimal, without quotes: 256", count_of, report_);
  }
  std::optional<Rate> rate(const Field& field) {
    return read(field, "write 50/s, 600/m or 1000/h", [](std::string_view text) {
      std::optional<Rate> rate;
      const auto parts = split(text);
      const auto number = parts ? count_of(parts->amount) : std::nullopt;
      const auto period = parts ? rate_period(parts->per) : std::nullopt;
      if (number && period) rate = Rate{*number, *period};
      return rate;
    });
  }
  std::optional<Budget> budget(const Field& field) {
    return read(field, "write 1GiB/day, 100MiB/hour or 10MiB/minute; at least 1KiB",
                [](std::string_view text) {
                  std::optional<Budget> budget;
                  const auto parts = split(text);
                  const auto bytes = parts ? amount_of(parts->amount) : std::nullopt;
                  const auto period = parts ? window(parts->per) : std::nullopt;
                  if (bytes && period) budget = Budget{*bytes, *period};
                  return budget;
                });
  }
  std::optional<std::uint64_t> speed(const Field& field) {
    return read(field, "write 20MiB/s; at least 1KiB/s", [](std::string_view text) {
      const auto parts = split(text);
      return parts && parts->per == "s" ? amount_of(parts->amount) : std::nullopt;
    });
  }

 private:
  template <class Parse>
  auto read(const Field& field, std::string_view hint, Parse parse)
      -> decltype(parse(std::string_view())) {
    return read_value(field, hint, parse, report_);
  }

  Reporter& report_;
};

}  // namespace

Limits read_limits(const Field& limits, Reporter& report) {
  Limits read;
  if (!report.expect(YamlKind::mapping, limits, "write limits: {connections: 256}")) return read;
  const auto fields = report.fields(limits.value, keys);
  LimitsReader reader(report);
  if (fields[connections]) read.connections = reader.count(*fields[connections]);
  if (fields[connects]) read.connects = reader.rate(*fields[connects]);
  if (fields[upload]) read.upload = reader.budget(*fields[upload]);
  if (fields[download]) read.download = reader.budget(*fields[download]);
  if (fields[bandwidth]) read.bandwidth = reader.speed(*fields[bandwidth]);
  return read;
}

}  // namespace sluice::allowlists
