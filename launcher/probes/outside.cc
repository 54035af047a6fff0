#include "launcher/probes/outside.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <memory>

#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr std::size_t largest_table = std::size_t{16} * 1024 * 1024;

// Of documentation (RFC 5737, RFC 3849), of public resolvers, of private networks, of the services
// that tell a cloud machine's secrets.
constexpr std::array<const char*, 9> addresses_of_others{
    "203.0.113.1",  "8.8.8.8",         "1.1.1.1",     "10.0.0.1",
    "192.168.0.1",  "169.254.169.254", "2001:db8::1", "2606:4700:4700::1111",
    "fd00:ec2::254"};

std::string text_of(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  if (address.sa_family == AF_INET) bytes = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
  if (address.sa_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_LINKLOCAL(&v6.sin6_addr)) return {};  // nothing without its link
    bytes = &v6.sin6_addr;
  }
  if (bytes == nullptr) return {};
  return ::inet_ntop(address.sa_family, bytes, text.data(), text.size()) == nullptr ? ""
                                                                                    : text.data();
}

std::vector<std::string> own_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> owner(list, &::freeifaddrs);
  std::vector<std::string> addresses;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || (entry->ifa_flags & IFF_LOOPBACK) != 0) continue;
    if (std::string text = text_of(*entry->ifa_addr); !text.empty()) {
      addresses.push_back(std::move(text));
    }
  }
  return addresses;
}

}  // namespace

std::vector<std::string> own_namespaces() {
  std::vector<std::string> namespaces;
  for (const char* kind : {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
    std::array<char, PATH_MAX> name{};
    const ssize_t size =
        ::readlink((std::string("/proc/self/ns/") + kind).c_str(), name.data(), name.size());
    if (size > 0) namespaces.emplace_back(name.data(), static_cast<std::size_t>(size));
  }
  return namespaces;
}

std::vector<std::string> abstract_names(std::string_view proc_net_unix) {
  std::vector<std::string> names;
  while (!proc_net_unix.empty()) {
    const std::string_view line = proc_net_unix.substr(0, proc_net_unix.find('\n'));
    proc_net_unix.remove_prefix(std::min(line.size() + 1, proc_net_unix.size()));
    // No other column holds an at sign, but a path may.
    const std::size_t at = line.find(" @");
    if (at == std::string_view::npos || line.find('/') < at) continue;
    names.emplace_back(line.substr(at + 1));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

Outside look_outside(const Machine& machine) {
  Outside outside;
  outside.namespaces = own_namespaces();
  outside.sockets = machine.sockets;
  if (const auto table = read_file("/proc/net/unix", largest_table)) {
    for (std::string& name : abstract_names(*table)) outside.sockets.push_back(std::move(name));
  }
  outside.addresses.assign(addresses_of_others.begin(), addresses_of_others.end());
  for (std::string& address : own_addresses()) outside.addresses.push_back(std::move(address));
  return outside;
}

}  // namespace sluice::launcher
