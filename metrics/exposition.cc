#include "metrics/exposition.h"

#include <fmt/format.h>

#include <iterator>

namespace sluice::metrics {
namespace {

void append_escaped(std::string& out, std::string_view value) {
  if (value.find_first_of("\\\"\n") == value.npos) {
    out += value;
    return;
  }
  for (const char c : value) {
    if (c == '\\' || c == '"') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
}

void close(std::string& out, const fmt::format_int& number) {
  out.append(number.data(), number.size());
  out += '\n';
}

}  // namespace

void Page::begin(Type type, const Head& head) {
  name_ = head.name;
  fmt::format_to(std::back_inserter(text_), "# HELP {0} {1}\n# TYPE {0} {2}\n", head.name,
                 head.help, type == Type::counter ? "counter" : "gauge");
}

void Page::open(Labels labels) {
  text_ += name_;
  char before = '{';
  for (const Label& label : labels) {
    text_ += before;
    text_ += label.name;
    text_ += "=\"";
    append_escaped(text_, label.value);
    text_ += '"';
    before = ',';
  }
  text_ += labels.size() == 0 ? " " : "} ";
}

void Page::whole(std::int64_t number, Labels labels) {
  open(labels);
  close(text_, fmt::format_int(number));
}

void Page::whole(std::uint64_t number, Labels labels) {
  open(labels);
  close(text_, fmt::format_int(number));
}

}  // namespace sluice::metrics
