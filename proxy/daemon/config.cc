#include "proxy/daemon/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

#include "base/io.h"
#include "base/text.h"
#include "base/units.h"
#include "proxy/daemon/config_reader.h"

namespace sluice::proxy {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_file_bytes = std::size_t{1024} * 1024;
constexpr unsigned max_threads = 1024;
constexpr std::uint16_t dns_port = 53;

// Walks the file once; every reader either fills its field or adds an error with a place.
class Reader : ConfigReader {
 public:
  using ConfigReader::ConfigReader;

  tl::expected<Config, Errors> read(std::string_view text);

 private:
  void read_top(const Node& top);
  Fields fields_of_admin();
  Fields fields_of_resolver();
  Fields fields_of_timeouts();
  Fields fields_of_limits();
  void threads(const Node& node);
  void header_bytes(const Node& node);
  void lifetime(const Node& node);
  void mode(const Node& node);
  void address(const Node& node);
  void servers(const Node& node);
  void audit(const Node& node);
  void level(const Node& node);

  Config config_;
};

tl::expected<Config, Errors> Reader::read(std::string_view text) {
  try {
    const std::vector<Node> documents = YAML::LoadAll(std::string(text));
    if (documents.size() > 1) {
      error(documents[1].Mark(), "a second document begins here", "keep one document in the file");
    }
    read_top(documents.empty() ? Node() : documents.front());
  } catch (const YAML::Exception& exception) {
    error(exception.mark, fmt::format("not YAML: {}", exception.msg),
          "see https://yaml.org/spec/1.2");
  }
  config_.warnings = take_warnings();
  Errors errors = take_errors();
  if (errors.empty()) return std::move(config_);
  return tl::unexpected(std::move(errors));
}

void Reader::read_top(const Node& top) {
  section(top, "",
          {{"policy", [&](const Node& node) { path(node, config_.policy); }},
           {"threads", [&](const Node& node) { threads(node); }},
           {"handover",
            [&](const Node& node) {
              section(node, "handover",
                      {{"socket", [&](const Node& n) { socket(n, config_.handover.socket); }},
                       {"peers",
                        [&](const Node& n) { read_peers(*this, n, config_.handover.peers); }}});
            }},
           {"admin", [&](const Node& node) { section(node, "admin", fields_of_admin()); }},
           {"resolver", [&](const Node& node) { section(node, "resolver", fields_of_resolver()); }},
           {"timeouts", [&](const Node& node) { section(node, "timeouts", fields_of_timeouts()); }},
           {"limits", [&](const Node& node) { section(node, "limits", fields_of_limits()); }},
           {"listen", [&](const Node& node) { read_listen(*this, node, config_.listen); }},
           {"upstream_proxy",
            [&](const Node& node) { read_upstream_proxy(*this, node, config_.upstream_proxy); }},
           {"egress", [&](const Node& node) { read_egress(*this, node, config_.egress); }},
           {"state", [&](const Node& node) { path(node, config_.state); }},
           {"audit",
            [&](const Node& node) {
              if (node.IsScalar()) return audit(node);
              section(node, "audit", {{"file", [&](const Node& n) { audit(n); }}});
            }},
           {"log", [&](const Node& node) {
              section(node, "log", {{"level", [&](const Node& n) { level(n); }}});
            }}});
  if (!top.IsMap() || !top["policy"]) {
    error(top.Mark(), "'policy' is missing", "add 'policy: policy.yaml', a file or a directory");
  }
}

Reader::Fields Reader::fields_of_admin() {
  return {{"socket", [&](const Node& node) { socket(node, config_.admin.socket); }},
          {"mode", [&](const Node& node) { mode(node); }},
          {"address", [&](const Node& node) { address(node); }}};
}

Reader::Fields Reader::fields_of_resolver() {
  return {{"servers", [&](const Node& node) { servers(node); }},
          {"hosts_file", [&](const Node& node) { path(node, config_.resolver.hosts_file); }},
          {"timeout", [&](const Node& node) { duration(node, config_.resolver.timeout); }}};
}

Reader::Fields Reader::fields_of_timeouts() {
  Config::Timeouts& timeouts = config_.timeouts;
  return {{"first_byte", [&](const Node& node) { duration(node, timeouts.first_byte); }},
          {"headers", [&](const Node& node) { duration(node, timeouts.headers); }},
          {"connect", [&](const Node& node) { duration(node, timeouts.connect); }},
          {"idle", [&](const Node& node) { duration(node, timeouts.idle); }},
          {"lifetime", [&](const Node& node) { lifetime(node); }},
          {"drain", [&](const Node& node) { duration(node, timeouts.drain); }}};
}

Reader::Fields Reader::fields_of_limits() {
  Config::Limits& limits = config_.limits;
  return {{"connections_per_agent",
           [&](const Node& node) {
             count(node, limits.connections_per_agent, {0, 1'000'000});
           }},
          {"header_bytes", [&](const Node& node) { header_bytes(node); }},
          {"headers", [&](const Node& node) {
             count(node, limits.headers, {1, 10'000});
           }}};
}

void Reader::threads(const Node& node) {
  const auto value = scalar(node, "a number of threads");
  if (!value) return;
  const auto number = parse_number(*value);
  if (!number || *number > max_threads) {
    return wrong(node, "is not a number of threads",
                 fmt::format("write 0 (one per core) to {}", max_threads));
  }
  config_.threads = static_cast<unsigned>(*number);
}

// 0 is none, where other durations cannot be 0.
void Reader::lifetime(const Node& node) {
  if (node.IsScalar() && node.Scalar() == "0") {
    config_.timeouts.lifetime = milliseconds::zero();
  } else {
    duration(node, config_.timeouts.lifetime);
  }
}

void Reader::header_bytes(const Node& node) {
  constexpr std::uint64_t least = 1024;
  constexpr std::uint64_t most = std::uint64_t{1024} * 1024;
  const auto value = scalar(node, "a size");
  if (!value) return;
  const auto bytes = units::bytes(*value);
  if (!bytes || *bytes < least || *bytes > most) {
    return wrong(node, "is no size of a request head", "write 64KiB; from 1KiB to 1MiB");
  }
  config_.limits.header_bytes = *bytes;
}

void Reader::mode(const Node& node) {
  const auto value = scalar(node, "a file mode");
  if (!value) return;
  const auto number = parse_number(*value, 8);
  if (!number || value->size() < 3 || *number > 0777) {
    return wrong(node, "is not a file mode",
                 "write three octal digits, such as \"0660\" (chmod(1))");
  }
  config_.admin.mode = static_cast<mode_t>(*number);
}

void Reader::address(const Node& node) {
  const auto value = scalar(node, "an address and a port");
  if (!value) return;
  if (value->empty()) {
    config_.admin.address.reset();
    return;
  }
  config_.admin.address = parse_endpoint(*value, std::nullopt);
  if (!config_.admin.address) {
    wrong(node, "is not an address and a port",
          "write 127.0.0.1:9915 or [::1]:9915, or \"\" for none");
  }
}

void Reader::servers(const Node& node) {
  list(node, "a list of name servers", "write [192.0.2.53]", [&](const Node& item) {
    const auto value = scalar(item, "the address of a name server");
    if (!value) return;
    if (const auto server = parse_endpoint(*value, dns_port)) {
      config_.resolver.servers.push_back(*server);
    } else {
      wrong(item, "is not the address of a name server",
            "write 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53; names are not resolved here");
    }
  });
}

void Reader::audit(const Node& node) {
  constexpr std::string_view unix_prefix = "unix:";
  constexpr std::size_t longest_socket = 107;  // unix(7)
  const auto value = scalar(node, "stdout, journald, unix:PATH or a path");
  if (!value) return;
  if (*value == "stdout") {
    config_.audit = metrics::AuditStdout();
  } else if (*value == "journald") {
    config_.audit = metrics::AuditJournal();
  } else if (value->starts_with(unix_prefix)) {
    const std::string path = value->substr(unix_prefix.size());
    if (!path.starts_with('/') || path.size() > longest_socket) {
      return wrong(node, "is not an absolute path of at most 107 bytes behind 'unix:'",
                   "write unix:/run/vector/audit.sock");
    }
    config_.audit = metrics::AuditSocket{path};
  } else {
    metrics::AuditFile file;
    path(node, file.path);
    config_.audit = std::move(file);
  }
}

void Reader::level(const Node& node) {
  static constexpr std::array<std::string_view, 5> names = {"debug", "info", "warning", "error",
                                                            "off"};
  const auto value = scalar(node, "a log level");
  if (!value) return;
  const auto found = std::find(names.begin(), names.end(), *value);
  if (found == names.end()) {
    return wrong(node, "is not a log level",
                 fmt::format("write one of {}", fmt::join(names, ", ")));
  }
  config_.log_level = static_cast<log::Level>(found - names.begin());
}

}  // namespace

tl::expected<Config, Errors> parse_config(std::string_view text, const std::string& path) {
  return Reader(path).read(text);
}

tl::expected<Config, Errors> read_config(const std::string& path) {
  const auto text = read_file(path, max_file_bytes);
  if (!text) return tl::unexpected(Errors{text.error()});
  return parse_config(*text, path);
}

}  // namespace sluice::proxy
