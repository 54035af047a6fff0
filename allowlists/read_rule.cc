#include "allowlists/read_rule.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "allowlists/address_guard.h"
#include "allowlists/host.h"
#include "allowlists/language.h"
#include "allowlists/public_suffix.h"
#include "allowlists/regex_index.h"
#include "allowlists/unbuilt_keys.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

enum Key : std::size_t { host, host_regex, cidr, any, ports, tls, ech, why, public_suffix };
constexpr auto keys = keys_of(rule_words);
static_assert(keys[public_suffix] == "public_suffix" && keys.size() == public_suffix + 1);

using Fields = std::vector<std::optional<Field>>;

// Whether flags such as "(?-i)" or "(?s-i:" make letter case count: names are lower case, so that a
// capital letter behind them fits none, and a rule that denies would deny nothing.
bool makes_case_count(std::string_view regex) {
  for (std::size_t at = 0; at + 1 < regex.size(); ++at) {
    if (regex[at] == '\\') {
      ++at;
    } else if (regex[at] == '(' && regex[at + 1] == '?') {
      const std::string_view flags = regex.substr(at + 2);
      const std::size_t end = std::min(flags.find_first_not_of("imsU-"), flags.size());
      const std::size_t minus = flags.substr(0, end).find('-');
      if (minus < end && flags.substr(minus, end - minus).find('i') < end) return true;
    }
  }
  return false;
}

// One rule on its way; every reader says what is wrong and clears `good`.
class RuleReader {
 public:
  RuleReader(const YamlValue& value, Effect effect, RegexSizes& regexes, Reporter& report)
      : value_(value), regexes_(regexes), report_(report), fields_(report.fields(value, keys)) {
    rule_.effect = effect;
  }

  std::optional<Rule> read() {
    read_subject();
    if (fields_[ports]) read_ports(*fields_[ports]);
    if (fields_[tls]) read_tls(*fields_[tls]);
    if (fields_[ech]) read_ech(*fields_[ech]);
    if (fields_[why]) read_why(*fields_[why]);
    if (rule_.tls == TlsMode::off && rule_.refuse_ech) {
      fail(*fields_[ech], "'ech: deny' needs the bytes that 'tls: \"off\"' does not look at",
           "remove one of the two");
    }
    return good_ ? std::optional(std::move(rule_)) : std::nullopt;
  }

 private:
  void fail(const YamlValue& at, std::string what, std::string hint) {
    report_.error(at, std::move(what), std::move(hint));
    good_ = false;
  }
  void fail(const Field& at, std::string what, std::string hint) {
    fail(at.key, std::move(what), std::move(hint));
  }
  std::string_view verb() const { return rule_.effect == Effect::allow ? "allows" : "denies"; }

  // A text, for a key that takes one.
  std::optional<std::string_view> text_of(const Field& field, std::string_view hint) {
    if (field.value.kind() == YamlKind::scalar) return field.value.text();
    fail(field, fmt::format("'{}' is {}, not a text", field.key.text(), shown(field.value)),
         std::string(hint));
    return {};
  }

  void read_subject() {
    const std::array subjects = {host, host_regex, cidr, any};
    const auto given = [&](Key key) { return fields_[key].has_value(); };
    const auto count = std::count_if(subjects.begin(), subjects.end(), given);
    if (count != 1) {
      fail(value_,
           count == 0 ? "a rule without 'host', 'host_regex', 'cidr' or 'any'"
                      : "a rule with more than one of 'host', 'host_regex', 'cidr' and 'any'",
           count == 0 ? "add one, for example host: api.example.com"
                      : "make a rule of each of them");
    }
    if (fields_[host]) read_host(*fields_[host]);
    if (fields_[host_regex]) read_host_regex(*fields_[host_regex]);
    if (fields_[cidr]) read_cidr(*fields_[cidr]);
    if (fields_[any]) read_any(*fields_[any]);
    if (fields_[public_suffix] && !fields_[host]) {
      fail(*fields_[public_suffix], "'public_suffix' has a meaning only beside 'host'",
           "remove it");
    }
  }

