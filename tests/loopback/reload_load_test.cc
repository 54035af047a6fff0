// A thousand reloads while the agent works.
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "proxy/daemon/policy_reload.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;

// What goes on while the policy changes. Every loop ends when `over`.
struct Load {
  Reloading& bench;
  std::uint16_t echo_port;
  std::uint16_t http_port;
  bool over = false;
  int running = 0;
  int lost = 0;  // of what stays allowed
  int echoes = 0, connects = 0, requests = 0, downloads = 0, cuts = 0, refusals = 0;
};

Task<bool> hear(Socket& socket, std::string& into, std::size_t size) {
  into.resize(size);
  const auto [error, got] =
      co_await asio::async_read(socket, asio::buffer(into), asio::transfer_all(), Token());
  co_return !error && got == size;
}

Task<bool> tell(Socket& socket, const std::string& bytes) {
  const auto [error, sent] = co_await asio::async_write(socket, asio::buffer(bytes), Token());
  co_return !error;
}

constexpr std::string_view established = "HTTP/1.1 200 Connection Established\r\n\r\n";

// One tunnel after another, each of `rounds` echoes.
Task<void> echo_through(Load& load, int rounds, int& count) {
  ++load.running;
  std::string heard;
  for (unsigned seed = 1; !load.over;) {
    Socket socket = load.bench.arrive();
    const std::string line = Reloading::connect_line("allowed.test", load.echo_port);
    bool good = co_await tell(socket, line);
    if (good) good = co_await hear(socket, heard, established.size());
    if (heard != established) good = false;
    for (int i = 0; good && i < rounds && !load.over; ++i) {
      seed = seed * 1103515245U + 12345U;
      std::string bytes(1 + seed / 65536U % 512U, static_cast<char>(seed >> 8));
      bytes[0] = '\x01';
      good = co_await tell(socket, bytes);
      if (good) good = co_await hear(socket, heard, bytes.size());
      if (heard != bytes) good = false;
    }
    good ? ++count : ++load.lost;
  }
  --load.running;
}

// Requests on one connection, each answered by `size` bytes.
Task<void> fetch(Load& load, std::size_t size, int& count) {
  ++load.running;
  Socket socket = load.bench.arrive();
  const std::string request =
      fmt::format("GET http://allowed.test:{0}/{1} HTTP/1.1\r\nHost: allowed.test:{0}\r\n\r\n",
                  load.http_port, size);
  std::string head;
  std::string body;
  while (!load.over && load.lost == 0) {
    bool good = co_await tell(socket, request);
    for (head.clear(); good && !head.ends_with("\r\n\r\n");) {
      std::string byte;
      good = co_await hear(socket, byte, 1);
      head += byte;
    }
    if (good) good = co_await hear(socket, body, size);
    if (!head.starts_with("HTTP/1.1 200 ") || body != std::string(size, 'x')) good = false;
    good ? ++count : ++load.lost;
  }
  --load.running;
}

// Connections to the host that some of the policies deny.
Task<void> be_cut(Load& load) {
  ++load.running;
  Timer pause(load.bench.worker->io);
  std::string heard;
  while (!load.over) {
    Socket socket = load.bench.arrive();
    const std::string line = Reloading::connect_line("other.test", load.echo_port);
    bool good = co_await tell(socket, line);
    if (good) good = co_await hear(socket, heard, established.size());
    if (heard == established) {
      std::array<char, 1> byte;
      const auto [error, size] = co_await socket.async_read_some(asio::buffer(byte));
      if (error) ++load.cuts;
    } else {
      ++load.refusals;
    }
    pause.expires_after(2ms);
    co_await pause.async_wait();
  }
  --load.running;
}

class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "sluice-reload-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  std::string path_;
};

void put(const std::string& file, const std::string& text) { std::ofstream(file) << text; }

TEST(Reload, LosesNothingThatStaysAllowedInAThousandReloadsUnderLoad) {
  constexpr int reloads = 1000;
  Reloading bench;
  const auto answer = [](const std::string& so_far) -> std::optional<std::string> {
    if (!so_far.ends_with("\r\n\r\n")) return std::nullopt;
    const std::size_t size = std::stoul(so_far.substr(so_far.find('/') + 1));
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", size) +
           std::string(size, 'x');
  };
  Load load{bench, bench.origin(echo), bench.origin(answer)};
  const std::string kept = allow_host("allowed.test", load.echo_port) +
                           allow_host("allowed.test", load.http_port) +
                           allow_loopback(load.echo_port) + allow_loopback(load.http_port);
  const std::string more = kept + allow_host("other.test", load.echo_port);
  const std::array policies = {policy_of(text_of(more)), policy_of(text_of(kept)),
                               policy_of(text_of(more) + "    deny: [{host: other.test}]\n")};
  const Folder folder;
  const std::string file = folder / "policy.yaml";
  put(file, text_of(more));
  std::vector<std::weak_ptr<const allowlists::Policy>> from_file;
  PolicyEdition in_force = no_policy();
  in_force.path = file;
  const auto tell = [&](Reloaded reloaded) {
    if (!reloaded.edition) return;  // read while it was being written
    asio::post(bench.worker->io, [&, policy = reloaded.edition->policy] {
      from_file.push_back(policy);
      bench.swap(policy);
    });
  };
  auto reload = PolicyReload::start(in_force, tell, {.quiet = 5ms, .longest = 50ms});
  ASSERT_TRUE(reload);
  bench.swap(policies[0]);
  for (int i = 0; i < 4; ++i) spawn(bench.worker->io, echo_through(load, 1 << 30, load.echoes));
  spawn(bench.worker->io, echo_through(load, 1, load.connects));
  spawn(bench.worker->io, fetch(load, 10, load.requests));
  spawn(bench.worker->io, fetch(load, 1'000'000, load.downloads));
  for (int i = 0; i < 3; ++i) spawn(bench.worker->io, be_cut(load));
  const std::clock_t began = std::clock();
  const auto enough = [&] {
    return load.connects > 20 && load.requests > 20 && load.downloads > 2 && load.cuts > 10 &&
           load.refusals > 10 && from_file.size() > 5;
  };
  // On a slow machine more of them, until there was a load to speak of.
  for (int i = 0; i < reloads || (!enough() && i < 10 * reloads); ++i) {
    bench.swap(policies[static_cast<std::size_t>(i) % policies.size()]);
    if (i % 50 == 0) {
      put(file, text_of(i % 100 == 0 ? kept : more) + fmt::format("# {}\n", i));
    }
    bench.worker->io.run_for(2ms);
  }
  reload->reset();
  bool taken = false;  // what it has posted
  asio::post(bench.worker->io, [&] { taken = true; });
  bench.run_until([&] { return taken; });
  bench.swap(policies[1]);
  load.over = true;
  bench.run_until([&] { return load.running == 0 && bench.agent->sessions == 0; });
  // Of this process: how long it waits for a processor is the machine's affair.
  EXPECT_LT((std::clock() - began) / CLOCKS_PER_SEC, 20);
  EXPECT_EQ(load.lost, 0);
  EXPECT_EQ(load.echoes, 4) << "each of the four tunnels lived through all of it";
  EXPECT_TRUE(enough()) << load.connects << ' ' << load.requests << ' ' << load.downloads << ' '
                        << load.cuts << ' ' << load.refusals << ' ' << from_file.size();
  for (const auto& policy : from_file) EXPECT_TRUE(policy.expired()) << "nobody holds it any more";
}

}  // namespace
}  // namespace sluice::proxy
