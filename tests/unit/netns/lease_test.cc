#include "netns/named/lease.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>

namespace sluice::netns {
namespace {

using testing::HasSubstr;

// A sluiced that gives one visitor these answers, and keeps what it was asked.
class FakeSluiced {
 public:
  explicit FakeSluiced(std::vector<Answer> answers) {
    std::string pattern = testing::TempDir() + "/sluice-lease-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path().c_str());
    const auto* const at = reinterpret_cast<const sockaddr*>(&address);
    listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::bind(listener_.get(), at, sizeof(address)), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    thread_ = std::thread([this, answers = std::move(answers)] { serve(answers); });
  }
  FakeSluiced(const FakeSluiced&) = delete;
  FakeSluiced& operator=(const FakeSluiced&) = delete;
  ~FakeSluiced() {
    join();
    std::filesystem::remove_all(folder_);
  }

  std::string path() const { return folder_ + "/handover.sock"; }
  void join() {
    if (thread_.joinable()) thread_.join();
  }

  std::vector<Request> asked;
  std::vector<std::size_t> descriptors;

 private:
  void serve(const std::vector<Answer>& answers) {
    const Fd visitor(::accept(listener_.get(), nullptr, nullptr));
    for (const Answer& answer : answers) {
      const bool unasked = std::holds_alternative<Bindings>(answer);
      if (!unasked) {
        auto packet = receive_packet(visitor.get());
        if (!packet || !*packet || (*packet)->closed) return;
        asked.push_back(*decode_request((*packet)->bytes));
        descriptors.push_back((*packet)->fds.size());
      }
      (void)send_packet(visitor.get(), encode(answer));
    }
  }

  std::string folder_;
  Fd listener_;
  std::thread thread_;
};

std::vector<RoleSocket> some_sockets(std::size_t ports = 0) {
  std::vector<RoleSocket> sockets;
  for (std::size_t i = 0; i < role_count + ports; ++i) {
    const Role role = i < role_count ? static_cast<Role>(i) : Role::port;
    sockets.push_back({role, Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))});
  }
  return sockets;
}

TEST(AnExplicitLease, IsRegisteredAndThePeerMayGo) {
  FakeSluiced sluiced({Registered{"id-1"}});
  const auto registered = take_lease(sluiced.path(), "coder-1", some_sockets());
  sluiced.join();
  ASSERT_TRUE(registered) << registered.error().what;
  EXPECT_EQ(registered->agent_id, "id-1");
  const auto& request = std::get<Register>(sluiced.asked.at(0));
  EXPECT_EQ(request.agent, "coder-1");
  EXPECT_EQ(request.lease, Lease::until_ended);
  EXPECT_EQ(sluiced.descriptors.at(0), role_count);
}

TEST(TheSandboxOfAPolicy, IsAskedForByName) {
  FakeSluiced sluiced({SandboxAsked{R"({"pids":64})"}});
  const auto asked = ask_sandbox(sluiced.path(), "coder-1");
  sluiced.join();
  ASSERT_TRUE(asked) << asked.error().what;
  EXPECT_EQ(*asked, R"({"pids":64})");
  EXPECT_EQ(std::get<AskSandbox>(sluiced.asked.at(0)).agent, "coder-1");
  FakeSluiced stern({Refused{"not yours"}});
  EXPECT_THAT(ask_sandbox(stern.path(), "coder-1").error().what, HasSubstr("not yours"));
  stern.join();
}

TEST(AnExplicitLease, HandsOverMoreSocketsThanOneMessageCarries) {
  FakeSluiced sluiced({Registered{"id-1"}, Accepted{}, Accepted{}});
  ASSERT_TRUE(take_lease(sluiced.path(), "coder-1", some_sockets(30)));
  sluiced.join();
  ASSERT_EQ(sluiced.asked.size(), 3U);
  EXPECT_TRUE(std::holds_alternative<Add>(sluiced.asked[1]));
  EXPECT_THAT(sluiced.descriptors, testing::ElementsAre(16, 16, 3));
}

TEST(AnExplicitLease, IsRefusedWithWhatSluicedSaid) {
  FakeSluiced sluiced({Refused{"the agent name 'coder-1' is taken"}});
  const auto refused = take_lease(sluiced.path(), "coder-1", some_sockets());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::not_permitted);
  EXPECT_THAT(refused.error().what, HasSubstr("'coder-1' is taken"));
}

TEST(AnExplicitLease, NeedsASluicedThatAnswers) {
  EXPECT_THAT(take_lease("/nowhere/handover.sock", "coder-1", {}).error().what,
              HasSubstr("cannot reach sluiced at '/nowhere/handover.sock'"));
  EXPECT_FALSE(take_lease(std::string(200, 'x'), "coder-1", {}));
  FakeSluiced sluiced({});
  const auto gone = take_lease(sluiced.path(), "coder-1", some_sockets());
  ASSERT_FALSE(gone);
  EXPECT_EQ(gone.error().code, Errc::unavailable);
}

TEST(AnExplicitLease, IsEndedByNameWithItsTotals) {
  Totals totals;
  totals.allowed = 3;
  FakeSluiced sluiced({Bindings{{{"allowed.test", 1}}}, totals});
  const auto ended = end_lease(sluiced.path(), "coder-1", 4711);
  sluiced.join();
  ASSERT_TRUE(ended && ended->totals);
  EXPECT_EQ(ended->totals->allowed, 3U);
  EXPECT_EQ(std::get<Unregister>(sluiced.asked.at(0)).agent, "coder-1");
  EXPECT_EQ(std::get<Unregister>(sluiced.asked.at(0)).netns_cookie, 4711U);
}

TEST(AnExplicitLease, ThatIsNotThereIsEndedAlready) {
  FakeSluiced sluiced({Refused{"no explicit lease of agent 'coder-1'"}});
  const auto ended = end_lease(sluiced.path(), "coder-1", 4711);
  ASSERT_TRUE(ended);
  EXPECT_FALSE(ended->totals);
  EXPECT_EQ(ended->why, "no explicit lease of agent 'coder-1'");
  const auto away = end_lease("/nowhere/handover.sock", "coder-1", 4711);
  ASSERT_TRUE(away);
  EXPECT_THAT(away->why, HasSubstr("cannot reach sluiced"));
}

TEST(TheProxySocket, IsTheOptionThenTheEnvironmentThenTheDefault) {
  ::setenv("SLUICE_HANDOVER", "/tmp/other.sock", 1);
  EXPECT_EQ(choose_proxy_socket("/tmp/mine.sock"), "/tmp/mine.sock");
  EXPECT_EQ(choose_proxy_socket(""), "/tmp/other.sock");
  ::setenv("SLUICE_HANDOVER", "", 1);
  EXPECT_EQ(choose_proxy_socket(""), "/run/sluice/handover.sock");
  ::unsetenv("SLUICE_HANDOVER");
  EXPECT_EQ(choose_proxy_socket(""), "/run/sluice/handover.sock");
}

}  // namespace
}  // namespace sluice::netns
