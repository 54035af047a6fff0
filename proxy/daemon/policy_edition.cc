#include "proxy/daemon/policy_edition.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "proxy/daemon/timestamp.h"

namespace sluice::proxy {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t most_shown = 100;

class Sha256 {
 public:
  Sha256() { EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    unsigned size = 0;
    EVP_DigestFinal_ex(context_.get(), digest.data(), &size);
    std::string text;
    for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_{EVP_MD_CTX_new(),
                                                                   &EVP_MD_CTX_free};
};

Json problems(const std::vector<Error>& errors) {
  Json list = Json::array();
  for (std::size_t i = 0; i < std::min(errors.size(), most_shown); ++i) {
    const Error& error = errors[i];
    const Mark where = error.where.value_or(Mark{});
    list.push_back({{"file", where.file},
                    {"line", where.line},
                    {"column", where.column},
                    {"message", error.what},
                    {"hint", error.hint}});
  }
  return list;
}

void add_problems(Json& to, const char* key, const std::vector<Error>& errors) {
  to[key] = problems(errors);
  if (errors.size() > most_shown) to[fmt::format("more_{}", key)] = errors.size() - most_shown;
}

}  // namespace

std::string digest_of(std::span<const allowlists::Source> sources) {
  Sha256 digest;
  for (const allowlists::Source& source : sources) {
    if (sources.size() > 1) digest.add(fmt::format("{} {}\n", source.name, source.text.size()));
    digest.add(source.text);
  }
  return digest.hex();
}

PolicyEdition edition_of(std::string path, std::string digest, allowlists::ReadText read) {
  PolicyEdition edition{.policy = allowlists::compile(read.text),
                        .path = std::move(path),
                        .digest = std::move(digest),
                        .warnings = std::move(read.warnings)};
  for (allowlists::AgentEntry& entry : read.text.agents) {
    edition.agents.push_back(std::move(entry.pattern));
  }
  return edition;
}

tl::expected<PolicyEdition, std::vector<Error>> make_edition(
    const std::string& path, std::span<const allowlists::Source> sources) {
  auto read = allowlists::read_text(sources);
  if (!read) return tl::unexpected(std::move(read.error()));
  return edition_of(path, digest_of(sources), std::move(*read));
}

tl::expected<PolicyEdition, std::vector<Error>> read_edition(const std::string& path) {
  const auto sources = allowlists::read_sources(path);
  if (!sources) return tl::unexpected(std::vector{sources.error()});
  return make_edition(path, *sources);
}

PolicyEdition no_policy() { return {.policy = allowlists::empty_policy()}; }

std::string to_json(const PolicyEdition& in_force, const LastReload& last) {
  Json answer;
  answer["path"] = in_force.path;
  answer["loaded_at"] = timestamp(in_force.loaded_at);
  answer["digest"] = in_force.digest;
  answer["rules"] = in_force.policy->rule_count();
  answer["agents"] = in_force.agents;
  Json reload;
  reload["at"] = timestamp(last.at);
  reload["ok"] = last.ok;
  add_problems(reload, "errors", last.errors);
  answer["last_reload"] = std::move(reload);
  add_problems(answer, "warnings", in_force.warnings);
  // ASCII only: what an editor or an agent put into a name moves no cursor and reorders no line.
  return answer.dump(-1, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace sluice::proxy
