#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "allowlists/policy.h"
#include "allowlists/tools/audit_reader.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t longest_rule = 256;

enum Key : std::size_t {
  agent,
  via,
  host,
  verdict,
  reason,
  would_deny,
  rule,
  address,
  sni,
  event,
  texts,  // how many of them hold text
  port = texts,
  bytes_up,
  bytes_down,
  count,
  all,
  other = all,
};
constexpr std::array<std::string_view, all> key_names = {
    "agent",   "via", "host",  "verdict", "reason",   "would_deny", "rule",
    "address", "sni", "event", "port",    "bytes_up", "bytes_down", "count"};

std::optional<Reason> find_reason(std::string_view name) {
  for (std::size_t i = 0; i < reason_count; ++i) {
    const auto candidate = static_cast<Reason>(i);
    if (reason_name(candidate) == name) return candidate;
  }
  return {};
}

std::optional<Verdict> find_verdict(std::string_view name) {
  for (const Verdict candidate : {Verdict::deny, Verdict::allow, Verdict::report}) {
    if (verdict_name(candidate) == name) return candidate;
  }
  return {};
}

bool is_connection(std::string_view via_name) {
  constexpr std::array<std::string_view, 4> ways = {"connect", "http", "socks5", "transparent"};
  return std::find(ways.begin(), ways.end(), via_name) != ways.end();
}

}  // namespace

bool is_policys_word(Verdict verdict, Reason reason) noexcept {
  if (verdict != Verdict::deny) return true;
  return reason < Reason::bad_request && reason != Reason::request_not_allowed &&
         reason != Reason::auth_required;
}

// The members of the one object; takes nlohmann's SAX events (their names are its interface). A
// false answer ends the parsing.
class AuditLine::Fields {
 public:
  bool parse(std::string_view line) {
    depth_ = 0;
    key_ = other;
    given_.fill(false);
    return nlohmann::json::sax_parse(line.begin(), line.end(), this) && depth_ == 0;
  }
  bool has(Key key) const noexcept { return given_[key]; }
  // "" and 0 for what is not there.
  std::string_view text(Key key) const noexcept {
    return given_[key] ? std::string_view(texts_[key]) : std::string_view();
  }
  std::uint64_t number(Key key) const noexcept { return given_[key] ? numbers_[key - texts] : 0; }

  bool start_object(std::size_t) { return open(depth_ == 0 || unknown()); }
  bool end_object() { return close(); }
  bool start_array(std::size_t) { return open(depth_ > 0 && unknown()); }
  bool end_array() { return close(); }
  bool key(std::string& name) {
    if (depth_ > 1) return true;
    const auto found = std::find(key_names.begin(), key_names.end(), name);
    key_ = static_cast<Key>(found - key_names.begin());
    return key_ == other || !given_[key_];
  }
  bool string(std::string& value) {
    if (unknown()) return depth_ > 0;
    if (key_ >= texts) return false;
    texts_[key_].assign(value);
    return given_[key_] = true;
  }
  bool number_unsigned(std::uint64_t value) {
    if (unknown()) return depth_ > 0;
    if (key_ < texts) return false;
    numbers_[key_ - texts] = value;
    return given_[key_] = true;
  }
  bool number_integer(std::int64_t) { return depth_ > 0 && unknown(); }
  bool number_float(double, const std::string&) { return depth_ > 0 && unknown(); }
  bool boolean(bool) { return depth_ > 0 && unknown(); }
  bool null() { return depth_ > 0 && unknown(); }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) {
    return false;
  }

 private:
  // A value that stands where no known key wants one.
  bool unknown() const noexcept { return depth_ != 1 || key_ == other; }
  bool open(bool may) {
    ++depth_;
    return may;
  }
  bool close() {
    --depth_;
    return true;
  }

  std::size_t depth_ = 0;
  Key key_ = other;
  std::array<bool, all> given_{};
  std::array<std::string, texts> texts_;
  std::array<std::uint64_t, all - texts> numbers_{};
};

AuditLine::AuditLine() : fields_(std::make_unique<Fields>()) {}
AuditLine::~AuditLine() = default;

std::uint64_t AuditLine::left_out() const noexcept {
  const std::string_view what = fields_->text(event);
  return what == "denials_left_out" || what == "lines_dropped" ? fields_->number(count) : 0;
}

AuditLine::Kind AuditLine::parse(std::string_view text) {
  if (!fields_->parse(text)) return Kind::not_understood;
  const std::string_view way = fields_->text(via);
  if (way == "event" || way == "exec") return Kind::event;
  return read_decision() ? Kind::decision : Kind::not_understood;
}

bool AuditLine::read_decision() {
  const auto said = find_verdict(fields_->text(verdict));
  const auto because = find_reason(fields_->text(reason));
  const std::string_view name = fields_->text(agent);
  if (!said || !because || !is_agent_name(name)) return false;
  const bool may_pass = is_allowed(*because) || is_failure(*because);
  if (may_pass != (*said != Verdict::deny)) return false;
  decision_.would_deny.reset();
  if (const std::string_view would = fields_->text(would_deny); !would.empty()) {
    decision_.would_deny = find_reason(would);
    if (!decision_.would_deny) return false;
  }
  decision_.agent = name;
  decision_.verdict = *said;
  decision_.reason = *because;
  decision_.rule = fields_->text(rule).substr(0, longest_rule);
  decision_.bytes_up = fields_->number(bytes_up);
  decision_.bytes_down = fields_->number(bytes_down);
  decision_.has_sni = !fields_->text(sni).empty();
  return read_target();
}

bool AuditLine::read_target() {
  const std::string_view way = fields_->text(via);
  const bool is_dns = way == "dns";
  if (!is_dns && !is_connection(way)) return false;
  if (!fields_->has(host) || fields_->number(port) > 0xffff) return false;
  decision_.port = static_cast<std::uint16_t>(fields_->number(port));
  decision_.spelling = fields_->text(host);
  decision_.host.reset();
  decision_.address.reset();
  if (const std::string_view dialled = fields_->text(address); !dialled.empty()) {
    decision_.address = IpAddress::parse(dialled);
    if (!decision_.address) return false;
  }
  if (!is_policys_word(decision_.verdict, decision_.reason)) return true;
  auto parsed = Host::parse(decision_.spelling);
  if (!parsed || is_dns != (decision_.port == 0) || (is_dns && !parsed->is_name())) return false;
  decision_.host = std::move(*parsed);
  return true;
}

}  // namespace sluice::allowlists
