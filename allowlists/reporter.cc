#include "allowlists/reporter.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "allowlists/unbuilt_keys.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t max_shown = 80;

std::string_view kind_name(YamlKind kind) {
  switch (kind) {
    case YamlKind::null:
      return "nothing";
    case YamlKind::scalar:
      return "a text";
    case YamlKind::sequence:
      return "a list";
    case YamlKind::mapping:
      return "a mapping";
  }
  return "nothing";
}

Error problem(Mark mark, std::string what, std::string hint) {
  return {Errc::bad_config, std::move(what), std::move(hint), std::move(mark)};
}

}  // namespace

void Problems::add(std::size_t source, Error error) {
  if (found_.size() == most) {
    if (left_out_++ == 0) first_left_out_ = {source, std::move(error)};
    return;
  }
  found_.emplace_back(source, std::move(error));
}

std::vector<Error> Problems::take() {
  const auto place = [](const std::pair<std::size_t, Error>& one) {
    return std::tuple(one.first, one.second.where->line, one.second.where->column);
  };
  std::stable_sort(found_.begin(), found_.end(),
                   [&](const auto& a, const auto& b) { return place(a) < place(b); });
  std::vector<Error> errors;
  for (auto& [source, error] : found_) {
    const bool repeated =
        !errors.empty() && errors.back().where == error.where && errors.back().what == error.what;
    if (!repeated) errors.push_back(std::move(error));
  }
  if (left_out_ > 0) {
    Error& more = first_left_out_.second;
    more.what =
        fmt::format("{} more of these were left out, this one first: {}", left_out_, more.what);
    errors.push_back(std::move(more));
  }
  found_.clear();
  left_out_ = 0;
  return errors;
}

void Reporter::error(const YamlValue& at, std::string what, std::string hint) {
  errors_.add(number_, problem(mark(at), std::move(what), std::move(hint)));
}

void Reporter::warning(const YamlValue& at, std::string what, std::string hint) {
  warnings_.add(number_, problem(mark(at), std::move(what), std::move(hint)));
}

bool Reporter::expect(YamlKind kind, const Field& field, std::string_view hint) {
  if (field.value.kind() == kind) return true;
  error(field.key,
        fmt::format("{} is {}, not {}", shown(field.key), kind_name(field.value.kind()),
                    kind_name(kind)),
        std::string(hint));
  return false;
}

std::vector<std::optional<Field>> Reporter::fields(const YamlValue& mapping,
                                                   std::span<const std::string_view> known) {
  std::vector<std::optional<Field>> found(known.size());
  for (std::size_t i = 0; i + 1 < mapping.size(); i += 2) {
    const Field field{mapping[i], mapping[i + 1]};
    if (field.key.kind() != YamlKind::scalar) {
      error(field.key, fmt::format("a key is {}", kind_name(field.key.kind())),
            fmt::format("known here: {}", fmt::join(known, ", ")));
      continue;
    }
    const auto at = std::find(known.begin(), known.end(), field.key.text());
    if (at == known.end()) {
      unknown_key(field.key, known);
      continue;
    }
    std::optional<Field>& slot = found[static_cast<std::size_t>(at - known.begin())];
    if (slot) {
      error(field.key,
            fmt::format("key {} stands here twice, first on line {}", shown(field.key),
                        slot->key.line()),
            "keep one of them");
    } else {
      slot = field;
    }
  }
  return found;
}

void Reporter::unknown_key(const YamlValue& key, std::span<const std::string_view> known) {
  if (const UnbuiltKey* unbuilt = find_unbuilt(key.text())) {
    error(key, fmt::format("{} is not built yet: {}", shown(key), unbuilt->purpose),
          std::string(unbuilt->hint));
    return;
  }
  const std::string near = text::nearest(key.text().substr(0, max_shown), known);
  error(key, fmt::format("unknown key {}", shown(key)),
        near.empty() ? fmt::format("known here: {}", fmt::join(known, ", "))
                     : fmt::format("did you mean '{}'?", near));
}

std::string quoted(std::string_view value) {
  if (value.size() <= max_shown) return fmt::format("'{}'", text::printable(value));
  const std::string_view begin = value.substr(0, max_shown);
  return fmt::format("'{}...'", text::printable(begin.substr(0, text::valid_utf8_prefix(begin))));
}

std::string shown(const YamlValue& value) {
  return value.kind() == YamlKind::scalar ? quoted(value.text())
                                          : std::string(kind_name(value.kind()));
}

}  // namespace sluice::allowlists
