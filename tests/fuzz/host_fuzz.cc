// Every spelling of a host is one canonical value or refused.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "allowlists/host.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using allowlists::BadHost;
using allowlists::Host;
using allowlists::Target;

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
char upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }

std::string each(std::string text, char (*change)(char)) {
  std::transform(text.begin(), text.end(), text.begin(), change);
  return text;
}

// Whether the C library takes it for an address without asking anyone.
bool is_number_to_libc(const std::string& name) {
  ::in_addr v4{};
  if (::inet_aton(name.c_str(), &v4) != 0) return true;
  ::addrinfo hints{};
  hints.ai_flags = AI_NUMERICHOST;
  ::addrinfo* found = nullptr;
  if (::getaddrinfo(name.c_str(), nullptr, &hints, &found) != 0) return false;
  ::freeaddrinfo(found);
  return true;
}

void check_name(const std::string& name) {
  require(!name.empty() && name.size() <= 253, "a name has 1 to 253 bytes", name);
  std::size_t begin = 0;
  while (begin <= name.size()) {
    const std::size_t end = std::min(name.find('.', begin), name.size());
    require(end - begin >= 1 && end - begin <= 63, "a label has 1 to 63 bytes", name);
    begin = end + 1;
  }
  require(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") == name.npos,
          "a name has lower-case letters, digits, '-' and '_' only", name);
  require(!is_number_to_libc(name), "no name is an address to the C library", name);
  const auto shouted = Host::parse(each(name, upper));
  require(shouted && shouted->is_name() && shouted->name() == name, "case means nothing", name);
  if (name.size() < 253) {
    const auto rooted = Host::parse(name + '.');
    require(rooted && rooted->is_name() && rooted->name() == name, "a last dot means nothing",
            name);
  }
}

void check_why(const BadHost& bad) {
  require(!bad.why.empty() && bad.why.back() != '.' && bad.why.front() == lower(bad.why.front()),
          "a refusal says why in a sentence", bad.why);
  require(std::all_of(bad.why.begin(), bad.why.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
          "a refusal can be shown to a person", bad.why);
}

void check_host(const std::string& spelling) {
  const auto host = Host::parse(spelling);
  if (!host) return check_why(host.error());
  const std::string canonical = host->to_string();
  const auto again = Host::parse(canonical);
  require(again && *again == *host, "the canonical form is the same host", canonical);
  require(host->is_name() != IpAddress::parse(canonical).has_value(),
          "a host is a name or an address, never both", canonical);
  if (!host->is_name()) return;
  check_name(canonical);
  std::string folded = each(spelling, lower);
  if (folded.ends_with('.')) folded.pop_back();
  if (is_ascii(spelling)) {
    require(folded == canonical, "an ASCII name is only put into lower case", spelling);
  } else {
    require(canonical.find("xn--") != canonical.npos, "what is not ASCII is an A-label", canonical);
  }
}

void check_target(const std::string& authority) {
  const auto target = Target::parse(authority, 443);
  const auto with_port = Target::parse(authority, {});
  require(!with_port || (target && *target == *with_port),
          "a default port changes nothing where there is a port", authority);
  if (!with_port) check_why(with_port.error());
  if (!target) return check_why(target.error());
  require(target->port != 0, "no port is 0", authority);
  require(with_port || target->port == 443, "without a port it is the default one", authority);
  const std::string canonical = target->to_string();
  const auto again = Target::parse(canonical, {});
  require(again && *again == *target, "the canonical form is the same target", canonical);
  require(again->to_string() == canonical, "there is one canonical form", canonical);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  sluice::fuzz::check_host(text);
  sluice::fuzz::check_target(text);
  const auto bare = sluice::allowlists::Host::parse(text);
  if (bare) sluice::fuzz::check_target(sluice::allowlists::Target{*bare, 8443}.to_string());
  return 0;
}
