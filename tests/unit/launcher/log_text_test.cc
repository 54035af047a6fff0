#include "launcher/sessions/log_text.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

std::string in_pieces(std::string_view bytes, std::size_t size) {
  LogText text;
  std::string shown;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(size, bytes.size()))) {
    shown += text.add(bytes.substr(0, size));
  }
  return shown + text.rest();
}

TEST(ALogOnATerminal, IsTheSameHoweverItArrives) {
  const std::string_view bytes =
      "a\tb\r\n\x1b[2J\r\u00fc\u20ac\U0001f600\xff\xc3\n\xe2\x80\xae.\r\n\xf0\x9f";
  const std::string expected =
      "a\tb\n\\x1b[2J\\x0d\u00fc\u20ac\U0001f600\\xff\\xc3\n\\u{202e}.\n\\xf0\\x9f";
  for (std::size_t size = 1; size <= bytes.size(); ++size) {
    EXPECT_EQ(in_pieces(bytes, size), expected) << size;
  }
}

TEST(ALogOnATerminal, ShowsALineBeforeItEnds) {
  LogText text;
  EXPECT_EQ(text.add("password: "), "password: ");
}

}  // namespace
}  // namespace sluice::launcher
