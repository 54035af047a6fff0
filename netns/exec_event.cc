#include "netns/exec_event.h"

#include <string>

#include "netns/handover.h"

namespace sluice::netns {

bool is_exec_event(std::string_view message) {
  static const std::string empty = [] {
    Event event;
    event.kind = Event::Kind::exec;
    return encode(event);
  }();
  return message.ends_with(std::string_view(empty).substr(empty.find(",\"kind\":")));
}

}  // namespace sluice::netns
