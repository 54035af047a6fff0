#include "launcher/protection/git_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::launcher {
namespace {

using ::testing::ElementsAre;

std::string number(std::size_t value, int size) {
  std::string bytes;
  for (int i = size - 1; i >= 0; --i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  return bytes;
}

struct Entry {
  std::string path;
  std::uint32_t mode = 0100644;
};

constexpr std::uint32_t repository_mode = 0160000;

// gitformat-index(5): entries whose stat data is zero.
std::string index_of(const std::vector<Entry>& entries, std::uint32_t version,
                     ObjectFormat format = ObjectFormat::sha1, const std::string& extensions = {}) {
  const std::size_t hash = format == ObjectFormat::sha1 ? 20 : 32;
  std::string bytes = "DIRC" + number(version, 4) + number(entries.size(), 4);
  std::string before;
  for (const auto& [path, mode] : entries) {
    std::string entry = std::string(24, '\0') + number(mode, 4) + std::string(12 + hash, '\0');
    entry += number(path.size(), 2);
    if (version == 4) {
      std::size_t same = 0;
      while (same < before.size() && same < path.size() && before[same] == path[same]) ++same;
      entry += static_cast<char>(before.size() - same) + path.substr(same) + '\0';
    } else {
      entry += path + '\0';
      while (entry.size() % 8 != 0) entry += '\0';
    }
    bytes += entry;
    before = path;
  }
  return bytes + extensions + std::string(hash, 'x');
}

bool leads_astray(const std::string& index, ObjectFormat format = ObjectFormat::sha1) {
  return read_index(index, format).leads_astray;
}

TEST(GitIndex, OfVersion4IsReadOnlyAsFarAsItsPathsAreBounded) {
  const std::string base(3900, 'p');
  std::vector<Entry> entries;
  for (int i = 0; i < 20'000; ++i) {
    entries.push_back({base + "/" + std::to_string(10'000 + i), repository_mode});
  }
  const auto content = read_index(index_of(entries, 4), ObjectFormat::sha1);
  EXPECT_TRUE(content.is_cut);
  EXPECT_LT(content.paths.size(), 18'000U);
  EXPECT_TRUE(leads_astray(index_of({{std::string(4096, 'p'), repository_mode}}, 2)));
}

TEST(AnIndex, LeadsAstrayWhereAComponentIsNoneThatGitPutsThere) {
  for (const std::uint32_t version : {2, 3, 4}) {
    for (const auto format : {ObjectFormat::sha1, ObjectFormat::sha256}) {
      const std::vector<Entry> fine{
          {".gita"}, {".gitignore"}, {"a/.github/x"}, {"a/..b"}, {"z.git/y"}};
      EXPECT_FALSE(leads_astray(index_of(fine, version, format), format)) << version;
      for (const char* path : {".git/hooks/x", ".gita/.git/x", "a/../../x", "../x", "/etc/x",
                               "a//b", ".GIT/config", "./x", "sub/.git", ""}) {
        auto entries = fine;
        entries.insert(entries.begin() + 2, {path});
        EXPECT_TRUE(leads_astray(index_of(entries, version, format), format))
            << path << " " << version;
      }
    }
  }
}

TEST(AnIndex, ThatCannotBeReadToItsEndLeadsAstray) {
  const std::string whole = index_of({{"a"}, {"b/c"}}, 2);
  EXPECT_FALSE(leads_astray(whole));
  EXPECT_TRUE(leads_astray(whole, ObjectFormat::sha256));
  EXPECT_TRUE(leads_astray(""));
  EXPECT_TRUE(leads_astray("DIRC"));
  EXPECT_TRUE(leads_astray(index_of({{"a"}}, 5)));
  EXPECT_TRUE(leads_astray(whole.substr(0, 90)));
  std::string more = whole;
  more[11] = 9;
  EXPECT_TRUE(leads_astray(more));
}

TEST(AnIndex, NamesRepositoriesAndTheDirectoriesThatItLeavesOut) {
  for (const std::uint32_t version : {2, 3, 4}) {
    const auto content = read_index(
        index_of({{"a"}, {"a/lib", repository_mode}, {"left/", 040000}, {"lib", repository_mode}},
                 version),
        ObjectFormat::sha1);
    EXPECT_FALSE(content.leads_astray);
    EXPECT_THAT(content.paths, ElementsAre("a/lib", "lib"));
    EXPECT_THAT(content.folders, ElementsAre("left"));
  }
  const auto all = read_index(index_of({{"a"}, {"lib", repository_mode}}, 2), ObjectFormat::sha1,
                              PathsWanted::all);
  EXPECT_THAT(all.paths, ElementsAre("a", "lib"));
}

TEST(AnIndex, ThatIsHalfOfASplitOneMayHaveEntriesWithoutAName) {
  const std::string split = "link" + number(20, 4) + std::string(20, 'h');
  const std::string other = "TREE" + number(3, 4) + "abc";
  const auto of = [&](std::uint32_t mode, const std::string& extensions) {
    return read_index(index_of({{"", mode}, {"b"}}, 2, ObjectFormat::sha1, extensions),
                      ObjectFormat::sha1);
  };
  EXPECT_FALSE(of(0100644, other + split).leads_astray);
  EXPECT_FALSE(of(0100644, other + split).is_half);
  EXPECT_TRUE(of(repository_mode, split).is_half);
  EXPECT_TRUE(of(0100644, other).leads_astray);
}

}  // namespace
}  // namespace sluice::launcher
