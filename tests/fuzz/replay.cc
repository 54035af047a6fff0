// Runs a fuzz target without a fuzzer: each file of a corpus once, then mutations of them that are
// the same on every run.
//
//   NAME_replay CORPUS DICTIONARY MUTATIONS
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace sluice::fuzz {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t max_input = 16'384;

std::string current_input;

void write_all(const char* data, std::size_t size) {
  while (size > 0) {
    const ::ssize_t written = ::write(STDERR_FILENO, data, size);
    if (written <= 0) return;
    data += written;
    size -= static_cast<std::size_t>(written);
  }
}

// Shows the input that broke the target; only what signal-safety(7) allows.
void on_crash(int signal) {
  constexpr std::string_view before = "\n---- the input is:\n";
  constexpr std::string_view after = "\n---- end\n";
  write_all(before.data(), before.size());
  write_all(current_input.data(), current_input.size());
  write_all(after.data(), after.size());
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

void run(std::string input) {
  current_input = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(current_input.data()),
                         current_input.size());
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> corpus(const fs::path& directory) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(directory)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const fs::path& path : paths) inputs.push_back(contents(path));
  return inputs;
}

// The words of a libFuzzer dictionary: "…" with \xNN, \" and \\.
std::vector<std::string> dictionary(const fs::path& path) {
  std::vector<std::string> words;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with('"') || line.size() < 2) continue;
    std::string word;
    for (std::size_t i = 1; i + 1 < line.size(); ++i) {
      if (line[i] == '\\' && line[i + 1] == 'x') {
        word += static_cast<char>(std::stoi(line.substr(i + 2, 2), nullptr, 16));
        i += 3;
      } else {
        if (line[i] == '\\') ++i;
        word += line[i];
      }
    }
    words.push_back(std::move(word));
  }
  return words;
}

class Mutator {
 public:
  Mutator(std::vector<std::string> inputs, std::vector<std::string> words)
      : inputs_(std::move(inputs)), words_(std::move(words)) {}

  // Most of them change whole lines and words, so that they may still be well formed.
  std::string next() {
    std::string input = one_of(inputs_);
    const bool gentle = below(4) != 0 && is_text(input);
    for (std::size_t i = 1 + below(2); i > 0; --i)
      gentle ? change_text(input) : change_bytes(input);
    input.resize(std::min(input.size(), max_input));
    return input;
  }

 private:
  struct Piece {
    std::size_t begin = 0;
    std::size_t size = 0;
  };

  // std::uniform_int_distribution differs between libraries.
  std::size_t below(std::size_t end) { return end == 0 ? 0 : random_() % end; }
  const std::string& one_of(const std::vector<std::string>& texts) {
    return texts[below(texts.size())];
  }
  std::string bytes_of(const std::string& text) {
    const std::size_t begin = below(text.size());
    return text.substr(begin, 1 + below(std::min<std::size_t>(text.size() - begin, 64)));
  }
  // Lines and words mean nothing in binary messages.
  static bool is_text(const std::string& input) {
    return std::none_of(input.begin(), input.end(), [](char c) { return c >= 0 && c < '\t'; });
  }
  // The run of characters around some place that has none of `between`, and its end if that counts.
  Piece around(const std::string& text, const char* between) {
    const std::size_t at = below(text.size());
    const std::size_t before = at == 0 ? text.npos : text.find_last_of(between, at - 1);
    const std::size_t begin = before + 1;  // npos + 1 is 0
    return {begin, std::min(text.find_first_of(between, at), text.size()) - begin};
  }
  std::string piece_of(const std::string& text, const char* between) {
    const auto [begin, size] = around(text, between);
    return text.substr(begin, size);
  }

  void change_text(std::string& input) {
    constexpr const char* word_ends = " \n\t\"'[]{},:#";
    const auto [line, line_size] = around(input, "\n");
    const auto [word, word_size] = around(input, word_ends);
    switch (below(5)) {
      case 0:
        input.erase(line, line_size + 1);
        break;
      case 1:
        input.insert(line, piece_of(input, "\n") + '\n');
        break;
      case 2:
        input.insert(line, piece_of(one_of(inputs_), "\n") + '\n');
        break;
      case 3:
        input.replace(word, word_size, piece_of(one_of(inputs_), word_ends));
        break;
      default:
        input.replace(word, word_size, one_of(words_));
        break;
    }
  }

  void change_bytes(std::string& input) {
    const std::size_t at = below(input.size() + 1);
    switch (below(6)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(random_());
        break;
      case 1:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 2:
        input.erase(at, 1 + below(16));
        break;
      case 3:
        input.replace(at, below(8), one_of(words_));
        break;
      case 4:
        input.insert(at, bytes_of(input + '\n'));
        break;
      default:
        input.insert(at, bytes_of(one_of(inputs_) + '\n'));
        break;
    }
  }

  std::vector<std::string> inputs_;
  std::vector<std::string> words_;
  std::mt19937 random_{20260104};
};

int replay(const fs::path& directory, const fs::path& words, int mutations) {
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE}) ::signal(signal, on_crash);
  const auto inputs = corpus(directory);
  if (inputs.empty()) {
    std::fprintf(stderr, "error: '%s' is empty\n", directory.c_str());
    return EXIT_FAILURE;
  }
  for (const std::string& input : inputs) run(input);
  Mutator mutator(inputs, dictionary(words));
  for (int i = 0; i < mutations; ++i) run(mutator.next());
  std::printf("%zu files and %d mutations of them\n", inputs.size(), mutations);
  return EXIT_SUCCESS;
}

}  // namespace
}  // namespace sluice::fuzz

int main(int count, char** arguments) {
  if (count == 4) return sluice::fuzz::replay(arguments[1], arguments[2], std::atoi(arguments[3]));
  std::fprintf(stderr, "usage: %s CORPUS DICTIONARY MUTATIONS\n", arguments[0]);
  return 2;
}
