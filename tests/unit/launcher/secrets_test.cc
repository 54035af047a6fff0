#include "launcher/plan/secrets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace sluice::launcher {
namespace {

TEST(Secrets, AreNamedBelowAHomeDirectoryWhetherTheyExistOrNot) {
  EXPECT_THAT(secrets_below("/home/ana"),
              ::testing::IsSupersetOf({"/home/ana/.ssh", "/home/ana/.cargo/credentials.toml"}));
}

TEST(Secrets, AreKnownWhereLinksLead) {
  const std::string home = ::testing::TempDir() + "secrets-of-links";
  std::filesystem::remove_all(home);
  std::filesystem::create_directories(home + "/dotfiles/cargo");
  std::filesystem::create_directory_symlink("dotfiles/cargo", home + "/.cargo");
  std::filesystem::create_symlink("/elsewhere/key", home + "/.netrc");
  const std::string real = std::filesystem::canonical(home).string();
  EXPECT_THAT(
      linked_secrets_below(real),
      ::testing::UnorderedElementsAre(real + "/dotfiles/cargo/credentials",
                                      real + "/dotfiles/cargo/credentials.toml", "/elsewhere/key"));
  std::filesystem::remove_all(home);
}

}  // namespace
}  // namespace sluice::launcher
