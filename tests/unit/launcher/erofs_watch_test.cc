#include "launcher/supervision/erofs_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sluice::launcher {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

ErofsWatch after(std::string_view said) {
  ErofsWatch watch;
  watch.feed(said);
  watch.finish();
  return watch;
}

std::string path_in(std::string_view line) {
  const ErofsWatch watch = after(line);
  EXPECT_TRUE(watch.has_heard()) << line;
  return watch.paths().empty() ? "" : watch.paths().front();
}

TEST(WhatProgramsSayOfAReadOnlyFileSystem, NamesThePath) {
  const std::pair<std::string_view, std::string_view> lines[] = {
      {"touch: cannot touch '/etc/x': Read-only file system", "/etc/x"},
      {"mkdir: cannot create directory \u2018/opt/a b\u2019: Read-only file system", "/opt/a b"},
      {"mv: cannot move 'a' to '/usr/b': Read-only file system", "/usr/b"},
      {"bash: /etc/x: Read-only file system", "/etc/x"},
      {"bash: line 1: /etc/my file: Read-only file system", "/etc/my file"},
      {"sh: 1: cannot create /etc/x: Read-only file system", "/etc/x"},
      {"OSError: [Errno 30] Read-only file system: '/usr/lib/x'", "/usr/lib/x"},
      {"OSError: [Errno 30] Read-only file system: \"/it's\"", "/it's"},
      {"Error: EROFS: read-only file system, open '/opt/y'", "/opt/y"},
      {"Error: EROFS: read-only file system, rename '/a' -> '/b'", "/a"},
      {"open /var/lib/x: read-only file system", "/var/lib/x"},
      {"java.io.FileNotFoundException: /etc/x (Read-only file system)", "/etc/x"},
      {"E: Could not open lock file /var/lib/dpkg/lock - open (30: Read-only file system)",
       "/var/lib/dpkg/lock"},
      {"E: List directory /var/lib/apt/x is missing. - Acquire (30: Read-only file system)",
       "/var/lib/apt/x"},
      {"error: could not lock config file /etc/gitconfig: Read-only file system", "/etc/gitconfig"},
      {"in `open': Read-only file system @ rb_sysopen - /srv/x (Errno::EROFS)", "/srv/x"},
      {"tar: /usr/x: Cannot open: Read-only file system", "/usr/x"},
      {"\x1b[31mbash: /etc/x: Read-only file system\x1b[0m\r", "/etc/x"},
      {"\x1b[1mEROFS: read-only file system, open '\x1b[32m/etc/x\x1b[0m'", "/etc/x"},
      {"10%\r20% '/no'\rcp: cannot create '/usr/x': Read-only file system\r", "/usr/x"},
  };
  for (const auto& [line, path] : lines) EXPECT_EQ(path_in(line), path) << line;
}

TEST(WhatProgramsSayOfAReadOnlyFileSystem, MayNameNoPathThatIsOne) {
  for (const std::string_view line : {
           "tar: ./x: Cannot open: Read-only file system",
           "Os { code: 30, kind: ReadOnlyFilesystem, message: \"Read-only file system\" }",
           "Read-only file system",
           "touch: cannot touch '/a\x1b]0;title\x07': Read-only file system",
           "touch: cannot touch '/a\x01': Read-only file system",
           "see https://host/Read-only file system",
           "EROFS: read-only file system, open '/half",
       }) {
    EXPECT_EQ(path_in(line), "") << line;
  }
}

TEST(TheWatchForReadOnlyPaths, HearsNothingInWhatIsNoSuchLine) {
  for (const std::string_view said : {"", "\n", "ead-only file syste", "read only file system '/x'",
                                      "Read-only\n file system: '/x'"}) {
    EXPECT_FALSE(after(said).has_heard()) << said;
  }
}

TEST(TheWatchForReadOnlyPaths, HearsALineInWhateverPiecesItComes) {
  const std::string said =
      "one\r\ntouch: cannot touch '/etc/x': Read-only file system\r\ntwo\r\nopen /y: read-only "
      "file "
      "system\r\nthree";
  for (std::size_t size = 1; size <= said.size(); ++size) {
    ErofsWatch watch;
    for (std::size_t at = 0; at < said.size(); at += size) {
      watch.feed(std::string_view(said).substr(at, size));
    }
    watch.finish();
    EXPECT_THAT(watch.paths(), ElementsAre("/etc/x", "/y")) << size;
  }
}

