#include "proxy/wire/date.h"

#include <array>
#include <string_view>

#include "base/text.h"

namespace sluice::proxy::wire {

std::string http_date(std::chrono::system_clock::time_point time) {
  std::string out;
  append_http_date(out, time);
  return out;
}

void append_http_date(std::string& out, std::chrono::system_clock::time_point time) {
  using std::chrono::days;
  using std::chrono::floor;
  using std::chrono::seconds;
  static constexpr std::array<std::string_view, 7> weekdays = {"Sun, ", "Mon, ", "Tue, ", "Wed, ",
                                                               "Thu, ", "Fri, ", "Sat, "};
  static constexpr std::array<std::string_view, 12> months = {" Jan ", " Feb ", " Mar ", " Apr ",
                                                              " May ", " Jun ", " Jul ", " Aug ",
                                                              " Sep ", " Oct ", " Nov ", " Dec "};
  const auto day = floor<days>(time);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(floor<seconds>(time - day));
  const auto digits = [&out](auto value, std::size_t count, std::string_view behind) {
    text::append_decimal(out, static_cast<std::uint64_t>(value), count);
    out += behind;
  };
  out += weekdays[std::chrono::weekday(day).c_encoding()];
  digits(unsigned(date.day()), 2, months[unsigned(date.month()) - 1]);
  digits(int(date.year()), 4, " ");
  digits(clock.hours().count(), 2, ":");
  digits(clock.minutes().count(), 2, ":");
  digits(clock.seconds().count(), 2, " GMT");
}

}  // namespace sluice::proxy::wire
