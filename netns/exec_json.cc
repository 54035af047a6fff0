#include "netns/exec_json.h"

#include <fmt/core.h>

namespace sluice::netns {
namespace {

template <class Value>
Json or_null(const std::optional<Value>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json to_json(const SeenExec& exec) {
  return {{"program", exec.program},
          {"argv", exec.argv},
          {"argv_cut", exec.argv_cut},
          {"cwd", exec.cwd},
          {"pid", exec.pid},
          {"parent_pid", exec.parent_pid},
          {"parent", exec.parent},
          {"ms", or_null(exec.ms)},
          {"exit_status", or_null(exec.exit_status)},
          {"error", exec.error}};
}

Result<std::vector<std::string>> read_words(const Json& item) {
  const Json& list = item.at("argv");
  if (!list.is_array() || list.size() > max_exec_words) {
    return refuse(fmt::format("key 'argv' must be a list of at most {} words", max_exec_words));
  }
  std::vector<std::string> words;
  words.reserve(list.size());
  for (const Json& word : list) {
    if (!word.is_string()) return refuse("key 'argv' must be a list of strings");
    words.push_back(word.get<std::string>());
  }
  return words;
}

Result<void> read_texts(const Json& item, SeenExec& exec) {
  struct Text {
    const char* key;
    std::string SeenExec::*value;
  };
  for (const Text& text : {Text{"program", &SeenExec::program}, Text{"cwd", &SeenExec::cwd},
                           Text{"parent", &SeenExec::parent}, Text{"error", &SeenExec::error}}) {
    auto read = read_string(item, text.key);
    if (!read) return Failure(read.error());
    exec.*text.value = std::move(*read);
  }
  return {};
}

Result<void> read_numbers(const Json& item, SeenExec& exec) {
  for (const auto& [key, value] : {std::pair{"pid", &exec.pid}, {"parent_pid", &exec.parent_pid}}) {
    const auto read = read_number(item, key);
    if (!read) return Failure(read.error());
    *value = *read;
  }
  for (const auto& [key, value] : {std::pair{"ms", &exec.ms}, {"exit_status", &exec.exit_status}}) {
    if (item.at(key).is_null()) continue;
    const auto read = read_number(item, key);
    if (!read) return Failure(read.error());
    *value = *read;
  }
  return {};
}

Result<SeenExec> read_exec(const Json& item) {
  if (auto keys = require_keys(item, {"program", "argv", "argv_cut", "cwd", "pid", "parent_pid",
                                      "parent", "ms", "exit_status", "error"});
      !keys) {
    return Failure(keys.error());
  }
  SeenExec exec;
  auto words = read_words(item);
  if (!words) return Failure(words.error());
  exec.argv = std::move(*words);
  const Json& cut = item.at("argv_cut");
  if (!cut.is_boolean()) return refuse("key 'argv_cut' must be true or false");
  exec.argv_cut = cut.get<bool>();
  if (auto read = read_texts(item, exec); !read) return Failure(read.error());
  if (auto read = read_numbers(item, exec); !read) return Failure(read.error());
  return exec;
}

}  // namespace

Json to_json(const std::vector<SeenExec>& execs) {
  Json list = Json::array();
  for (const SeenExec& exec : execs) list.push_back(to_json(exec));
  return list;
}

Result<std::vector<SeenExec>> read_execs(const Json& object) {
  const Json& list = object.at("execs");
  if (!list.is_array()) return refuse("key 'execs' must be a list");
  std::vector<SeenExec> execs;
  execs.reserve(list.size());
  for (const Json& item : list) {
    auto exec = read_exec(item);
    if (!exec) return Failure(exec.error());
    execs.push_back(std::move(*exec));
  }
  return execs;
}

}  // namespace sluice::netns
