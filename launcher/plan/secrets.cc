#include "launcher/plan/secrets.h"

#include <array>

#include "launcher/paths.h"

namespace sluice::launcher {
namespace {

constexpr std::array<const char*, 34> names{".ssh",
                                            ".gnupg",
                                            ".aws",
                                            ".azure",
                                            ".kube",
                                            ".oci",
                                            ".terraform.d",
                                            ".docker",
                                            ".netrc",
                                            ".npmrc",
                                            ".pypirc",
                                            ".git-credentials",
                                            ".password-store",
                                            ".bash_history",
                                            ".zsh_history",
                                            ".python_history",
                                            ".node_repl_history",
                                            ".psql_history",
                                            ".mysql_history",
                                            ".sqlite_history",
                                            ".local/share/fish/fish_history",
                                            ".gem/credentials",
                                            ".config/git/credentials",
                                            ".mozilla",
                                            ".config/google-chrome",
                                            ".config/chromium",
                                            ".config/BraveSoftware",
                                            ".cargo/credentials",
                                            ".cargo/credentials.toml",
                                            ".config/sluice",
                                            ".config/gh",
                                            ".config/gcloud",
                                            ".config/containers",
                                            ".local/share/keyrings"};

}  // namespace

std::vector<std::string> secrets_below(const std::string& home) {
  std::vector<std::string> paths;
  paths.reserve(names.size());
  for (const char* name : names) paths.push_back(home + "/" + name);
  return paths;
}

std::vector<std::string> linked_secrets_below(const std::string& home) {
  std::vector<std::string> paths;
  for (const std::string& named : secrets_below(home)) {
    std::string real = touched_paths(named).back();
    if (real != named) paths.push_back(std::move(real));
  }
  return paths;
}

}  // namespace sluice::launcher
