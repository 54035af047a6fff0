#include "metrics/via.h"

namespace sluice::metrics {

std::string_view via_name(Via via) noexcept {
  switch (via) {
    case Via::connect:
      return "connect";
    case Via::http:
      return "http";
    case Via::socks5:
      return "socks5";
    case Via::transparent:
      return "transparent";
    case Via::dns:
      return "dns";
    case Via::exec:
      return "exec";
    case Via::event:
      break;
  }
  return "event";
}

}  // namespace sluice::metrics
