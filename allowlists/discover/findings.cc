#include "allowlists/discover/findings.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "allowlists/address_guard.h"
#include "allowlists/rule.h"
#include "base/text.h"

namespace sluice::allowlists::discover {
namespace {

constexpr std::string_view no_rule = "no rule is made of it";

bool is_own_loopback(const Host& host) {
  if (host.is_name()) {
    const std::string_view name = host.name();
    return name == "localhost" || name.ends_with(".localhost") || name == own_loopback_name;
  }
  const IpAddress& address = host.address();
  return Cidr{IpAddress::v4(0x7f000000), 8}.contains(address) ||
         address == *IpAddress::parse("::1");
}

bool is_never_dialled(const Host& host) {
  return !host.is_name() && classify(host.address()) == AddressClass::forbidden;
}

}  // namespace

std::string Place::to_string() const {
  const std::string name = text::printable(file);
  return line > 0 ? fmt::format("{}:{}", name, line) : name;
}

void Findings::add(Remote remote, std::string_view tool, const Place& place) {
  std::string key = fmt::format("{}\n{}\n{}\n{}\n{}", remote.host.to_string(), remote.port,
                                remote.is_tls_off, tool, place.file);
  if (known_.contains(key)) return;
  if (is_own_loopback(remote.host)) {
    warn(place, fmt::format("the {} here is on this machine's own loopback: {}", tool, no_rule),
         "in a sandbox loopback is the sandbox's own; host.sluice.internal and a cidr rule open "
         "the machine's");
  } else if (is_never_dialled(remote.host)) {
    warn(place,
         fmt::format("the {} here is at an address that no rule can open: {}", tool, no_rule));
  } else if (auto& count = counts_[static_cast<std::size_t>(place.trust)]; count >= max_findings) {
    ++left_out_[static_cast<std::size_t>(place.trust)];
    return;  // and not remembered: memory stays bounded
  } else {
    ++count;
    found_.push_back({std::move(remote), tool, place});
  }
  if (known_.size() < 4 * max_findings) known_.insert(std::move(key));
}

void Findings::add_url(std::string_view url, std::string_view tool, const Place& place) {
  const auto remote = parse_url(url);
  if (remote) {
    add(*remote, tool, place);
  } else {
    refuse(remote.error(), tool, place);
  }
}

void Findings::refuse(const NoRemote& why, std::string_view tool, const Place& place) {
  if (why.kind == NoRemote::Kind::local) return;
  warn(place, fmt::format("the {} here names no host that a rule could allow: {}", tool, why.what));
}

void Findings::warn(const Place& place, std::string what, std::string hint) {
  if (warnings_.size() >= max_warnings) {
    ++warnings_left_out_;
    return;
  }
  warnings_.push_back({place, std::move(what), std::move(hint)});
}

void Findings::note(std::string sentence) {
  const bool known = std::find(notes_.begin(), notes_.end(), sentence) != notes_.end();
  if (!known && notes_.size() < max_warnings) notes_.push_back(std::move(sentence));
}

}  // namespace sluice::allowlists::discover
