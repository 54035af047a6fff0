#include "launcher/protection/second_look.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <new>
#include <stdexcept>

namespace {

// How many more allocations of this thread succeed; -1: all of them do.
thread_local long allocations_left = -1;
thread_local bool fails_once = false;
thread_local bool has_failed = false;

void* allocate(std::size_t size) {
  if (allocations_left == 0) {
    has_failed = true;
    if (fails_once) allocations_left = -1;
    throw std::bad_alloc();
  }
  if (allocations_left > 0) --allocations_left;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
// Of libstdc++'s temporary buffers; a sanitizer's own would not be freed by what stands below.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return std::malloc(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace sluice::launcher {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// What is said while there is no memory to keep it in.
struct Ear {
  std::array<char, 65536> text{};
  std::size_t size = 0;

  void hear(std::string_view line) {
    ASSERT_LE(line.size() + 1, text.size() - size);
    size += line.copy(text.data() + size, line.size());
    text[size++] = '\n';
  }
  bool heard(std::string_view part) const {
    return std::string_view(text.data(), size).find(part) != std::string_view::npos;
  }
};

class SecondLook : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "sluice-again-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    root_ = fs::canonical(name);
    order_ = {root_ + "/w", IsProject::yes, "/home/ana", {root_ + "/user"}, {root_ + "/w/p/q"}};
    make("user", "[core]\n\thooksPath = .hooks\n");
    make("w/.git/HEAD", "");
    before_ = look_at(order_);
    make("w/.vimrc", "");
    make("w/.git/hooks/pre-commit", "");
    make("w/.git/config", "[include]\n\tpath = ../common\n[alias]\n\tx = !sh ./y\n");
    make("w/sub/.git/HEAD", "");
    fs::create_directory_symlink(".git/hooks", root_ + "/w/into");
  }
  void TearDown() override { fs::remove_all(root_); }
  void make(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root_ + "/" + path).parent_path());
    std::ofstream(root_ + "/" + path) << text;
  }
  // Answers what was said when allocation number `left` failed, and all after it unless `once`.
  Ear without_memory_after(long left, bool once) const {
    Ear ear;
    const Say say = [&](std::string_view line) { ear.hear(line); };
    has_failed = false;
    fails_once = once;
    allocations_left = left;
    look_again(order_, before_, say);
    allocations_left = -1;
    return ear;
  }

  const std::vector<std::string_view> planted_{"/w/.vimrc'", "/w/.git/hooks'", "/w/.git/config'",
                                               "/w/sub/.git'"};
  std::string root_;
  LookOrder order_;
  Sight before_;
};

TEST_F(SecondLook, TellsWhatWasPlantedWhateverAllocationFailsOrThatNotEverythingWasLookedAt) {
  for (const bool once : {true, false}) {
    std::size_t both = 0;
    has_failed = true;
    for (long left = 0; has_failed; ++left) {
      ASSERT_LT(left, 100'000);
      const Ear ear = without_memory_after(left, once);
      std::size_t told = 0;
      for (const std::string_view path : planted_) told += ear.heard(path) ? 1 : 0;
      const bool is_said = ear.heard("and 1 more") || ear.heard("was looked at again");
      EXPECT_TRUE(told == planted_.size() || is_said) << once << ' ' << left;
      both += is_said && told > 0 ? 1 : 0;
    }
    if (once) {
      EXPECT_GT(both, planted_.size());
    }
  }
}

TEST_F(SecondLook, SaysThatMemoryRanOut) {
  const Ear ear = without_memory_after(20, true);
  EXPECT_THAT(std::string(ear.text.data(), ear.size),
              HasSubstr("not everything in '" + root_ +
                        "/w' was looked at again, so that what this "
                        "run planted there is not named: out of memory\n"));
}

TEST_F(SecondLook, GoesOnAfterALineThatCouldNotBeSaid) {
  std::vector<std::string> lines;
  bool is_first = true;
  look_again(order_, before_, [&](std::string_view line) {
    if (std::exchange(is_first, false)) throw std::runtime_error("the terminal is gone");
    lines.emplace_back(line);
  });
  ASSERT_GE(lines.size(), planted_.size());
  EXPECT_THAT(lines.back(), HasSubstr("and 1 more"));
}

}  // namespace
}  // namespace sluice::launcher
