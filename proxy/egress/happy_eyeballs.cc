#include "proxy/egress/happy_eyeballs.h"

#include <fmt/core.h>

#include <algorithm>
#include <boost/asio/error.hpp>

namespace sluice::proxy {
namespace {

// No packet left: no route, no such family, no address to come from, no descriptor.
bool is_of_this_machine(const ErrorCode& error) noexcept {
  return error == asio::error::network_unreachable ||
         error == asio::error::address_family_not_supported ||
         error == boost::system::errc::address_not_available ||
         error == asio::error::no_descriptors;
}

}  // namespace

std::vector<IpAddress> in_turn(const std::vector<IpAddress>& resolved) {
  std::vector<IpAddress> v6;
  std::vector<IpAddress> v4;
  for (const IpAddress& address : resolved) {
    auto& family = address.is_v4() ? v4 : v6;
    if (std::find(family.begin(), family.end(), address) == family.end()) family.push_back(address);
  }
  std::vector<IpAddress> mixed;
  mixed.reserve(v6.size() + v4.size());
  for (std::size_t i = 0; i < std::max(v6.size(), v4.size()); ++i) {
    if (i < v6.size()) mixed.push_back(v6[i]);
    if (i < v4.size()) mixed.push_back(v4[i]);
  }
  return mixed;
}

Reason reason_of(const ErrorCode& connect_error) noexcept {
  if (connect_error == asio::error::connection_refused) return Reason::connect_refused;
  if (connect_error == asio::error::timed_out) return Reason::connect_timeout;
  return Reason::unreachable;
}

void FailedAttempts::take(Held what, const IpAddress& address, Reason reason, std::string why) {
  if (held_ >= what) return;
  held_ = what;
  address_ = address;
  reason_ = reason;
  why_ = std::move(why);
}

void FailedAttempts::note(const IpAddress& address, const ErrorCode& error) {
  take(is_of_this_machine(error) ? Held::of_this_machine : Held::of_the_way, address,
       reason_of(error), fmt::format("{}: {}", address.to_string(), error.message()));
}

void FailedAttempts::note(const IpAddress& address, Reason reason, std::string why) {
  take(Held::of_the_way, address, reason, std::move(why));
}

void FailedAttempts::note_unsent(const IpAddress& address, std::string why) {
  take(Held::of_this_machine, address, Reason::unreachable, std::move(why));
}

}  // namespace sluice::proxy
