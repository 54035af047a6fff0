// A handover message says one thing, says it again the same way, and is refused otherwise.
#include <cstdint>
#include <string>
#include <string_view>

#include "netns/handover.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

template <class Decode>
void check(const std::string& message, Decode decode) {
  const auto decoded = decode(message);
  if (!decoded) {
    const std::string& why = decoded.error().what;
    require(!why.empty() && why.back() != '.', "a refusal is a sentence", why);
    for (const char c : why) {
      require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f, "a refusal can be shown", why);
    }
    return;
  }
  require(message.size() <= netns::max_message, "a message is bounded");
  const std::string once = netns::encode(*decoded);
  require(once.size() <= netns::max_message, "what was taken can be sent", once);
  const auto again = decode(once);
  require(again.has_value(), "what we say is understood", once);
  require(again->index() == decoded->index() && netns::encode(*again) == once,
          "what we say means the same", once);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  const std::string message(reinterpret_cast<const char*>(data), size);
  fuzz::check(message, netns::decode_request);
  fuzz::check(message, netns::decode_answer);
  return 0;
}