  void read_host(const Field& field) {
    constexpr std::string_view shape =
        "write example.com, \"*.example.com\" (all below) or \".example.com\" (both)";
    const auto pattern = text_of(field, shape);
    if (!pattern) return;
    std::string_view name = *pattern;
    if (name == "*") {
      fail(field, "'*' stands for every host there is", "if that is meant, write any: true");
      return;
    }
    rule_.scope = Scope::exact;
    if (name.starts_with("*.")) {
      rule_.scope = Scope::below;
      name.remove_prefix(2);
    } else if (name.starts_with('.')) {
      rule_.scope = Scope::tree;
      name.remove_prefix(1);
    }
    if (name.find('*') != std::string_view::npos) {
      fail(field, fmt::format("{} has a '*' that is not the whole first label", quoted(*pattern)),
           std::string(shape));
      return;
    }
    const auto parsed = Host::parse(name);
    if (!parsed) {
      fail(field, fmt::format("{} is no host: {}", quoted(*pattern), parsed.error().why),
           std::string(shape));
    } else if (!parsed->is_name()) {
      const unsigned length = parsed->address().is_v4() ? 32 : 128;
      fail(field, fmt::format("{} is an address, not a host", quoted(*pattern)),
           fmt::format("write cidr: {}/{}", parsed->address().to_string(), length));
    } else {
      rule_.name = parsed->name();
      check_name(field);
    }
  }

  void check_name(const Field& field) {
    const bool wildcard = rule_.scope != Scope::exact;
    const bool suffix = wildcard && is_public_suffix(rule_.name);
    const bool meant = fields_[public_suffix] && read_yes(*fields_[public_suffix]);
    if (suffix && !meant) {
      const bool top = rule_.name.find('.') == std::string::npos;
      fail(field,
           fmt::format("{} {} {}", quoted(field.value.text()), verb(),
                       top ? "a whole top-level domain" : "every name under a public suffix"),
           fmt::format("name the domain you {}: {}example.{}",
                       rule_.effect == Effect::allow ? "trust" : "mean",
                       rule_.scope == Scope::below ? "*." : ".", rule_.name));
    }
    if (!suffix && meant) {
      report_.warning(
          fields_[public_suffix]->key,
          fmt::format("{} is no wildcard over a public suffix", quoted(field.value.text())),
          "remove public_suffix");
    }
    if (rule_.effect == Effect::allow && !wildcard && rule_.name == own_loopback_name) {
      fail(field, fmt::format("'{}' is this machine's loopback, which no name opens", rule_.name),
           "write cidr: 127.0.0.1/32 with its ports");
    }
  }

  void read_host_regex(const Field& field) {
    rule_.scope = Scope::regex;
    constexpr std::string_view shape =
        "write an RE2 regex for the whole name: \"build-[0-9]+\\\\.example\\\\.com\"";
    const auto regex = text_of(field, shape);
    if (!regex) return;
    rule_.name = *regex;
    const auto is_ascii = [](char c) { return c >= 0x20 && c < 0x7f; };
    if (regex->empty() || regex->size() > longest_regex) {
      fail(field,
           fmt::format(
               "{} is {}", quoted(*regex),
               regex->empty() ? "no regex" : fmt::format("longer than {} bytes", longest_regex)),
           std::string(shape));
    } else if (!std::all_of(regex->begin(), regex->end(), is_ascii)) {
      fail(field, fmt::format("{} fits no name: names are ASCII here", quoted(*regex)),
           "write the A-label of an international name: xn--...");
    } else if (makes_case_count(*regex)) {
      fail(field,
           fmt::format("{} makes letter case count, and no name has capitals", quoted(*regex)),
           "remove the flag -i");
    } else if (!regexes_.of.contains(rule_.name)) {
      compile_regex(field);
    }
  }

