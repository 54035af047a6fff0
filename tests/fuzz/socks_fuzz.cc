// A SOCKS5 message is taken when it is whole, with nothing of what follows it.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "proxy/wire/socks.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using namespace proxy::wire;

// How long the message at the front of `bytes` is, if there is one. `parse` takes exactly it: one
// byte less is too little, and more changes nothing. What is broken is broken however much follows.
template <class Parse>
std::optional<std::size_t> extent(std::string_view bytes, Parse parse) {
  const auto whole = parse(bytes);
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const auto early = parse(bytes.substr(0, size));
    if (!early) {
      require(!whole, "what is broken early is broken", bytes);
      return std::nullopt;
    }
    if (!*early) continue;
    require(whole && *whole && (*whole)->size == size && (*early)->size == size,
            "a message ends where it ends", bytes);
    return size;
  }
  require(whole.has_value() && !*whole, "what is not whole is waited for", bytes);
  return std::nullopt;
}

void check_greeting(const SocksGreeting& greeting, std::string_view bytes) {
  const std::string_view methods = bytes.substr(2, greeting.size - 2);
  require(!methods.empty() && methods.size() <= 255, "1 to 255 methods are offered", bytes);
  require(greeting.offers_none == (methods.find('\x00') != methods.npos) &&
              greeting.offers_password == (methods.find('\x02') != methods.npos),
          "an offer is what was offered", bytes);
}

void check_request(const SocksRequest& request, std::string_view bytes) {
  require(bytes[0] == socks_version && bytes[2] == 0, "it is SOCKS version 5");
  if (const auto* name = std::get_if<std::string>(&request.host)) {
    require(!name->empty() && name->size() <= 255, "a name has 1 to 255 bytes");
    require(bytes.substr(5, name->size()) == *name && request.size == 7 + name->size(),
            "a name is what was sent", bytes);
  } else {
    require(request.size == 10 || request.size == 22, "an address has 4 or 16 bytes", bytes);
  }
  const std::string_view port = bytes.substr(request.size - 2, 2);
  require(request.port ==
              (static_cast<std::uint8_t>(port[0]) << 8 | static_cast<std::uint8_t>(port[1])),
          "a port is what was sent", bytes);
}

void check_password(const SocksPassword& said, std::string_view bytes) {
  const std::string& user = said.credentials.user;
  const std::string_view password = said.credentials.password.view();
  require(said.size == 3 + user.size() + password.size(), "two texts and their lengths", bytes);
  require(bytes.substr(2, user.size()) == user &&
              bytes.substr(said.size - password.size(), password.size()) == password,
          "a name and a password are what was sent", bytes);
  for (const std::string_view text : {std::string_view(user), password}) {
    require(!text.empty() && text.size() <= 255, "they have 1 to 255 bytes", bytes);
    require(!has_control_byte(text), "they have no control byte", bytes);
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  if (extent(bytes, parse_socks_greeting)) check_greeting(**parse_socks_greeting(bytes), bytes);
  if (extent(bytes, parse_socks_request)) check_request(**parse_socks_request(bytes), bytes);
  if (extent(bytes, parse_socks_password)) check_password(**parse_socks_password(bytes), bytes);
  return 0;
}
