#include "netns/containers/cni_reply.h"

namespace sluice::netns {
namespace {

using Json = nlohmann::json;

std::string to_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string add_result(const CniRequest& request) {
  if (!request.previous.is_null()) {
    Json result = request.previous;
    result["cniVersion"] = request.version;
    return to_line(result);
  }
  const Json interface {
    {"name", "lo"}, {"mac", "00:00:00:00:00:00"}, { "sandbox", request.netns }
  };
  return to_line({{"cniVersion", request.version},
                  {"interfaces", Json::array({interface})},
                  {"ips", Json::array({{{"address", "127.0.0.1/8"}, {"interface", 0}},
                                       {{"address", "::1/128"}, {"interface", 0}}})},
                  {"routes", Json::array()},
                  {"dns", Json::object()}});
}

std::string error_result(const CniError& error, const std::string& version) {
  return to_line({{"cniVersion", version},
                  {"code", static_cast<int>(error.code)},
                  {"msg", error.what},
                  {"details", error.hint}});
}

std::string version_result(const std::string& version) {
  return to_line({{"cniVersion", version}, {"supportedVersions", {"1.0.0", "1.1.0"}}});
}

}  // namespace sluice::netns