  void compile_regex(const Field& field) {
    if (regexes_.total > RegexSizes::most) {  // which was said of the first
      good_ = false;
      return;
    }
    const RE2 compiled(rule_.name, regex_options());
    const int size = compiled.ok() ? compiled.ProgramSize() : largest_regex_program;
    regexes_.total += size;
    if (regexes_.total > RegexSizes::most) {
      fail(field,
           "the regexes of the policy are too large together: from this one on they were not read",
           "use host: \"*.example.com\" where it says the same");
    } else if (!compiled.ok()) {
      fail(field,
           fmt::format("{} is no regex: {}", quoted(rule_.name), text::printable(compiled.error())),
           "see RE2's syntax; it has no look-around and no back-references");
    } else if (size > largest_regex_program) {
      fail(field,
           fmt::format("{} is too large a regex once its repetitions are written out",
                       quoted(rule_.name)),
           "write smaller repetitions, or several rules");
    } else {
      regexes_.of.emplace(rule_.name, size);
    }
  }

  // For public_suffix: true or false.
  bool read_yes(const Field& field) {
    const bool plain = field.value.kind() == YamlKind::scalar && !field.value.is_quoted();
    if (plain && field.value.text() == "true") return true;
    if (!plain || field.value.text() != "false") {
      fail(field, fmt::format("'{}' is {}", field.key.text(), shown(field.value)),
           "write true or false, without quotes");
    }
    return false;
  }

  void read_any(const Field& field) {
    rule_.scope = Scope::any;
    const bool plain = field.value.kind() == YamlKind::scalar && !field.value.is_quoted();
    if (plain && field.value.text() == "true") return;
    fail(field, fmt::format("'any' is {}", shown(field.value)),
         "write any: true, or remove the rule");
  }

  void read_cidr(const Field& field) {
    rule_.scope = Scope::cidr;
    const auto range_text = text_of(field, "write 10.20.0.0/16 or 2001:db8::/32");
    if (!range_text) return;
    const auto range = Cidr::parse(*range_text);
    if (!range) {
      bad_cidr(field, *range_text);
      return;
    }
    rule_.range = *range;
    const Cidr synthetic_4{IpAddress::v4(synthetic_v4_network), synthetic_v4_length};
    const Cidr synthetic_6{IpAddress::v6(synthetic_v6_network), synthetic_v6_length};
    for (const Cidr& synthetic : {synthetic_4, synthetic_6}) {
      if (!range->overlaps(synthetic)) continue;
      fail(field,
           fmt::format("{} touches {}, from which sluice answers DNS", quoted(*range_text),
                       synthetic.to_string()),
           "write ranges that leave it out");
      return;
    }
    if (rule_.effect == Effect::allow && range->length == (range->network.is_v4() ? 32 : 128) &&
        classify(range->network) == AddressClass::forbidden) {
      report_.warning(field.key,
                      fmt::format("{} is never dialled, whatever a rule says", quoted(*range_text)),
                      "remove the rule");
    }
  }

  void bad_cidr(const Field& field, std::string_view range_text) {
    const std::size_t slash = range_text.find('/');
    const auto address = IpAddress::parse(range_text.substr(0, slash));
    const auto length =
        slash == std::string_view::npos
            ? std::nullopt
            : Cidr::parse(fmt::format("{}{}", address && address->is_v4() ? "0.0.0.0" : "::",
                                      range_text.substr(slash)));
    if (!address || !length) {
      fail(field, fmt::format("{} is no range of addresses", quoted(range_text)),
           "write 10.20.0.0/16 or 2001:db8::/32");
      return;
    }
    fail(field,
         fmt::format("{} has bits set behind its first {}", quoted(range_text), length->length),
         fmt::format("write {} or {}/{}", Cidr::around(*address, length->length).to_string(),
                     address->to_string(), address->is_v4() ? 32 : 128));
  }

