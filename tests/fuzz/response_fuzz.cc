// Whatever an origin answers: one response with a certain end, or the request failed.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/wire/body.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/response_head.h"
#include "proxy/wire/upgrade.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using namespace proxy::wire;

constexpr HeadLimits limits{.bytes = 2048, .fields = 16};
constexpr std::string_view offered = "websocket, chat/2";

struct Read {
  std::size_t size = 0;
  int status = 0;
  std::size_t fields = 0;
  friend bool operator==(const Read&, const Read&) = default;
};

std::optional<Read> read_of(const WireResult<std::optional<ResponseHead>>& head) {
  if (!head || !*head) return std::nullopt;
  return Read{(*head)->size, (*head)->status, (*head)->fields.size()};
}

std::optional<Read> read_slowly(std::string_view bytes) {
  std::size_t scanned = 0;
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    const auto head = parse_response_head(bytes.substr(0, size), limits, scanned);
    require(head || head.error().reason == Reason::unreachable, "it is the origin's fault");
    if (!head || *head) return read_of(head);
  }
  return std::nullopt;
}

void check_fields(const ResponseHead& sent, const ResponseHead& head) {
  static constexpr std::string_view ours[] = {"content-length", "transfer-encoding", "via",
                                              "connection", "upgrade"};
  for (const Field& field : sent.fields) {
    const auto named = [&](std::string_view name) {
      return equals_ignoring_case(name, field.name);
    };
    if (std::any_of(std::begin(ours), std::end(ours), named)) continue;
    require(!named("keep-alive") && !named("proxy-authenticate") && !named("te"),
            "what is for this hop ends here", field.name);
    require(!named("trailer") || sent.count("transfer-encoding") == 1,
            "trailers are promised only where there can be some", field.name);
    require(!head.lists("connection", field.name), "what Connection names ends here", field.name);
  }
  require(sent.count("content-length") + sent.count("transfer-encoding") <= 1,
          "a body has one end at most");
  require(sent.count("connection") <= 1, "one word about the connection");
}

void check_forwarded(const ResponseHead& head, std::string_view method, KeepAlive keep_alive) {
  const auto body = response_body(method, head);
  if (!body) return;
  const auto out = forward_response_head({head, method, *body, offered}, keep_alive);
  if (!out) return;
  std::size_t scanned = 0;
  const auto parsed = parse_response_head(*out, {.bytes = 65536, .fields = 64}, scanned);
  require(parsed && *parsed, "what is sent on is a response head", *out);
  const ResponseHead& sent = **parsed;
  require(sent.size == out->size(), "it is one head and nothing behind it", *out);
  require(sent.status == head.status && sent.reason == head.reason && sent.minor == 1,
          "it says the same", *out);
  require(response_body(method, sent) == *body, "its body ends at the same byte", *out);
  if (head.status == 101) {
    require(switched_protocol(sent, offered).has_value(), "it switches to what was offered", *out);
  } else if (head.status >= 200) {
    const bool stays = keep_alive && body->framing != Framing::until_close;
    require(sent.keeps_alive() == stays, "the agent knows whether the connection goes on", *out);
  }
  check_fields(sent, head);
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  std::size_t scanned = 0;
  const auto whole = proxy::wire::parse_response_head(bytes, fuzz::limits, scanned);
  fuzz::require(fuzz::read_of(whole) == fuzz::read_slowly(bytes), "pieces are read as the whole is",
                bytes);
  if (!whole || !*whole) return 0;
  for (const std::string_view method : {"GET", "HEAD", "POST"}) {
    for (const auto keep_alive : {proxy::wire::KeepAlive::yes, proxy::wire::KeepAlive::no}) {
      fuzz::check_forwarded(**whole, method, keep_alive);
    }
  }
  return 0;
}
