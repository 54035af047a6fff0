#include "netns/nft.h"

#include <fmt/core.h>
#include <nftables/libnftables.h>

#include <memory>

#include "base/text.h"

namespace sluice::netns {
namespace {

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
  std::string_view rule = end == std::string_view::npos ? "" : complaint.substr(end + 1);
  rule = rule.substr(0, rule.find('\n'));
  const std::string why = text::printable(complaint.substr(0, end));
  return rule.empty() ? why : fmt::format("{} at '{}'", why, text::printable(rule));
}

}  // namespace

Result<std::string> run_nft(const std::string& commands, std::string_view what,
                            std::string_view hint) {
  const Context context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (!context || nft_ctx_buffer_error(context.get()) != 0 ||
      nft_ctx_buffer_output(context.get()) != 0) {
    return fail(Errc::unavailable, "cannot start libnftables");
  }
  nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_STATELESS);
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) == 0) {
    return std::string(nft_ctx_get_output_buffer(context.get()));
  }
  const std::string why = first_lines(nft_ctx_get_error_buffer(context.get()));
  return fail(Errc::unavailable, fmt::format("{}: {}", what, why), std::string(hint));
}

}  // namespace sluice::netns
