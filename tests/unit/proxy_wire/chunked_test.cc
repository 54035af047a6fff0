#include "proxy/wire/chunked.h"

#include <gtest/gtest.h>

namespace sluice::proxy::wire {
namespace {

struct Outcome {
  std::string body;
  std::size_t consumed = 0;
  bool done = false;
  std::string why;  // of the error that ended it
};

// Feeds the pieces in turn, as a session does.
Outcome read(ChunkedReader& reader, std::initializer_list<std::string_view> pieces) {
  Outcome outcome;
  for (std::string_view piece : pieces) {
    while (!piece.empty() && !outcome.done) {
      const auto step = reader.feed(piece);
      if (!step) {
        outcome.why = step.error().why;
        return outcome;
      }
      EXPECT_GT(step->consumed + step->done, 0U);
      outcome.body += step->payload;
      outcome.consumed += step->consumed;
      outcome.done = step->done;
      piece.remove_prefix(step->consumed);
    }
  }
  return outcome;
}

Outcome read(std::string_view bytes) {
  ChunkedReader reader(Reason::bad_request);
  return read(reader, {bytes});
}

constexpr std::string_view sample =
    "5\r\nhello\r\n00a ;name=\"v\"\r\n0123456789\r\n0\r\nX-Sum: 7\r\nHost: evil.test\r\n\r\n";

TEST(ChunkedReader, GivesTheBodyAndStopsAtItsEnd) {
  ChunkedReader reader(Reason::bad_request);
  const std::string bytes = std::string(sample) + "GET / HTTP/1.1\r\n";
  const Outcome outcome = read(reader, {bytes});
  EXPECT_TRUE(outcome.done) << outcome.why;
  EXPECT_EQ(outcome.body, "hello0123456789");
  EXPECT_EQ(outcome.consumed, sample.size());
}

TEST(ChunkedReader, DropsTrailersThatWouldChangeTheMessage) {
  ChunkedReader reader(Reason::bad_request);
  ASSERT_TRUE(read(reader, {sample}).done);
  ASSERT_EQ(reader.trailers().size(), 1U);
  EXPECT_EQ(reader.trailers()[0].name, "X-Sum");
  EXPECT_EQ(reader.trailers()[0].value, "7");
}

TEST(ChunkedReader, ReadsABodyCutAtAnyPlace) {
  for (std::size_t cut = 0; cut <= sample.size(); ++cut) {
    ChunkedReader reader(Reason::bad_request);
    const Outcome outcome = read(reader, {sample.substr(0, cut), sample.substr(cut)});
    EXPECT_TRUE(outcome.done) << cut << outcome.why;
    EXPECT_EQ(outcome.body, "hello0123456789") << cut;
  }
  ChunkedReader reader(Reason::bad_request);
  Outcome outcome;
  std::string body;
  for (std::size_t at = 0; at < sample.size(); ++at) {
    outcome = read(reader, {sample.substr(at, 1)});
    body += outcome.body;
  }
  EXPECT_TRUE(outcome.done);
  EXPECT_EQ(body, "hello0123456789");
}

TEST(ChunkedReader, RefusesEveryOtherSpelling) {
  for (const std::string_view bytes : {"5\nhello\r\n",
                                       "5\r\nhello\n",
                                       "5\r\nhelloX",
                                       "5\r\nhello\rX",
                                       "\r\n",
                                       "g\r\n",
                                       " 5\r\n",
                                       "+5\r\n",
                                       "-1\r\n",
                                       "0x5\r\n",
                                       "5 \r\n",
                                       "5\rX",
                                       "5;a\n\r\n",
                                       "5;\x01\r\n",
                                       "5 5\r\n",
                                       "5,5\r\n",
                                       "00000000000000005\r\n",
                                       "10000000000000000\r\n",
                                       "0\r\nX: y\n\r\n",
                                       "0\r\nX\r\n\r\n",
                                       "0\r\n X: y\r\n\r\n",
                                       "0\r\n\rX",
                                       "0\r\n\n",
                                       ";a\r\n"}) {
    const Outcome outcome = read(bytes);
    EXPECT_FALSE(outcome.done) << bytes;
    EXPECT_NE(outcome.why, "") << bytes;
  }
  EXPECT_EQ(read("00000000000000005\r\n").why, "a chunk size has more than 16 digits");
}

TEST(ChunkedReader, BoundsExtensionsAndTrailers) {
  EXPECT_EQ(read("5;" + std::string(255, 'x') + "\r\nhello\r\n0\r\n\r\n").body, "hello");
  EXPECT_EQ(read("5;" + std::string(256, 'x')).why, "a chunk extension is too long");
  EXPECT_EQ(read("5" + std::string(257, ' ')).why, "a chunk extension is too long");
  EXPECT_EQ(read("5;" + std::string(200 << 10, 'x')).why, "a chunk extension is too long");
  EXPECT_EQ(read("0\r\nX: " + std::string(8192, 'x')).why, "the trailer is larger than the limit");
  std::string many = "0\r\n";
  for (int i = 0; i < 33; ++i) many += "X: y\r\n";
  EXPECT_EQ(read(many + "\r\n").why, "in the trailer: the header has more fields than the limit");
}

TEST(ChunkedReader, CountsTheLargestSizeWithoutOverflow) {
  ChunkedReader reader(Reason::unreachable);
  const Outcome outcome = read(reader, {"ffffffffffffffff\r\n", "abc"});
  EXPECT_EQ(outcome.why, "");
  EXPECT_EQ(outcome.body, "abc");
  ChunkedReader other(Reason::unreachable);
  EXPECT_EQ(other.feed("x").error().reason, Reason::unreachable);
}

TEST(ChunkHeader, IsTheSizeInHexadecimal) {
  EXPECT_EQ(chunk_header(26), "1a\r\n");
  EXPECT_EQ(chunk_header(0) + std::string(chunk_end), last_chunk);
}

}  // namespace
}  // namespace sluice::proxy::wire
