// The name in a ClientHello is the same however the agent cuts it into reads and records.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "proxy/wire/client_hello.h"
#include "proxy/wire/wire_error.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using proxy::wire::as_octets;
using proxy::wire::ClientHelloReader;
using Status = ClientHelloReader::Status;

bool same(const ClientHelloReader& a, const ClientHelloReader& b) {
  return a.hello().server_name == b.hello().server_name &&
         a.hello().ech_offered == b.hello().ech_offered;
}

// Answers how many bytes it took until it was sure.
std::size_t read(ClientHelloReader& reader, std::string_view bytes, std::size_t piece) {
  std::size_t taken = 0;
  auto status = reader.feed({});
  while (status == Status::need_more && taken < bytes.size()) {
    const std::string_view now = bytes.substr(taken, piece);
    status = reader.feed(as_octets(now));
    taken += now.size();
  }
  return taken;
}

// The handshake message that the records at the front carry.
std::string message_in(std::string_view records) {
  std::string message;
  while (records.size() >= 5) {
    const std::size_t size = std::size_t{static_cast<std::uint8_t>(records[3])} << 8 |
                             static_cast<std::uint8_t>(records[4]);
    message += records.substr(5, size);
    records.remove_prefix(std::min(5 + size, records.size()));
  }
  return message;
}

std::string in_records(std::string_view message, std::size_t size) {
  std::string records;
  while (!message.empty()) {
    const std::string_view part = message.substr(0, size);
    records += {'\x16', '\x03', '\x01', static_cast<char>(part.size() >> 8),
                static_cast<char>(part.size())};
    records += part;
    message.remove_prefix(part.size());
  }
  return records;
}

void check_found(const ClientHelloReader& whole, std::string_view records) {
  if (const auto& name = whole.hello().server_name) {
    require(!name->empty() && name->size() <= 253, "a name has 1 to 253 bytes", *name);
    require(records.size() > name->size(), "a name was sent");
  }
  const std::string message = message_in(records);
  for (const std::size_t cut : {message.size() / 200 + 1, message.size() / 3 + 1}) {
    const std::string anew = in_records(message, std::min<std::size_t>(cut, 16384));
    ClientHelloReader again;
    require(again.feed(as_octets(anew)) == Status::done && same(again, whole),
            "records are only an envelope", anew);
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  ClientHelloReader whole;
  const Status status = whole.feed(as_octets(bytes));
  ClientHelloReader slow;
  const std::size_t taken = read(slow, bytes, 1);
  ClientHelloReader by_seven;
  read(by_seven, bytes, 7);
  for (ClientHelloReader* cut : {&slow, &by_seven}) {
    require(cut->feed({}) == status && cut->why() == whole.why() && same(*cut, whole),
            "pieces are read as the whole is", bytes);
  }
  const bool refused = status == Status::bad || status == Status::not_tls;
  require(refused == !whole.why().empty(), "a refusal says why");
  require(status == Status::done || !whole.hello().server_name,
          "nothing of a broken hello is believed");
  if (status == Status::done) check_found(whole, std::string_view(bytes).substr(0, taken));
  return 0;
}
