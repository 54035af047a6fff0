// Whatever an agent asks of its DNS: an answer to that one question, of bounded size, or none.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/host.h"
#include "proxy/wire/dns_message.h"
#include "proxy/wire/reply.h"
#include "proxy/wire/wire_error.h"
#include "require.h"

namespace sluice::fuzz {
namespace {

using namespace proxy::wire;

// Strictly reads an answer of ours: RFC 1035 4.1, with no name but the question's and the root.
class AnswerReader {
 public:
  explicit AnswerReader(std::string_view bytes) : bytes_(bytes) {}

  std::size_t number(std::size_t octets) {
    std::size_t value = 0;
    for (const char c : take(octets)) value = value << 8 | static_cast<std::uint8_t>(c);
    return value;
  }
  std::string_view take(std::size_t size) {
    require(size <= bytes_.size() - at_, "an answer is whole");
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }
  void record(std::size_t& options) {
    if (bytes_.substr(at_, 1) == std::string_view("\0", 1)) {
      take(1);
    } else {
      require(number(2) == 0xc00c, "a record is about the question");
    }
    if (number(2) == 41) ++options;
    take(6);
    take(number(2));
  }
  bool at_end() const { return at_ == bytes_.size(); }

 private:
  std::string_view bytes_;
  std::size_t at_ = 0;
};

void check_answer(const DnsQuery& query, const std::string& answer, DnsTransport transport) {
  require(answer.size() <= (transport == DnsTransport::udp ? query.udp_size : 65535U),
          "an answer fits its transport");
  AnswerReader reader(answer);
  require(reader.number(2) == query.id, "an answer has its question's id");
  const std::size_t flags = reader.number(2);
  require((flags & 0xf800) == 0x8000, "it is a response to a query");
  require(reader.number(2) == 1, "it repeats one question");
  const std::size_t answers = reader.number(2);
  const std::size_t authorities = reader.number(2);
  const std::size_t additionals = reader.number(2);
  require(reader.take(query.question.size()) == query.question, "it repeats the question");
  require((flags & 0x0200) == 0 || answers + authorities == 0, "what is cut off is empty");
  require((flags & 0x0200) == 0 || transport == DnsTransport::udp, "nothing is cut off over TCP");
  std::size_t options = 0;
  for (std::size_t i = 0; i < answers + authorities + additionals; ++i) reader.record(options);
  require(options == (query.edns ? 1U : 0U), "it speaks EDNS to those who do");
  require(reader.at_end(), "nothing stands behind the last record");
}

void check_query(const DnsQuery& query, std::string_view message) {
  require(query.udp_size >= 512 && query.udp_size <= 4096, "a client's size is bounded");
  require(query.question.size() >= 5 && query.question.size() <= 255 + 4,
          "a question is one name of at most 255 bytes");
  require(message.substr(12, query.question.size()) == query.question,
          "the question is the message's");
  require(query.name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                       "0123456789-_.\\") == query.name.npos,
          "a name can be shown", query.name);
  if (const auto host = allowlists::Host::parse(query.name); host && host->is_name()) {
    require(query.name.size() + 6 == query.question.size(),
            "the name that is judged is the name that was asked for", query.name);
  }
}

void check_answers(const DnsQuery& query, std::size_t some) {
  const std::vector<IpAddress> addresses(some % 300, IpAddress::v4(0xc6120001));
  const std::string said(some % 700, 's');
  const Refusal refusal{Reason(some % reason_count), "coder-1", query.name, "default", said};
  for (const DnsTransport transport : {DnsTransport::udp, DnsTransport::tcp}) {
    check_answer(query, dns_addresses(query, addresses, 60, transport), transport);
    check_answer(query, dns_no_data(query, transport), transport);
    check_answer(query, dns_name_error(query, said, transport), transport);
    check_answer(query, dns_refusal(query, refusal, transport), transport);
  }
}

}  // namespace
}  // namespace sluice::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sluice::fuzz;
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto query = parse_dns_query(as_octets(bytes));
  if (query) {
    check_query(*query, bytes);
    check_answers(*query, size + query->id);
    return 0;
  }
  const DnsBroken& broken = query.error();
  require(!broken.why.empty(), "a refusal says why");
  if (broken.reply.empty()) return 0;
  require(bytes.size() >= 12 && (bytes[2] & 0x80) == 0, "only queries are answered");
  require(broken.reply.substr(0, 2) == bytes.substr(0, 2), "an answer has its question's id");
  require((broken.reply[2] & 0x80) != 0, "an answer is a response");
  require(broken.reply.size() <= bytes.size() + 11, "an answer to nonsense is no bigger than it");
  return 0;
}
