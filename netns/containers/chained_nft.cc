// How the rules of pods with an interface come into the kernel, and are read back.
#include <fmt/core.h>
#include <nftables/libnftables.h>

#include <memory>

#include "base/sha256.h"
#include "base/text.h"
#include "netns/capture.h"
#include "netns/containers/chained_rules.h"

namespace sluice::netns {
namespace {

constexpr const char* kernel_hint =
    "the kernel needs CONFIG_NF_TABLES_INET, CONFIG_NF_TABLES_NETDEV, CONFIG_NETFILTER_EGRESS "
    "(5.16 "
    "or newer), CONFIG_NFT_CT, CONFIG_NFT_TPROXY, CONFIG_NFT_LIMIT and CONFIG_NFT_REJECT_INET";

struct FreeContext {
  void operator()(nft_ctx* context) const noexcept { nft_ctx_free(context); }
};
using Context = std::unique_ptr<nft_ctx, FreeContext>;

// libnftables says "/dev/stdin:1:2-3: Error: WHY" and quotes the rule on the line beneath.
std::string first_lines(std::string_view complaint) {
  constexpr std::string_view prefix = "Error: ";
  if (const auto at = complaint.find(prefix); at != std::string_view::npos) {
    complaint.remove_prefix(at + prefix.size());
  }
  const auto end = complaint.find('\n');
  const std::string_view rest = end == std::string_view::npos ? "" : complaint.substr(end + 1);
  const std::string why = text::printable(complaint.substr(0, end));
  if (rest.empty()) return why;
  return fmt::format("{} at '{}'", why, text::printable(rest.substr(0, rest.find('\n'))));
}

// What libnftables printed.
Result<std::string> run(const std::string& commands, const std::string& what) {
  const auto possible = has_nf_tables();
  if (!possible) return Failure(possible.error());
  if (!*possible) {
    return fail(Errc::unavailable, fmt::format("{}: the kernel has no nf_tables", what),
                kernel_hint);
  }
  const Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || nft_ctx_buffer_error(context.get()) != 0 ||
      nft_ctx_buffer_output(context.get()) != 0) {
    return fail(Errc::unavailable, "cannot start libnftables");
  }
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_STATELESS);
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
    return fail(Errc::unavailable,
                fmt::format("{}: {}", what, first_lines(nft_ctx_get_error_buffer(context.get()))),
                kernel_hint);
  }
  return std::string(nft_ctx_get_output_buffer(context.get()));
}

}  // namespace

Result<void> load_rules(const std::string& rules, const std::string& what) {
  return run(rules, what).map([](const std::string&) {});
}

Result<std::string> rules_digest(const std::string& table, const std::vector<std::string>& chains) {
  std::string listing;
  for (const std::string& chain : chains) {
    auto listed = run(fmt::format("list chain {} {}\n", table, chain),
                      fmt::format("cannot list the rules of table '{}'", table));
    if (!listed) return listed;
    listing += *listed;
  }
  return sha256_hex(listing);
}

std::vector<std::string> pod_chains() {
  return {"capture", "arrivals", "serve", "pass", "answers", "departures"};
}

std::vector<std::string> wall_chains() { return {"arrivals", "departures"}; }

}  // namespace sluice::netns
