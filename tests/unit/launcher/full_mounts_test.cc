#include "launcher/sandbox/full_mounts.h"

#include <gtest/gtest.h>

#include <map>

namespace sluice::launcher {
namespace {

constexpr std::uint64_t mebi = std::uint64_t{1024} * 1024;

Mount mount(Mount::Kind kind, const std::string& path) {
  Mount mount;
  mount.kind = kind;
  mount.path = path;
  return mount;
}

TEST(TheLastLine, NamesWhatIsFullAndOfWhatAndHowToAllowMore) {
  Plan plan;
  plan.mounts = {mount(Mount::Kind::tmpfs, "/tmp"), mount(Mount::Kind::tmpfs, "/dev/shm"),
                 mount(Mount::Kind::seed, "/a b"),  mount(Mount::Kind::tmpfs, "/run"),
                 mount(Mount::Kind::bind, "/data"), mount(Mount::Kind::tmpfs, "/gone")};
  const std::map<std::string, Room> rooms{{"/tmp", {256 * mebi, 0, 65536, 60000}},
                                          {"/dev/shm", {256 * mebi, 200 * mebi, 65536, 0}},
                                          {"/a b", {100 * mebi, mebi, 1000, 900}},
                                          {"/run", {16 * mebi, mebi, 4096, 4000}},
                                          {"/data", {mebi, 0, 10, 0}},
                                          {"/", {mebi, 0, 10, 0}}};
  const auto look = [&](const std::string& path) -> std::optional<Room> {
    const auto found = rooms.find(path);
    return found == rooms.end() ? std::nullopt : std::optional(found->second);
  };
  EXPECT_EQ(tell_full(plan, look),
            "; '/tmp' is full: 256 MiB (--tmpfs /tmp:SIZE allows more)"
            "; '/dev/shm' is full: 65536 files (--tmpfs /dev/shm:SIZE allows more)"
            "; '/a b' is full: 100 MiB (--seed '/a b':SIZE allows more)");
  plan.mounts.clear();
  EXPECT_EQ(tell_full(plan, look), "");
  plan.root.mode = Root::Mode::overlay;
  EXPECT_EQ(tell_full(plan, look), "; '/' is full: 1 MiB (--tmpfs /:SIZE allows more)");
  plan.root.upper = Root::Upper::disk;
  EXPECT_EQ(tell_full(plan, look), "");
}

TEST(TheRoom, OfADirectoryIsWhatItsFileSystemSays) {
  const auto room = room_of("/");
  ASSERT_TRUE(room);
  EXPECT_GE(room->bytes, room->free_bytes);
  EXPECT_FALSE(room_of("/nowhere"));
}

}  // namespace
}  // namespace sluice::launcher
