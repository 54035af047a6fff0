// Whatever an agent writes as a request: one request, sent on as exactly that one, or refused.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "proxy/wire/basic_auth.h"
#include "proxy/wire/body.h"
#include "proxy/wire/first_bytes.h"
#include "proxy/wire/forward.h"
#include "proxy/wire/reply.h"
#include "proxy/wire/request_head.h"
#include "proxy/wire/upgrade.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using namespace proxy::wire;
using allowlists::Target;

constexpr HeadLimits limits{.bytes = 2048, .fields = 16};

bool same(const RequestHead& a, const RequestHead& b) {
  return a.method == b.method && a.target == b.target && a.minor == b.minor && a.size == b.size &&
         std::equal(
             a.fields.begin(), a.fields.end(), b.fields.begin(), b.fields.end(),
             [](const Field& x, const Field& y) { return x.name == y.name && x.value == y.value; });
}

// As the bytes arrive one at a time.
std::optional<RequestHead> read_slowly(std::string_view bytes) {
  std::size_t scanned = 0;
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    auto head = parse_request_head(bytes.substr(0, size), limits, scanned);
    require(scanned <= size, "nothing behind the bytes is looked at");
    if (!head) return std::nullopt;
    if (*head) return std::move(**head);
  }
  return std::nullopt;
}

std::string_view authority_of(const RequestHead& head) {
  if (head.method == "CONNECT") return head.target;
  if (const auto form = parse_absolute_form(head.target)) return form->authority;
  return head.find("host").value_or("");
}

std::string path_of(const RequestHead& head) {
  const auto form = parse_absolute_form(head.target);
  return form ? form->origin_form(head.method) : std::string(head.target);
}

void check_fields(const RequestHead& sent, const RequestHead& head) {
  static constexpr std::string_view ours[] = {"host",        "content-length", "transfer-encoding",
                                              "via",         "connection",     "upgrade",
                                              "max-forwards"};
  for (const Field& field : sent.fields) {
    const auto named = [&](std::string_view name) {
      return equals_ignoring_case(name, field.name);
    };
    if (std::any_of(std::begin(ours), std::end(ours), named)) continue;
    require(!named("proxy-authorization") && !named("proxy-connection") && !named("keep-alive") &&
                !named("http2-settings"),
            "what is for this hop ends here", field.name);
    if (named("te")) {
      require(field.value == "trailers" && sent.lists("connection", "te"), "TE is our own");
      continue;
    }
    require(!named("trailer") || sent.count("transfer-encoding") == 1,
            "trailers are promised only where there can be some", field.name);
    require(!head.lists("connection", field.name), "what Connection names ends here", field.name);
    require(std::any_of(head.fields.begin(), head.fields.end(),
                        [&](const Field& from) {
                          return from.name == field.name && from.value == field.value;
                        }),
            "no field is invented", field.name);
  }
}

void check_sent(const std::string& out, const RequestHead& head, const ForwardedRequest& order) {
  std::size_t scanned = 0;
  const auto parsed = parse_request_head(out, {.bytes = 65536, .fields = 64}, scanned);
  require(parsed && *parsed, "what is sent on is a request head", out);
  const RequestHead& sent = **parsed;
  require(sent.size == out.size(), "it is one head and nothing behind it", out);
  require(sent.method == head.method && sent.target == order.origin_form && sent.minor == 1,
          "it asks for the same", out);
  require(request_body(sent) == order.body, "its body ends at the same byte", out);
  const auto host = Target::parse(sent.find("host").value_or(""), 80);
  require(host && *host == order.target, "it names the host that was judged", out);
  const std::string mark = " sluice (" + std::string(order.loop_token) + ")";
  require(std::any_of(sent.fields.begin(), sent.fields.end(),
                      [&](const Field& field) {
                        return equals_ignoring_case(field.name, "via") &&
                               field.value.ends_with(mark);
                      }),
          "it says where it came through", out);
  check_fields(sent, head);
  ForwardedRequest again{sent, order.target, order.origin_form, order.body, order.loop_token};
  const auto loop = forward_request_head(again);
  require(!loop && loop.error().reason == Reason::proxy_loop, "it is known when it comes back",
          out);
}

