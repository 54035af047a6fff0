#include "netns/handover.h"

#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstring>

namespace sluice::netns {
namespace {

struct Ends {
  Fd left;
  Fd right;
};

Ends ends() {
  auto pair = socket_pair();
  if (!pair) return {};
  const int flags = ::fcntl(pair->second.get(), F_GETFL);
  ::fcntl(pair->second.get(), F_SETFL, flags | O_NONBLOCK);
  return {std::move(pair->first), std::move(pair->second)};
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  DIR* directory = ::opendir("/proc/self/fd");
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

// A packet as a hostile peer would make it, past the limits of send_packet.
void send_raw(int socket, std::size_t bytes, const std::vector<int>& fds) {
  std::string text(bytes, 'x');
  iovec part{text.data(), text.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  ASSERT_EQ(::sendmsg(socket, &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes));
}

TEST(Packet, CarriesTextAndDescriptorsAndTheyArriveCloseOnExec) {
  const Ends pair = ends();
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const Fd reader(pipe[0]);
  const Fd writer(pipe[1]);
  ASSERT_TRUE(send_packet(pair.left.get(), "hello", {reader.get(), writer.get()}));
  auto got = receive_packet(pair.right.get());
  ASSERT_TRUE(got && *got);
  EXPECT_EQ((*got)->bytes, "hello");
  EXPECT_FALSE((*got)->closed);
  ASSERT_EQ((*got)->fds.size(), 2U);
  for (const Fd& fd : (*got)->fds) EXPECT_EQ(::fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
  struct stat sent {};
  struct stat received {};
  ASSERT_EQ(::fstat(writer.get(), &sent), 0);
  ASSERT_EQ(::fstat((*got)->fds[1].get(), &received), 0);
  EXPECT_EQ(sent.st_ino, received.st_ino);
}

TEST(Packet, ThatWasSaidBeforeThePeerHungUpOnAQuestionIsReadAllTheSame) {
  Ends pair = ends();
  ASSERT_TRUE(send_packet(pair.left.get(), "not admitted"));
  ASSERT_TRUE(send_packet(pair.right.get(), "a question that nobody reads"));
  pair.left.reset();
  auto last = receive_packet(pair.right.get());
  ASSERT_TRUE(last && *last);
  EXPECT_EQ((*last)->bytes, "not admitted");
  auto end = receive_packet(pair.right.get());
  ASSERT_TRUE(end && *end);
  EXPECT_TRUE((*end)->closed);
}

TEST(Packet, SaysNothingWhenNoneIsThereAndClosedWhenThePeerHasGone) {
  Ends pair = ends();
  auto none = receive_packet(pair.right.get());
  ASSERT_TRUE(none);
  EXPECT_FALSE(*none);
  ASSERT_TRUE(send_packet(pair.left.get(), "last words"));
  pair.left.reset();
  auto last = receive_packet(pair.right.get());
  ASSERT_TRUE(last && *last);
  EXPECT_EQ((*last)->bytes, "last words");
  auto end = receive_packet(pair.right.get());
  ASSERT_TRUE(end && *end);
  EXPECT_TRUE((*end)->closed);
  const auto sent = send_packet(pair.right.get(), "anyone?");
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().code, Errc::unavailable);
}

TEST(Packet, CountsAPeerThatLeftSomethingUnreadAsGone) {
  Ends pair = ends();
  ASSERT_TRUE(send_packet(pair.right.get(), "unread"));
  pair.left.reset();
  auto end = receive_packet(pair.right.get());
  ASSERT_TRUE(end && *end) << to_string(end.error());
  EXPECT_TRUE((*end)->closed);
}

TEST(Packet, ArrivesWholeAtItsGreatestSizeAndIsRefusedAboveIt) {
  const Ends pair = ends();
  ASSERT_TRUE(send_packet(pair.left.get(), std::string(max_message, 'a')));
  auto whole = receive_packet(pair.right.get());
  ASSERT_TRUE(whole && *whole);
  EXPECT_EQ((*whole)->bytes.size(), max_message);
  EXPECT_FALSE(send_packet(pair.left.get(), std::string(max_message + 1, 'a')));
  EXPECT_FALSE(send_packet(pair.left.get(), ""));
  EXPECT_FALSE(send_packet(pair.left.get(), "a", std::vector<int>(17, 0)));
}

TEST(Packet, IsAnErrorWhenTruncatedAndNoDescriptorStaysOpen) {
  const Ends pair = ends();
  const std::size_t before = open_descriptors();
  send_raw(pair.left.get(), max_message + 1, {0, 1});
  const auto long_text = receive_packet(pair.right.get());
  ASSERT_FALSE(long_text);
  EXPECT_EQ(long_text.error().what, "handover message is longer than 65536 bytes");

  send_raw(pair.left.get(), 5, std::vector<int>(17, pair.left.get()));
  const auto many = receive_packet(pair.right.get());
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().what,
            "handover message has more than 16 descriptors, or none are left here");

  send_raw(pair.left.get(), 0, {0});
  const auto mute = receive_packet(pair.right.get());
  ASSERT_FALSE(mute);
  EXPECT_EQ(mute.error().what, "handover message has descriptors and no text");
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Packet, CarriesAsManyDescriptorsAsItPromises) {
  const Ends pair = ends();
  ASSERT_TRUE(send_packet(pair.left.get(), "x", std::vector<int>(16, pair.left.get())));
  auto got = receive_packet(pair.right.get());
  ASSERT_TRUE(got && *got);
  EXPECT_EQ((*got)->fds.size(), 16U);
}

TEST(Packet, IsAnErrorWhenThisProcessHasNoDescriptorLeft) {
  const Ends pair = ends();
  ASSERT_TRUE(send_packet(pair.left.get(), "x", {0, 1}));
  const std::size_t before = open_descriptors();
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const rlimit none{3, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto got = receive_packet(pair.right.get());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  EXPECT_FALSE(got);
  EXPECT_EQ(open_descriptors(), before);
}

TEST(Packet, SendsWithoutWaitingOnANonBlockingSocket) {
  const Ends pair = ends();
  const std::string packet(max_message, 'a');
  for (int i = 0; i < 100; ++i) {
    const auto sent = send_packet(pair.right.get(), packet);
    if (sent) continue;
    EXPECT_EQ(sent.error().code, Errc::unavailable);
    return;
  }
  FAIL() << "100 packets of 64 KiB went into a socket that nobody reads";
}

Fd tcp_listener(int family, std::uint16_t port) {
  Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  ::listen(socket.get(), 1);
  return socket;
}

std::string refusal(Role role, int fd) {
  const auto cookie = verify_socket(role, fd);
  return cookie ? "accepted" : cookie.error().what;
}

TEST(VerifySocket, RefusesWhatIsNotTheSocketOfItsRoleAndSaysWhatDiffers) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  const Fd reader(pipe[0]);
  const Fd writer(pipe[1]);
  EXPECT_EQ(refusal(Role::proxy, reader.get()),
            "descriptor handed as 'proxy': cannot read SO_DOMAIN: Socket operation on non-socket");
  EXPECT_EQ(refusal(Role::proxy, -1),
            "descriptor handed as 'proxy': cannot read SO_DOMAIN: Bad file descriptor");

  const Fd listener = tcp_listener(AF_INET, 0);
  // IPv4 alone is what a kernel without IPv6 has.
  EXPECT_THAT(refusal(Role::dns_tcp, listener.get()), testing::EndsWith(", not to 0.0.0.0:53"));
  EXPECT_THAT(refusal(Role::port, listener.get()), testing::StartsWith("socket handed as 'port'"));
  EXPECT_EQ(refusal(Role::tproxy4, listener.get()),
            "socket handed as 'tproxy4' has IP_TRANSPARENT 0, not 1");
  EXPECT_NE(refusal(Role::proxy, listener.get()).find("not to 127.0.0.1:3128"), std::string::npos);

  const Fd idle(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refusal(Role::proxy, idle.get()),
            "socket handed as 'proxy' has SO_ACCEPTCONN 0, not 1");
  const Fd udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refusal(Role::proxy, udp.get()), "socket handed as 'proxy' has SO_TYPE 2, not 1");
  const Fd unix_socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(refusal(Role::proxy, unix_socket.get()),
            "socket handed as 'proxy' has SO_DOMAIN 1, not 2");
}

TEST(VerifySocket, KnowsThisProcessesOwnNetwork) {
  const auto mine = own_netns_cookie();
  ASSERT_TRUE(mine) << to_string(mine.error());
  EXPECT_EQ(own_netns_cookie().value_or(0), *mine);
}

}  // namespace
}  // namespace sluice::netns
