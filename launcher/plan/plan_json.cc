#include "launcher/plan/plan_json.h"

#include <nlohmann/json.hpp>

#include "launcher/sandbox/steps.h"

namespace sluice::launcher {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const Mount& mount) {
  Json json;
  switch (mount.kind) {
    case Mount::Kind::bind:
      json = {{"kind", "bind"},
              {"path", mount.path},
              {"source", mount.source},
              {"access", mount.access == Access::read_write ? "read-write" : "read-only"}};
      break;
    case Mount::Kind::tmpfs:
      json = {{"kind", "tmpfs"},
              {"path", mount.path},
              {"access", "read-write"},
              {"bytes", mount.bytes}};
      break;
    case Mount::Kind::seed:
      json = {{"kind", "seed"},         {"path", mount.path},   {"source", mount.source},
              {"access", "read-write"}, {"bytes", mount.bytes}, {"without", mount.without}};
      break;
    case Mount::Kind::shadow:
      json = {{"kind", "shadow"}, {"path", mount.path}, {"access", "read-only"}};
      break;
  }
  json["required"] = mount.required;
  return json;
}

Json to_json(const PlannedPolicy& policy) {
  if (policy.shared) return {{"shared", *policy.shared}};
  Json json{{"path", nullptr}, {"allow", policy.allow}, {"report", policy.report}};
  if (!policy.path.empty()) json["path"] = policy.path;
  return json;
}

Json mounts_of(const Plan& plan) {
  Json json = Json::array();
  for (const Mount& mount : plan.mounts) json.push_back(to_json(mount));
  return json;
}

// Where what is written goes, and what holds it to its cap.
Json root_of(const Root& root) {
  Json json{{"source", root.source}, {"mode", root.is_overlay() ? "overlay" : "readonly"}};
  if (!root.is_overlay()) return json;
  json["bytes"] = root.bytes;
  json["cap"] = root.is_on_disk() ? "watched" : "enforced";
  json["directory"] = nullptr;
  if (root.is_on_disk()) json["directory"] = root.layers;
  return json;
}

Json files_of(const Plan& plan) {
  Json json = Json::array();
  for (const OwnFile& file : plan.files) json.push_back(file.path);
  return json;
}

Json environment_names(const Plan& plan) {
  Json json = Json::array();
  for (const std::string& entry : plan.environment)
    json.push_back(entry.substr(0, entry.find('=')));
  return json;
}

Json steps() {
  Json json = Json::array();
  for (const StepInfo& step : all_steps) json.push_back({{"name", step.name}, {"does", step.does}});
  return json;
}

}  // namespace

std::string to_json(const Plan& plan, const PlannedPolicy& policy) {
  const Json json{{"agent", plan.agent},         {"user", plan.user},
                  {"uid", plan.inside_uid},      {"gid", plan.inside_gid},
                  {"workspace", plan.workspace}, {"home", plan.home},
                  {"policy", to_json(policy)},   {"root", root_of(plan.root)},
                  {"mounts", mounts_of(plan)},   {"files", files_of(plan)},
                  {"masks", plan.masks},         {"environment", environment_names(plan)},
                  {"command", plan.command},     {"steps", steps()}};
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::launcher