  void read_ports(const Field& field) {
    if (!report_.expect(YamlKind::sequence, field, "write ports: [443]")) {
      good_ = false;
      return;
    }
    if (field.value.size() == 0) {
      fail(field, "'ports' is empty",
           rule_.effect == Effect::allow ? "list ports, or remove it, which means 80 and 443"
                                         : "list ports, or remove it, which means every port");
    }
    for (std::size_t i = 0; i < field.value.size(); ++i) read_port(field.value[i]);
  }

  void read_port(const YamlValue& value) {
    constexpr std::string_view plain_number = "write it in decimal, without quotes: 443";
    if (value.kind() != YamlKind::scalar || value.is_quoted()) {
      fail(value,
           value.is_quoted()
               ? fmt::format("port {} is in quotes, which makes it a text", shown(value))
               : fmt::format("a port is {}, not a number", shown(value)),
           std::string(plain_number));
      return;
    }
    const std::string_view digits = value.text();
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
    if (error != std::errc() || end != digits.data() + digits.size() || digits.front() == '0') {
      fail(value, fmt::format("port {} is not a number from 1 to 65535", quoted(digits)),
           std::string(plain_number));
      return;
    }
    rule_.ports.push_back(port);
  }

  bool only_allow(const Field& field) {
    if (rule_.effect == Effect::allow) return true;
    fail(field, fmt::format("'{}' has a meaning only under 'allow'", field.key.text()),
         "remove it");
    return false;
  }

  void read_tls(const Field& field) {
    constexpr std::string_view choices = "write tls: require, tls: match or tls: \"off\"";
    const auto mode = only_allow(field) ? text_of(field, choices) : std::nullopt;
    if (!mode) return;
    if (*mode == "require") {
      rule_.tls = TlsMode::require;
    } else if (*mode == "match") {
      rule_.tls = TlsMode::match;
    } else if (*mode == "off" && field.value.is_quoted()) {
      rule_.tls = TlsMode::off;
    } else if (const UnbuiltKey* unbuilt = find_unbuilt(fmt::format("tls: {}", *mode))) {
      fail(field, fmt::format("'{}' is not built yet: {}", unbuilt->key, unbuilt->purpose),
           std::string(unbuilt->hint));
    } else if (is_yaml_false(field.value)) {
      fail(field, fmt::format("{} without quotes is false in YAML", quoted(*mode)),
           "write tls: \"off\" with its quotes");
    } else {
      fail(field, fmt::format("unknown value {} for 'tls'", quoted(*mode)), std::string(choices));
    }
  }

  static bool is_yaml_false(const YamlValue& value) {
    constexpr std::array<std::string_view, 11> spellings = {
        "off", "Off", "OFF", "false", "False", "FALSE", "no", "No", "NO", "n", "N"};
    return !value.is_quoted() &&
           std::find(spellings.begin(), spellings.end(), value.text()) != spellings.end();
  }

  void read_ech(const Field& field) {
    constexpr std::string_view choices = "write ech: deny or ech: allow";
    const auto choice = only_allow(field) ? text_of(field, choices) : std::nullopt;
    if (!choice) return;
    rule_.refuse_ech = *choice == "deny";
    if (*choice != "deny" && *choice != "allow") {
      fail(field, fmt::format("unknown value {} for 'ech'", quoted(*choice)), std::string(choices));
    }
  }

  // For whoever reads the file or asks why: it decides nothing.
  void read_why(const Field& field) {
    if (const auto why = text_of(field, "write a sentence")) rule_.why = *why;
  }

  const YamlValue value_;
  RegexSizes& regexes_;
  Reporter& report_;
  Fields fields_;
  Rule rule_;
  bool good_ = true;
};

}  // namespace

std::optional<Rule> read_rule(const YamlValue& value, Effect effect, RegexSizes& regexes,
                              Reporter& report) {
  if (value.kind() != YamlKind::mapping) {
    report.error(value, fmt::format("a rule is {}, not a mapping", shown(value)),
                 "write - host: api.example.com");
    return {};
  }
  return RuleReader(value, effect, regexes, report).read();
}

}  // namespace sluice::allowlists