void check_forwarded(const RequestHead& head) {
  const auto target = Target::parse(authority_of(head), 80);
  const auto body = request_body(head);
  if (!target || !body) return;
  const std::string path = path_of(head);
  const auto offered = offered_protocols(head, *body);
  ForwardedRequest order{head, *target, path, *body, "f00d"};
  order.keep_alive = KeepAlive(head.keeps_alive());
  if (offered) order.upgrade = *offered;
  const auto out = forward_request_head(order);
  if (out) check_sent(*out, head, order);
}

// A refusal quotes what the agent said: it must stay one response, and one line to a reader.
void check_refusal(const RequestHead& head, Reason reason) {
  const Refusal refusal{reason, "coder-1", std::string(head.target), "default", "it is so"};
  const std::string said = sentence(refusal);
  require(std::none_of(said.begin(), said.end(),
                       [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }),
          "a sentence is one printable line", said);
  for (const AsJson as_json : {AsJson::no, AsJson::yes}) {
    const std::string reply = http_refusal(refusal, as_json, KeepAlive::yes);
    std::size_t scanned = 0;
    const auto answer = parse_response_head(reply, {}, scanned);
    require(answer && *answer, "a refusal is a response", reply);
    const auto body = response_body(head.method == "CONNECT" ? "GET" : head.method, **answer);
    require(body && (head.method == "HEAD" || (*answer)->size + body->length == reply.size()),
            "a refusal is one response", reply);
  }
}

void check_credentials(const RequestHead& head) {
  const auto said = read_proxy_authorization(head);
  if (!said || said->kind != ProxyAuthorization::Kind::basic) return;
  const Credentials& credentials = said->credentials;
  const std::string_view password = credentials.password.view();
  require(head.count("proxy-authorization") == 1, "one name and one password", credentials.user);
  require(credentials.user.size() <= longest_user && password.size() <= longest_password,
          "a name and a password are bounded", credentials.user);
  require(credentials.user.find(':') == std::string::npos, "a name ends at the first colon",
          credentials.user);
  require(!has_control_byte(credentials.user) && !has_control_byte(password),
          "they have no control byte", credentials.user);
}

// An agent chooses how its bytes are cut: no cut may hide HTTP from the one who judges it.
void check_speech(std::string_view bytes) {
  const Speech whole = classify(bytes);
  // Each call reads all that is there: long inputs are cut at some places only.
  for (std::size_t size = 1; size < bytes.size(); size += size < 200 ? 1 : 991) {
    const Speech early = classify(bytes.substr(0, size));
    if (early == Speech::unknown_yet) continue;
    require(early == whole || early == Speech::http, "what is HTTP at once is HTTP in pieces",
            bytes.substr(0, 200));
    return;
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  fuzz::check_speech(bytes);
  std::size_t scanned = 0;
  const auto whole = proxy::wire::parse_request_head(bytes, fuzz::limits, scanned);
  const auto slow = fuzz::read_slowly(bytes);
  const bool is_head = whole && *whole;
  fuzz::require(is_head == slow.has_value(), "pieces are judged as the whole is", bytes);
  if (!is_head) return 0;
  fuzz::require(fuzz::same(**whole, *slow), "pieces are read as the whole is", bytes);
  fuzz::require(
      (*whole)->size <= fuzz::limits.bytes && (*whole)->fields.size() <= fuzz::limits.fields,
      "the limits of a head hold", bytes);
  fuzz::check_credentials(**whole);
  fuzz::check_forwarded(**whole);
  fuzz::check_refusal(**whole, Reason(size % reason_count));
  return 0;
}
