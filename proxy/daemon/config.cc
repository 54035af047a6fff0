#include "proxy/daemon/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/un.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <functional>
#include <iterator>
#include <limits>
#include <set>

#include "base/io.h"
#include "base/text.h"
#include "base/units.h"

namespace sluice::proxy {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t max_file_bytes = std::size_t{1024} * 1024;
constexpr unsigned max_threads = 1024;
constexpr std::uint16_t dns_port = 53;

// Parts of the documented file that this version refuses rather than ignores.
constexpr std::array<std::string_view, 3> not_built = {"handover.peers", "listen",
                                                       "upstream_proxy"};

std::optional<std::uint64_t> parse_number(std::string_view digits, int base = 10) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return {};
  return number;
}

// "192.0.2.1:53", "[2001:db8::1]:53"; without a port only where there is a `default_port`.
std::optional<Endpoint> parse_endpoint(std::string_view text,
                                       std::optional<std::uint16_t> default_port) {
  if (default_port) {
    if (const auto address = IpAddress::parse(text)) return Endpoint{*address, *default_port};
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const auto address = IpAddress::parse(host);
  const auto port = parse_number(text.substr(colon + 1));
  if (!address || address->is_v4() == bracketed || !port) return {};
  if (*port == 0 || *port > std::numeric_limits<std::uint16_t>::max()) return {};
  return Endpoint{*address, static_cast<std::uint16_t>(*port)};
}

// Walks the file once; every reader either fills its field or adds an error with a place.
class Reader {
 public:
  explicit Reader(const std::string& path)
      : file_(path), folder_(std::filesystem::path(path).parent_path()) {}

  tl::expected<Config, Errors> read(std::string_view text);

 private:
  using Node = YAML::Node;
  struct Field {
    std::string_view key;
    std::function<void(const Node&)> read;
  };
  using Fields = std::vector<Field>;
  struct Range {
    unsigned least = 0;
    unsigned most = 0;
  };

  void read_top(const Node& top);
  Fields fields_of_admin();
  Fields fields_of_resolver();
  Fields fields_of_timeouts();
  Fields fields_of_limits();
  // `name` is the section as a person writes it, "" for the whole file.
  void section(const Node& node, std::string_view name, const Fields& fields);
  void entry(const Node& key, const Node& value, std::string_view section, const Fields& fields);

  std::optional<std::string> scalar(const Node& node, std::string_view expected);
  void path(const Node& node, std::string& out);
  void socket(const Node& node, std::string& out);
  void duration(const Node& node, milliseconds& out);
  void threads(const Node& node);
  void count(const Node& node, unsigned& out, Range range);
  void header_bytes(const Node& node);
  void mode(const Node& node);
  void address(const Node& node);
  void servers(const Node& node);
  void audit_file(const Node& node);
  void level(const Node& node);

  Mark mark(const YAML::Mark& place) const {
    return {file_, std::max(place.line, 0) + 1, std::max(place.column, 0) + 1};
  }
  void error(const YAML::Mark& place, std::string what, std::string hint) {
    errors_.push_back({Errc::bad_config, std::move(what), std::move(hint), mark(place)});
  }
  void wrong(const Node& node, std::string_view what, std::string hint) {
    error(node.Mark(), fmt::format("'{}' {}", text::printable(node.Scalar()), what),
          std::move(hint));
  }

  const std::string file_;
  const std::filesystem::path folder_;
  Config config_;
  Errors errors_;
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
  if (errors_.empty()) return std::move(config_);
  std::stable_sort(errors_.begin(), errors_.end(), [](const Error& a, const Error& b) {
    return std::pair(a.where->line, a.where->column) < std::pair(b.where->line, b.where->column);
  });
  return tl::unexpected(std::move(errors_));
}

void Reader::read_top(const Node& top) {
  section(top, "",
          {{"policy", [&](const Node& node) { path(node, config_.policy); }},
           {"threads", [&](const Node& node) { threads(node); }},
           {"handover",
            [&](const Node& node) {
              section(node, "handover",
                      {{"socket", [&](const Node& n) { socket(n, config_.handover.socket); }}});
            }},
           {"admin", [&](const Node& node) { section(node, "admin", fields_of_admin()); }},
           {"resolver", [&](const Node& node) { section(node, "resolver", fields_of_resolver()); }},
           {"timeouts", [&](const Node& node) { section(node, "timeouts", fields_of_timeouts()); }},
           {"limits", [&](const Node& node) { section(node, "limits", fields_of_limits()); }},
           {"state", [&](const Node& node) { path(node, config_.state); }},
           {"audit",
            [&](const Node& node) {
              section(node, "audit", {{"file", [&](const Node& n) { audit_file(n); }}});
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
          {"drain", [&](const Node& node) { duration(node, timeouts.drain); }}};
}

Reader::Fields Reader::fields_of_limits() {
  Config::Limits& limits = config_.limits;
  return {{"connections_per_agent",
           [&](const Node& node) { count(node, limits.connections_per_agent, {0, 1'000'000}); }},
          {"header_bytes", [&](const Node& node) { header_bytes(node); }},
          {"headers", [&](const Node& node) { count(node, limits.headers, {1, 10'000}); }}};
}

void Reader::section(const Node& node, std::string_view name, const Fields& fields) {
  if (node.IsNull() && name.empty()) return;
  if (!node.IsMap()) {
    error(node.Mark(),
          fmt::format("{} is not a map", name.empty() ? "the file" : fmt::format("'{}'", name)),
          "write one 'key: value' per line");
    return;
  }
  // yaml-cpp keeps the first of two equal keys and says nothing.
  std::set<std::string> seen;
  for (const auto& pair : node) {
    const Node& key = pair.first;
    if (key.IsScalar() && !seen.insert(key.Scalar()).second) {
      error(key.Mark(), fmt::format("'{}' is given twice", text::printable(key.Scalar())),
            "keep one of them");
      continue;
    }
    entry(key, pair.second, name, fields);
  }
}

void Reader::entry(const Node& key, const Node& value, std::string_view section,
                   const Fields& fields) {
  const std::string name = key.IsScalar() ? key.Scalar() : std::string();
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.key == name; });
  if (found != fields.end()) return found->read(value);

  const std::string full = section.empty() ? name : fmt::format("{}.{}", section, name);
  if (std::find(not_built.begin(), not_built.end(), full) != not_built.end()) {
    error(key.Mark(), fmt::format("'{}' is not built yet", full), "leave it out");
    return;
  }
  std::vector<std::string_view> known;
  for (const Field& field : fields) known.push_back(field.key);
  const std::string near = text::nearest(name, known);
  error(key.Mark(), fmt::format("unknown key '{}'", text::printable(full)),
        near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                     : fmt::format("did you mean '{}'?", near));
}

std::optional<std::string> Reader::scalar(const Node& node, std::string_view expected) {
  if (node.IsScalar()) return node.Scalar();
  error(node.Mark(), fmt::format("expected {}", expected), "write it on the line of its key");
  return {};
}

void Reader::path(const Node& node, std::string& out) {
  const auto value = scalar(node, "a path");
  if (!value) return;
  if (value->empty() || value->find('\0') != std::string::npos) {
    return wrong(node, "is not a path", "name a file, absolute or beside this one");
  }
  out = (folder_ / *value).lexically_normal().string();
}

void Reader::socket(const Node& node, std::string& out) {
  path(node, out);
  if (out.size() >= sizeof(sockaddr_un::sun_path)) {
    wrong(node,
          fmt::format("is longer than the {} bytes of a socket's path (unix(7))",
                      sizeof(sockaddr_un::sun_path) - 1),
          "choose a shorter directory, such as /run/sluice");
  }
}

void Reader::duration(const Node& node, milliseconds& out) {
  const auto value = scalar(node, "a duration");
  if (!value) return;
  const auto parsed = units::duration(*value);
  if (!parsed || *parsed == milliseconds::zero()) {
    return wrong(node, "is not a duration longer than 0",
                 "write a whole number and ms, s, m, h or d, such as 10s");
  }
  out = *parsed;
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

void Reader::count(const Node& node, unsigned& out, Range range) {
  const auto value = scalar(node, "a number");
  if (!value) return;
  const auto number = parse_number(*value);
  if (!number || *number < range.least || *number > range.most) {
    return wrong(node, "is out of range",
                 fmt::format("write a number from {} to {}", range.least, range.most));
  }
  out = static_cast<unsigned>(*number);
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
  if (!node.IsSequence()) {
    return error(node.Mark(), "expected a list of name servers", "write [192.0.2.53]");
  }
  for (const Node& item : node) {
    const auto value = scalar(item, "the address of a name server");
    if (!value) continue;
    if (const auto server = parse_endpoint(*value, dns_port)) {
      config_.resolver.servers.push_back(*server);
    } else {
      wrong(item, "is not the address of a name server",
            "write 192.0.2.53, 192.0.2.53:53 or [2001:db8::53]:53; names are not resolved here");
    }
  }
}

void Reader::audit_file(const Node& node) {
  const auto value = scalar(node, "stdout or a path");
  if (!value) return;
  if (*value == "journald" || value->starts_with("unix:")) {
    return wrong(node, "is not built yet", "write stdout, or the path of a file");
  }
  config_.audit.to_stdout = *value == "stdout";
  if (!config_.audit.to_stdout) path(node, config_.audit.file);
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
