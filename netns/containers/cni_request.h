// What a container runtime asks of a CNI plugin: environment and configuration, checked as the
// specification (1.0.0, 1.1.0) demands.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.h"
#include "netns/containers/chained.h"

namespace sluice::netns {

// An answer of the plugin that is an error; codes below 100 are the specification's.
struct CniError {
  enum Code : std::uint8_t {
    incompatible_version = 1,
    unsupported_field = 2,
    unknown_container = 3,
    invalid_environment = 4,
    io_failure = 5,
    decoding_failure = 6,
    invalid_config = 7,
    try_again_later = 11,
    not_available = 50,
    limited_connectivity = 51,
    refused = 100,
    bug = 101,
  };
  Code code = bug;
  std::string what;  // one sentence
  std::string hint;  // may be empty
};
template <class T>
using CniResult = tl::expected<T, CniError>;
CniError to_cni_error(const Error& error);

enum class CniCommand : std::uint8_t { add, del, check, gc, status, version };

// The variables CNI_…, without their prefix.
using CniEnvironment = std::map<std::string, std::string>;
CniEnvironment read_cni_environment();

struct CniAttachment {
  std::string container;
  std::string ifname;
  friend auto operator<=>(const CniAttachment&, const CniAttachment&) = default;
};

struct CniRequest {
  CniCommand command = CniCommand::version;
  std::string version = "1.1.0";
  std::string network;  // the configuration's `name`
  CniAttachment attachment;
  std::string netns;
  std::map<std::string, std::string> arguments;  // CNI_ARGS
  std::string proxy;                             // handover socket
  AllowRawSockets raw = AllowRawSockets::no;
  nlohmann::json config;             // all of it
  nlohmann::json previous;           // prevResult; null: the first of the chain
  std::vector<CniAttachment> valid;  // of GC
};

inline constexpr std::size_t max_cni_config = std::size_t{256} * 1024;

// Errors: as the specification says, each with its code; every name and value of the sentences is
// fit to be read by a person.
CniResult<CniRequest> read_cni_request(const CniEnvironment& environment, std::string_view config);

}  // namespace sluice::netns
