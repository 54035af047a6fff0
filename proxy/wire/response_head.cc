#include "proxy/wire/response_head.h"

#include <algorithm>

namespace sluice::proxy::wire {
namespace {

tl::unexpected<WireError> broken(const std::string& why) {
  return wire_fail(Reason::unreachable, "the origin did not answer in HTTP: " + why);
}

// "HTTP/1.1 200 OK". A missing reason phrase may lack the space before it: many origins leave both
// out.
WireResult<void> parse_status_line(std::string_view line, ResponseHead& head) {
  const std::string_view version = line.substr(0, 9);
  if (version != "HTTP/1.1 " && version != "HTTP/1.0 ") {
    return broken("the status line does not begin with HTTP/1.1 or HTTP/1.0");
  }
  head.minor = version[7] - '0';
  const std::string_view code = line.substr(9, 3);
  if (code.size() != 3 || code[0] < '1' || code[0] > '5' ||
      !std::all_of(code.begin(), code.end(), [](char c) { return c >= '0' && c <= '9'; })) {
    return broken("the status code is not a number from 100 to 599");
  }
  head.status = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
  if (line.size() > 12 && line[12] != ' ') return broken("the status code has more than 3 digits");
  head.reason = line.substr(std::min<std::size_t>(13, line.size()));
  const auto may_stand = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '\t' || (byte >= 0x20 && byte != 0x7f);
  };
  if (!std::all_of(head.reason.begin(), head.reason.end(), may_stand)) {
    return broken("the reason phrase has a control byte");
  }
  return {};
}

}  // namespace

WireResult<std::optional<ResponseHead>> parse_response_head(std::string_view bytes,
                                                            const HeadLimits& limits,
                                                            std::size_t& scanned) {
  if (bytes.starts_with('\r')) return broken("an empty line stands before the status line");
  auto lines = split_head(bytes, limits.bytes, scanned);
  if (!lines) return broken(lines.error().why);
  if (!*lines) return std::nullopt;

  ResponseHead head;
  head.size = (*lines)->size;
  if (auto line = parse_status_line((*lines)->start_line, head); !line) {
    return tl::unexpected(std::move(line.error()));
  }
  auto fields = parse_fields((*lines)->field_lines, limits.fields);
  if (!fields) return broken(fields.error().why);
  head.fields = std::move(*fields);
  return head;
}

}  // namespace sluice::proxy::wire
