#include "launcher/plan/host_mounts.h"

#include <gmock/gmock.h>

namespace sluice::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::string_view table =
    "21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "22 21 0:20 / /proc rw - proc proc rw\n"
    "23 21 254:0 /data/home /home rw - ext4 /dev/vda rw\n"
    "24 21 254:0 /data /mnt rw - ext4 /dev/vda rw\n"
    "25 21 254:0 /data/home/me/with\\040space /srv/part rw - ext4 /dev/vda rw\n"
    "26 21 8:1 / /other ro,nosuid shared:1 master:2 - xfs /dev/sda1 rw\n"
    "no mount\n";

TEST(HostMounts, AreReadWithTheirEscapesUndone) {
  const auto mounts = parse_mountinfo(table);
  ASSERT_EQ(mounts.size(), 6U);
  EXPECT_EQ(mounts[4].device, "254:0");
  EXPECT_EQ(mounts[4].root, "/data/home/me/with space");
  EXPECT_EQ(mounts[4].point, "/srv/part");
  EXPECT_EQ(mounts[5].flags, "ro,nosuid");
  EXPECT_EQ(mounts[5].type, "xfs");
}

TEST(HostMounts, ShowTheSameFileUnderOtherPaths) {
  const auto mounts = parse_mountinfo(table);
  EXPECT_THAT(other_paths(mounts, "/home/me/.ssh"),
              ElementsAre("/data/home/me/.ssh", "/mnt/home/me/.ssh"));
  EXPECT_THAT(other_paths(mounts, "/home/me/with space"),
              ElementsAre("/data/home/me/with space", "/mnt/home/me/with space", "/srv/part"));
  EXPECT_THAT(
      other_paths(mounts, "/home/me/with space/key"),
      ElementsAre("/data/home/me/with space/key", "/mnt/home/me/with space/key", "/srv/part/key"));
  EXPECT_THAT(other_paths(mounts, "/other/key"), IsEmpty());
  EXPECT_THAT(other_paths({}, "/home/me"), IsEmpty());
}

}  // namespace
}  // namespace sluice::launcher
