#include "launcher/commands/doctor.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "launcher/doctor/findings.h"
#include "launcher/doctor/look.h"
#include "launcher/doctor/report.h"

namespace sluice::launcher {
namespace {

int diagnose(AsJson as_json) {
  const auto findings = doctor::findings(doctor::look());
  fmt::print("{}", as_json ? doctor::to_json(findings) : doctor::to_table(findings));
  return doctor::can_run(findings) ? 0 : 1;
}

}  // namespace

void add_doctor(CLI::App& app, Action& chosen) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand(
      "doctor", "Says what this machine supports, what is missing, and what mends it");
  command->add_flag("--json", *json, "One JSON value");
  command->callback([&chosen, json] { chosen = [json] { return diagnose(AsJson(*json)); }; });
}

}  // namespace sluice::launcher
