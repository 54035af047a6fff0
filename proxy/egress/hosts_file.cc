#include "proxy/egress/hosts_file.h"

#include "allowlists/host.h"

namespace sluice::proxy {
namespace {

// The next word of `line`, which is shortened by it; empty at the end or at a comment.
std::string_view next_word(std::string_view& line) {
  const std::size_t begin = line.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos || line[begin] == '#') return line = {};
  line.remove_prefix(begin);
  const std::string_view word = line.substr(0, line.find_first_of(" \t\r#"));
  line.remove_prefix(word.size());
  return word;
}

template <class Visit>
void for_each_line(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    visit(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

}  // namespace

HostsFile HostsFile::parse(std::string_view text) {
  HostsFile file;
  for_each_line(text, [&](std::string_view line) {
    const auto address = IpAddress::parse(next_word(line));
    if (!address) return;
    for (std::string_view word = next_word(line); !word.empty(); word = next_word(line)) {
      const auto host = allowlists::Host::parse(word);
      if (host && host->is_name()) file.names_[host->name()].push_back(*address);
    }
  });
  return file;
}

const std::vector<IpAddress>& HostsFile::find(std::string_view name) const noexcept {
  static const std::vector<IpAddress> none;
  const auto found = names_.find(name);
  return found == names_.end() ? none : found->second;
}

std::vector<IpAddress> parse_resolv_conf(std::string_view text) {
  std::vector<IpAddress> servers;
  for_each_line(text, [&](std::string_view line) {
    if (next_word(line) != "nameserver") return;
    if (const auto address = IpAddress::parse(next_word(line))) servers.push_back(*address);
  });
  if (servers.empty()) servers.push_back(IpAddress::v4(0x7f000001));
  return servers;
}

}  // namespace sluice::proxy
