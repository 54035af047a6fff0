// What happens at the bounds of the daemon's own entrances: see docs/limits.md.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>

#include "proxy/daemon/admin.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/listener_agents.h"
#include "proxy/session/waiting_room.h"
#include "tests/loopback/reloading.h"

namespace sluice::proxy {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(WaitingRoom, HasPlacesForSoManyAndForSoManyOfOneSource) {
  const auto room = std::make_shared<WaitingRoom>(WaitingRoom::Limits{.all = 3, .per_source = 2});
  const IpAddress one = *IpAddress::parse("192.0.2.1");
  auto first = room->enter(one);
  auto second = room->enter(one);
  EXPECT_TRUE(first && second);
  EXPECT_FALSE(room->enter(one)) << "full for this source";
  const auto third = room->enter(*IpAddress::parse("2001:db8::1"));
  EXPECT_TRUE(third);
  EXPECT_FALSE(room->enter(*IpAddress::parse("192.0.2.2"))) << "full for everybody";
  first.reset();
  EXPECT_TRUE(room->enter(one));
}

TEST(WaitingRoom, TakesAnIpv6LinkForOneSource) {
  const auto room = std::make_shared<WaitingRoom>(WaitingRoom::Limits{.all = 9, .per_source = 1});
  const auto place = room->enter(*IpAddress::parse("2001:db8::1"));
  EXPECT_FALSE(room->enter(*IpAddress::parse("2001:db8::ffff")));
  EXPECT_TRUE(room->enter(*IpAddress::parse("2001:db8:0:1::1")));
}

TEST(ListenerAgents, OfCertificatesAreBoundedAndMakeRoomWhenTheyGo) {
  metrics::Registry registry;
  Allowances allowances;
  ListenerAgents agents(registry, allowances);
  agents.set_policy(policy_of("version: 1\n"));
  std::vector<std::shared_ptr<Agent>> held;
  for (std::size_t i = 0; i < ListenerAgents::most_visiting; ++i) {
    auto agent = agents.visit(fmt::format("a{}", i));
    ASSERT_TRUE(agent) << i;
    held.push_back(std::move(*agent));
  }
  const auto refused = agents.visit("one-more");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unavailable);
  EXPECT_TRUE(agents.visit("a0")) << "one that is there already";
  held.pop_back();
  EXPECT_TRUE(agents.visit("one-more"));
}

// A Unix socket at which somebody listens, in a directory of its own.
class UnixListener {
 public:
  explicit UnixListener(int type) : type_(type) {
    std::string folder = (std::filesystem::temp_directory_path() / "sluice-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) throw std::runtime_error("mkdtemp");
    folder_ = folder;
    address_.sun_family = AF_UNIX;
    (folder + "/socket").copy(address_.sun_path, sizeof address_.sun_path - 1);
    listener = Fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (::bind(listener.get(), name(), sizeof address_) != 0) throw std::runtime_error("bind");
    if (::listen(listener.get(), 128) != 0) throw std::runtime_error("listen");
  }
  ~UnixListener() { std::filesystem::remove_all(folder_); }

  Fd connect() const {
    Fd client(::socket(AF_UNIX, type_ | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(client.get(), name(), sizeof address_), 0);
    ::fcntl(client.get(), F_SETFL, O_NONBLOCK);
    return client;
  }

  Fd listener;

 private:
  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&address_); }

  const int type_;
  std::filesystem::path folder_;
  sockaddr_un address_{};
};

std::string heard(const Fd& client) {
  std::array<char, 512> bytes;
  const ssize_t size = ::recv(client.get(), bytes.data(), bytes.size(), 0);
  return size > 0 ? std::string(bytes.data(), static_cast<std::size_t>(size)) : "";
}

