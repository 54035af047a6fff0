#include "proxy/daemon/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/un.h>

#include <charconv>
#include <limits>
#include <set>

#include "base/text.h"
#include "base/units.h"

namespace sluice::proxy {
namespace {

Errors in_file_order(Errors errors) {
  std::stable_sort(errors.begin(), errors.end(), [](const Error& a, const Error& b) {
    return std::pair(a.where->line, a.where->column) < std::pair(b.where->line, b.where->column);
  });
  return errors;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view digits, int base) {
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return {};
  return number;
}

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

void ConfigReader::error(const YAML::Mark& place, std::string what, std::string hint) {
  errors_.push_back({Errc::bad_config, std::move(what), std::move(hint), mark(place)});
}

void ConfigReader::wrong(const Node& node, std::string_view what, std::string hint) {
  error(node.Mark(), fmt::format("'{}' {}", text::printable(node.Scalar()), what), std::move(hint));
}

void ConfigReader::warning(const YAML::Mark& place, std::string what, std::string hint) {
  warnings_.push_back({Errc::bad_config, std::move(what), std::move(hint), mark(place)});
}

Errors ConfigReader::take_errors() { return in_file_order(std::exchange(errors_, {})); }

Errors ConfigReader::take_warnings() { return in_file_order(std::exchange(warnings_, {})); }

void ConfigReader::list(const Node& node, std::string_view expected, std::string hint,
                        const std::function<void(const Node&)>& read) {
  if (!node.IsSequence()) {
    return error(node.Mark(), fmt::format("expected {}", expected), std::move(hint));
  }
  for (const Node& item : node) read(item);
}

void ConfigReader::section(const Node& node, std::string_view name, const Fields& fields) {
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

void ConfigReader::entry(const Node& key, const Node& value, std::string_view section,
                         const Fields& fields) {
  const std::string name = key.IsScalar() ? key.Scalar() : std::string();
  const auto found = std::find_if(fields.begin(), fields.end(),
                                  [&](const Field& field) { return field.key == name; });
  if (found != fields.end()) return found->read(value);

  const std::string full = section.empty() ? name : fmt::format("{}.{}", section, name);
  std::vector<std::string_view> known;
  for (const Field& field : fields) known.push_back(field.key);
  const std::string near = text::nearest(name, known);
  error(key.Mark(), fmt::format("unknown key '{}'", text::printable(full)),
        near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                     : fmt::format("did you mean '{}'?", near));
}

std::optional<std::string> ConfigReader::scalar(const Node& node, std::string_view expected) {
  if (node.IsScalar()) return node.Scalar();
  error(node.Mark(), fmt::format("expected {}", expected), "write it on the line of its key");
  return {};
}

void ConfigReader::path(const Node& node, std::string& out) {
  const auto value = scalar(node, "a path");
  if (!value) return;
  if (value->empty() || value->find('\0') != std::string::npos) {
    return wrong(node, "is not a path", "name a file, absolute or beside this one");
  }
  out = (folder_ / *value).lexically_normal().string();
}

void ConfigReader::socket(const Node& node, std::string& out) {
  path(node, out);
  if (out.size() >= sizeof(sockaddr_un::sun_path)) {
    wrong(node,
          fmt::format("is longer than the {} bytes of a socket's path (unix(7))",
                      sizeof(sockaddr_un::sun_path) - 1),
          "choose a shorter directory, such as /run/sluice");
  }
}

void ConfigReader::duration(const Node& node, std::chrono::milliseconds& out) {
  const auto value = scalar(node, "a duration");
  if (!value) return;
  const auto parsed = units::duration(*value);
  if (!parsed || *parsed == std::chrono::milliseconds::zero()) {
    return wrong(node, "is not a duration longer than 0",
                 "write a whole number and ms, s, m, h or d, such as 10s");
  }
  out = *parsed;
}

void ConfigReader::count(const Node& node, unsigned& out, Range range) {
  const auto value = scalar(node, "a number");
  if (!value) return;
  const auto number = parse_number(*value);
  if (!number || *number < range.least || *number > range.most) {
    return wrong(node, "is out of range",
                 fmt::format("write a number from {} to {}", range.least, range.most));
  }
  out = static_cast<unsigned>(*number);
}

}  // namespace sluice::proxy
