#include "netns/refused_udp.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fcntl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <cerrno>
#include <optional>

#include "netns/capture.h"

namespace sluice::netns {
namespace {

constexpr const char* what = "cannot read the counter of refused datagrams";

void start(NetlinkRequest& request, std::uint8_t family) {
  nlmsghdr* message = request.start((NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETOBJ, NLM_F_ACK);
  auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  header->nfgen_family = family;
  header->version = NFNETLINK_V0;
  mnl_attr_put_strz(message, NFTA_OBJ_TABLE, capture_table);
  mnl_attr_put_strz(message, NFTA_OBJ_NAME, refused_udp_counter);
  mnl_attr_put_u32(message, NFTA_OBJ_TYPE, htonl(NFT_OBJECT_COUNTER));
}

int read_packets(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) == NFTA_COUNTER_PACKETS &&
      mnl_attr_validate(attribute, MNL_TYPE_U64) >= 0) {
    *static_cast<std::optional<std::uint64_t>*>(data) = be64toh(mnl_attr_get_u64(attribute));
  }
  return MNL_CB_OK;
}

int read_object(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) != NFTA_OBJ_DATA) return MNL_CB_OK;
  return mnl_attr_parse_nested(attribute, read_packets, data);
}

}  // namespace

Result<RefusedUdp> RefusedUdp::open() {
  auto netlink = Netlink::open(NETLINK_NETFILTER);
  if (!netlink) return Failure(netlink.error());
  RefusedUdp opened(std::move(*netlink));
  // Now, where it can be told: the counter may not be there.
  if (const auto first = opened.read(); !first) return Failure(first.error());
  return opened;
}

Result<Fd> RefusedUdp::open_socket() {
  const auto opened = open();
  if (!opened) return Failure(opened.error());
  Fd socket(::fcntl(opened->netlink_.fd(), F_DUPFD_CLOEXEC, 3));
  if (!socket) return fail_errno(Errc::unavailable, "cannot duplicate a socket");
  return socket;
}

Result<RefusedUdp> RefusedUdp::adopt(Fd socket) {
  auto netlink = Netlink::adopt(std::move(socket));
  if (!netlink) return Failure(netlink.error());
  return RefusedUdp(std::move(*netlink));
}

Result<std::uint64_t> RefusedUdp::read() {
  auto count = read(NFPROTO_INET);
  // A network without IPv6 has its rules in a table of family ip.
  if (!count && netlink_.error_number() == ENOENT) return read(NFPROTO_IPV4);
  return count;
}

Result<std::uint64_t> RefusedUdp::read(std::uint8_t family) {
  NetlinkRequest request;
  start(request, family);
  std::optional<std::uint64_t> packets;
  auto done = netlink_.dump(request, what, [&](const nlmsghdr& message) {
    mnl_attr_parse(&message, sizeof(nfgenmsg), read_object, &packets);
  });
  if (!done) return Failure(done.error());
  if (!packets) return fail(Errc::unavailable, what);
  return *packets;
}

}  // namespace sluice::netns