TEST(Admin, AnswersSixtyFourAtATimeAndThenTheNext) {
  const metrics::Registry registry;
  UnixListener socket(SOCK_STREAM);
  asio::io_context io{1};
  Entrance entrance(io, std::move(socket.listener));
  const AdminPages pages{.registry = registry};
  spawn(io, serve_admin(io, pages, entrance));
  const auto began = Clock::now();
  std::vector<Fd> silent;
  for (int i = 0; i < 64; ++i) silent.push_back(socket.connect());
  run_for(io, 200ms);
  const Fd next = socket.connect();
  const std::string_view request = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(::send(next.get(), request.data(), request.size(), 0), std::ssize(request));
  run_for(io, 300ms);
  std::string answer = heard(next);
  const bool all_are_there = Clock::now() - began < 5s;  // as long as a silent one may be
  EXPECT_TRUE(answer.empty() || !all_are_there) << answer;
  silent.pop_back();
  run_until(io, [&] { return !(answer += heard(next)).empty(); });
  EXPECT_THAT(answer, HasSubstr(" 200 OK"));
  entrance.close();
  silent.clear();
  run_out(io);
}

TEST(Admin, EndsACallerThatSaysNothing) {
  const metrics::Registry registry;
  UnixListener socket(SOCK_STREAM);
  asio::io_context io{1};
  Entrance entrance(io, std::move(socket.listener));
  const AdminPages pages{.registry = registry};
  spawn(io, serve_admin(io, pages, entrance));
  const Fd client = socket.connect();
  char byte = 0;
  run_until(io, [&] { return ::recv(client.get(), &byte, 1, 0) == 0; });
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 0);
  entrance.close();
  run_out(io);
}

// Supervisors as they connect; nobody registers.
struct Handover : Reloading {
  explicit Handover(Peers::Limits limits)
      : agents(workers, shared),
        socket(SOCK_SEQPACKET),
        entrance(io, std::move(socket.listener)),
        peers(io, agents, limits) {
    agents.set_policy(policy_of("version: 1\n"));
    spawn(io, peers.accept(entrance));
  }
  ~Handover() {
    entrance.close();
    proxy::run_for(io, 100ms);
  }
  std::string answer_to(const Fd& client, const netns::Request& request,
                        const std::vector<int>& fds = {}) {
    EXPECT_TRUE(netns::send_packet(client.get(), netns::encode(request), fds));
    return answer(client);
  }
  std::string answer(const Fd& client) {
    std::string said;
    proxy::run_until(io, [&] { return !(said += heard(client)).empty(); });
    return said;
  }

  asio::io_context io{1};
  Workers workers;
  Agents agents;
  UnixListener socket;
  Entrance entrance;
  Peers peers;
};

TEST(Handover, OfAUserHasSoManyConnectionsAndSaysSoToTheNext) {
  Handover bench({.connections_per_uid = 2, .agents_per_uid = 1});
  const Fd first = bench.socket.connect();
  std::optional<Fd> second = bench.socket.connect();
  EXPECT_THAT(bench.answer_to(first, netns::Names{}), HasSubstr("\"ok\":true"));
  EXPECT_THAT(bench.answer_to(*second, netns::Names{}), HasSubstr("\"ok\":true"));
  EXPECT_THAT(bench.answer(bench.socket.connect()),
              HasSubstr("this user has as many handover connections as it may"));
  second.reset();
  run_ready(bench.io);
  EXPECT_THAT(bench.answer_to(bench.socket.connect(), netns::Names{}), HasSubstr("\"ok\":true"));
}

TEST(Handover, OfAUserHasSoManyAgentsAndSaysSoToTheNext) {
  Handover bench({.connections_per_uid = 2, .agents_per_uid = 0});
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const netns::Register request{"coder-1", {netns::Role::proxy}, {}};
  EXPECT_THAT(bench.answer_to(bench.socket.connect(), request, {null.get()}),
              HasSubstr("may have no more"));
}

TEST(Handover, TakesAsManyNamesAsThereAreAddresses) {
  Handover bench({});
  const Fd client = bench.socket.connect();
  netns::Names names;
  for (std::uint32_t i = 0; i < netns::max_names_per_message; ++i)
    names.names.push_back({fmt::format("n{}.test", i), i + 1});
  std::size_t taken = 0;
  std::string said;
  while (taken <= SyntheticNames::max_names) {
    said = bench.answer_to(client, names);
    if (said.find("\"ok\":true") == std::string::npos) break;
    taken += names.names.size();
  }
  EXPECT_THAT(said, HasSubstr("at most 16384"));
  EXPECT_LE(taken, SyntheticNames::max_names);
}

}  // namespace
}  // namespace sluice::proxy
