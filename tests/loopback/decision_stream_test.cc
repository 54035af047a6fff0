// Who reads the stream of decisions over a socket, and who does not.
#include "proxy/daemon/decision_stream.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>

#include "proxy/daemon/admin.h"
#include "proxy/daemon/spawn.h"
#include "proxy/daemon/unix_socket.h"
#include "tests/loopback/patience.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

class Streaming : public testing::Test {
 protected:
  Streaming() {
    ::signal(SIGPIPE, SIG_IGN);  // as sluiced does
    if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp");
    entrance.emplace(io, listen_unix(path(), SOCK_STREAM, 0600).value());
    spawn(io, serve_admin(io, pages, *entrance));
  }
  ~Streaming() override {
    entrance->close();
    clients.clear();
    run_out(io);
    std::filesystem::remove_all(folder);
  }
  std::string path() const { return folder + "/admin.sock"; }

  int ask(std::string_view more = "Accept: text/event-stream\r\n") {
    Fd client = connect_unix(path(), SOCK_STREAM | SOCK_NONBLOCK).value();
    const std::string request =
        "GET /api/v1/decisions HTTP/1.1\r\nHost: a\r\n" + std::string(more) + "\r\n";
    EXPECT_EQ(::send(client.get(), request.data(), request.size(), 0), std::ssize(request));
    clients.push_back(std::move(client));
    return clients.back().get();
  }
  // What is heard until `text` was, or the end.
  std::string heard(int client, std::string_view text) {
    std::string all;
    std::array<char, 65536> bytes;
    for (const auto end = Clock::now() + patience; Clock::now() < end;) {
      run_for(io, 5ms);
      const ssize_t size = ::recv(client, bytes.data(), bytes.size(), 0);
      if (size == 0) return all + "(end)";
      if (size > 0) all.append(bytes.data(), static_cast<std::size_t>(size));
      const std::size_t heard_now = size > 0 ? static_cast<std::size_t>(size) + text.size() : 0;
      if (all.find(text, all.size() - std::min(all.size(), heard_now)) != all.npos) break;
    }
    return all;
  }
  void deny(const std::string& host) {
    metrics::AuditLine line;
    line.agent = "a";
    line.via = metrics::Via::http;
    line.host = host;
    recent.add(line, metrics::to_json(line));
  }

  asio::io_context io{1};
  metrics::Registry registry;
  metrics::Recent recent;
  AdminPages pages{.registry = registry,
                   .operators = {.policy = [] { return ""; },
                                 .agents = [] { return std::vector<AgentAccount>(); },
                                 .recent = &recent}};
  std::string folder = (std::filesystem::temp_directory_path() / "sluice-XXXXXX").native();
  std::optional<Entrance> entrance;
  std::vector<Fd> clients;
};

TEST_F(Streaming, TellsEveryReaderOfADecisionAsItComes) {
  const int one = ask();
  const int other = ask();
  EXPECT_THAT(heard(one, "\r\n\r\n"), HasSubstr("Content-Type: text/event-stream\r\n"));
  (void)heard(other, "\r\n\r\n");
  deny("evil.test");
  EXPECT_THAT(heard(one, "evil.test"), HasSubstr("event: decision\ndata: {"));
  EXPECT_THAT(heard(other, "evil.test"), HasSubstr("event: decision\ndata: {"));
}

TEST_F(Streaming, LosesLinesOfAReaderThatDoesNotReadAndTellsHowMany) {
  const int client = ask();
  (void)heard(client, "\r\n\r\n");
  const std::string long_host(500, 'x');
  // More than the socket's buffers and the ring hold together.
  constexpr int lines = 5000;
  for (int i = 0; i < lines; ++i) {
    deny(long_host);
    if (i % 100 == 0) io.run_for(1ms);
  }
  deny("last.test");
  const std::string all = heard(client, "last.test");
  std::uint64_t told = 0;
  std::uint64_t lost = 0;
  for (auto at = all.find("event: "); at != all.npos; at = all.find("event: ", at + 1)) {
    const bool is_lost = all.compare(at, 11, "event: lost") == 0;
    if (is_lost) lost += std::stoull(all.substr(all.find("count\":", at) + 7));
    told += is_lost ? 0 : 1;
  }
  EXPECT_GT(lost, 0U);
  EXPECT_EQ(told + lost, lines + 1U);
}

TEST_F(Streaming, HasPlacesForSixteenAndForTheNextWhenOneGoes) {
  for (int i = 0; i < 16; ++i) EXPECT_THAT(heard(ask(), "\r\n\r\n"), HasSubstr(" 200 OK"));
  EXPECT_THAT(heard(ask(), "}"), HasSubstr("503 Service Unavailable"));
  EXPECT_THAT(heard(ask(""), "}"), HasSubstr("{\"decisions\":[]}")) << "a page needs no such place";
  clients.erase(clients.begin());
  std::string answer;
  for (const auto end = Clock::now() + patience;
       Clock::now() < end && !answer.starts_with("HTTP/1.1 2");) {
    answer = heard(ask(), "\r\n\r\n");
  }
  EXPECT_THAT(answer, HasSubstr(" 200 OK"));
}

}  // namespace
}  // namespace sluice::proxy
