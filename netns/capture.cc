#include "netns/capture.h"

#include <fmt/core.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>

#include <cerrno>
#include <memory>
#include <string_view>

#include "base/text.h"
#include "netns/netlink.h"
#include "netns/sockets.h"

namespace sluice::netns {
namespace {

constexpr const char* kernel_hint =
    "the kernel needs CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_TPROXY and "
    "CONFIG_NFT_REJECT_INET (5.9 or newer); as modules: modprobe -a nf_tables nft_tproxy "
    "nft_reject_inet";

struct FreeContext {
  void operator()(nft_ctx* context) const noexcept { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

// Asks nf_tables for its generation, to learn what libnftables tells badly: it calls exit(3)
// without a netlink socket, and writes to stderr by itself without the capability.
Result<void> require_nf_tables() {
  const Failure missing = fail(Errc::unavailable, "the kernel has no nf_tables", kernel_hint);
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return missing;
  NetlinkRequest request;
  nlmsghdr* message = request.start((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN, 0);
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  family->version = NFNETLINK_V0;
  auto answered = netlink->change(request, "cannot load the capture rules");
  // EINVAL, after the kernel has tried to load the module (net/netfilter/nfnetlink.c).
  if (!answered && answered.error().code == Errc::unavailable) return missing;
  return answered;
}

// libnftables says "Error: WHY" and quotes the rule on the line beneath.
std::string first_lines(std::string_view complaint) {
  constexpr std::string_view prefix = "Error: ";
  if (const auto at = complaint.find(prefix); at != std::string_view::npos) {
    complaint.remove_prefix(at + prefix.size());
  }
  const auto end = complaint.find('\n');
  const std::string_view why = complaint.substr(0, end);
  if (end == std::string_view::npos) return text::printable(why);
  const std::string_view rest = complaint.substr(end + 1);
  const std::string_view rule = rest.substr(0, rest.find('\n'));
  if (rule.empty()) return text::printable(why);
  return fmt::format("{} at '{}'", text::printable(why), text::printable(rule));
}

}  // namespace

std::string capture_rules() {
  const std::string to4 = to_string(role_endpoint(Role::tproxy4));
  const std::string to6 = to_string(role_endpoint(Role::tproxy6));
  const std::string rule = "add rule inet sluice capture ";
  return "create table inet sluice\n"
         "create chain inet sluice capture "
         "{ type filter hook prerouting priority mangle; policy accept; }\n" +
         rule + "ip daddr 127.0.0.0/8 accept\n" +  //
         rule + "ip6 daddr ::1 accept\n" +         //
         rule + "tcp dport 53 accept\n" +          //
         rule + "meta nfproto ipv4 meta l4proto tcp tproxy ip to " + to4 + " accept\n" + rule +
         "meta nfproto ipv6 meta l4proto tcp tproxy ip6 to " + to6 + " accept\n" +
         // tproxy lets pass what it finds no listener for: a server of the agent's own on 0.0.0.0
         // would then answer for every address. Only the first packet: the agent may bind any
         // source address, and the answers to it come by here as well.
         rule + "tcp flags & (fin | syn | rst | ack) == syn reject with tcp reset\n" + rule +
         "icmp type echo-request reject with icmp type admin-prohibited\n" +  //
         rule + "icmpv6 type echo-request reject with icmpv6 type admin-prohibited\n";
}

Result<void> load_capture_rules() {
  if (auto ready = require_nf_tables(); !ready) return ready;
  const Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || nft_ctx_buffer_error(context.get()) != 0 ||
      nft_ctx_buffer_output(context.get()) != 0) {
    return fail(Errc::unavailable, "cannot start libnftables");
  }
  const std::string rules = capture_rules();
  if (nft_run_cmd_from_buffer(context.get(), rules.c_str()) == 0) return {};
  const std::string why = first_lines(nft_ctx_get_error_buffer(context.get()));
  return fail(Errc::unavailable, fmt::format("cannot load the capture rules: {}", why),
              kernel_hint);
}

}  // namespace sluice::netns
