#include "launcher/doctor/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/text.h"

namespace sluice::launcher::doctor {
namespace {

using Json = nlohmann::ordered_json;

std::string last_line(const std::vector<Finding>& findings) {
  if (can_run(findings)) return "'sluice run' works here\n";
  std::vector<std::string> names;
  for (const Finding& finding : findings) {
    if (finding.required && finding.state == State::missing) names.push_back(finding.name);
  }
  return fmt::format("'sluice run' does not work here: {}\n", fmt::join(names, ", "));
}

}  // namespace

std::string to_table(const std::vector<Finding>& findings) {
  std::size_t width = 0;
  for (const Finding& finding : findings) width = std::max(width, finding.name.size());
  constexpr std::size_t state_width = 7;
  std::string table;
  for (const Finding& finding : findings) {
    // Paths and names of users are in them.
    table += fmt::format("{:<{}}  {:<{}}  {}\n", finding.name, width, to_string(finding.state),
                         state_width, text::printable(finding.means));
    if (finding.mend.empty()) continue;
    table +=
        fmt::format("{:{}}mend: {}\n", "", width + state_width + 4, text::printable(finding.mend));
  }
  return table + "\n" + last_line(findings);
}

std::string to_json(const std::vector<Finding>& findings) {
  Json all = Json::array();
  for (const Finding& finding : findings) {
    all.push_back({{"name", finding.name},
                   {"state", to_string(finding.state)},
                   {"means", finding.means},
                   {"mend", finding.mend}});
  }
  return all.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::launcher::doctor