TEST(TheWatchForReadOnlyPaths, KeepsFiveOfThemAndKnowsThatThereWereMore) {
  std::string said;
  for (int number = 0; number < 5; ++number) {
    for (int twice = 0; twice < 2; ++twice)
      said += "open /" + std::to_string(number) + ": read-only file system\n";
  }
  EXPECT_THAT(after(said).paths(), ElementsAre("/0", "/1", "/2", "/3", "/4"));
  EXPECT_FALSE(after(said).has_more_paths());
  EXPECT_TRUE(after(said + "open /5: read-only file system\n").has_more_paths());
}

TEST(TheWatchForReadOnlyPaths, IsBoundedHoweverLongALineIsAndHoweverManyThereAre) {
  const std::string long_line(100'000, 'x');
  const std::string line = "open /a: read-only file system";
  for (const std::size_t piece : {std::size_t{1000}, std::size_t{16384}, std::size_t{1'000'000}}) {
    ErofsWatch watch;
    const std::string said = long_line + " " + line + "\n";
    for (std::size_t at = 0; at < said.size(); at += piece) {
      watch.feed(std::string_view(said).substr(at, piece));
    }
    EXPECT_THAT(watch.paths(), ElementsAre("/a")) << piece;
  }
  std::string flood;
  for (std::size_t i = 0; i < ErofsWatch::most_lines; ++i) flood += "read-only file system\n";
  EXPECT_THAT(after("\n" + flood + line).paths(), IsEmpty());
  EXPECT_THAT(after(flood.substr(flood.find('\n')) + line).paths(), ElementsAre("/a"));
}

TEST(TheWatchForReadOnlyPaths, TakesAnyBytes) {
  std::string said;
  for (int c = 0; c < 256; ++c) {
    said += "read-only file system" + std::string(1, static_cast<char>(c)) + "/\n";
    said += "'/" + std::string(1, static_cast<char>(c)) + "': Read-only file system";
    said += std::string(1, static_cast<char>(c)) + "\n";
  }
  const ErofsWatch watch = after(said);
  EXPECT_TRUE(watch.has_heard());
  for (const std::string& path : watch.paths()) EXPECT_EQ(path.front(), '/');
}

TEST(TheWatchForReadOnlyPaths, TakesInWhatAnotherOneHeardBehindItsOwnAndNothingTwice) {
  ErofsWatch watch = after("open /etc/b: read-only file system\n");
  watch.take_in(after("open /etc/a: read-only file system\nopen /etc/b: read-only file system\n"));
  EXPECT_THAT(watch.paths(), ElementsAre("/etc/b", "/etc/a"));
  ErofsWatch wordless;
  wordless.take_in(after("tar: ./x: Cannot open: Read-only file system\n"));
  EXPECT_TRUE(wordless.has_heard());
  std::string many;
  for (std::size_t i = 0; i <= ErofsWatch::most_paths; ++i) {
    many += "open /etc/" + std::to_string(i) + ": read-only file system\n";
  }
  wordless.take_in(after(many));
  EXPECT_EQ(wordless.paths().size(), ErofsWatch::most_paths);
  EXPECT_TRUE(wordless.has_more_paths());
}

TEST(TheWatchForReadOnlyPaths, ReadsTheAccountOfAnotherProcess) {
  using namespace std::string_view_literals;
  const ErofsWatch heard = ErofsWatch::of("hm/etc/a\0/opt/b c\0"sv);
  EXPECT_TRUE(heard.has_heard());
  EXPECT_TRUE(heard.has_more_paths());
  EXPECT_THAT(heard.paths(), ElementsAre("/etc/a", "/opt/b c"));
  EXPECT_EQ(heard.account(), "hm/etc/a\0/opt/b c\0"sv);
  const ErofsWatch wordless = ErofsWatch::of("h-"sv);
  EXPECT_TRUE(wordless.has_heard());
  EXPECT_FALSE(wordless.has_more_paths());
  EXPECT_THAT(wordless.paths(), IsEmpty());
  EXPECT_FALSE(ErofsWatch::of("--"sv).has_heard());
  EXPECT_FALSE(ErofsWatch::of(""sv).has_heard());
}

}  // namespace
}  // namespace sluice::launcher
