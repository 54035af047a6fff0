// A listener with TLS in front, whose sessions do what a test says.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <functional>
#include <optional>
#include <thread>

#include "proxy/daemon/spawn.h"
#include "proxy/session/session.h"
#include "proxy/session/tls_front.h"
#include "tests/loopback/tls_client.h"

namespace sluice::proxy {

inline const Identity& authority() {
  static const Identity made = make_identity({.common_name = "Test CA", .authority = true});
  return made;
}
inline Identity client_named(std::string common_name, std::string alternative = {}) {
  return make_identity({.common_name = std::move(common_name),
                        .alternative = std::move(alternative),
                        .issuer = &authority()});
}

class Front : public testing::Test {
 protected:
  using Inside = std::function<Task<void>(TlsFront::Accepted&)>;

  Front() {
    ::signal(SIGPIPE, SIG_IGN);  // as sluiced does
    worker_ = std::move(*Worker::create(shared_, std::make_shared<ResolverSettings>()));
    spawn(worker_->io, worker_->wheel.run());
    listener_.emplace(worker_->io, TcpEndpoint(asio::ip::address_v4::loopback(), 0));
    spawn(worker_->io, accept_all());
  }

  Config::Listener::Tls files(bool of_clients_too) const {
    return {folder_.write_certificate("cert.pem", server_), folder_.write_key("key.pem", server_),
            of_clients_too ? folder_.write_certificate("ca.pem", authority()) : ""};
  }
  std::uint16_t port() const { return listener_->local_endpoint().port(); }

  // Runs until `client`, on a thread of its own, and all connections are over.
  void run(const std::function<void()>& client, bool of_clients_too = false) {
    auto front = TlsFront::create(files(of_clients_too));
    ASSERT_TRUE(front) << to_string(front.error());
    front_ = *front;
    std::atomic<bool> over = false;
    std::thread thread([&] {
      client();
      over = true;
    });
    // Each of the client's own waits has its bound.
    while (!over) worker_->io.run_one_for(std::chrono::milliseconds(20));
    run_until(worker_->io, [&] { return open_ == 0 && pumping_ == 0; });
    EXPECT_EQ(open_, 0) << "a session is left";
    EXPECT_EQ(pumping_, 0) << "a connection is left";
    thread.join();
  }

  Task<void> accept_all() {
    for (;;) {
      auto [error, socket] = co_await listener_->async_accept();
      if (error) co_return;
      spawn(worker_->io, serve(std::move(socket)));
    }
  }
  Task<void> serve(Socket socket) {
    ++open_;
    auto accepted = co_await front_->accept(*worker_, std::move(socket));
    if (accepted) {
      agent_ = accepted->agent;
      ++accepted_;
      accepted->link->on_broken([this] { ++broken_; });
      spawn(worker_->io, watch(std::move(accepted->pumps)));
      co_await inside_(*accepted);
    } else {
      why_ = accepted.error();
    }
    --open_;
  }
  Task<void> watch(Task<void> pumps) {
    ++pumping_;
    co_await std::move(pumps);
    --pumping_;
  }

  PemFolder folder_;
  const Identity server_ = make_identity({.common_name = "proxy.test"});
  metrics::Registry registry_;
  Shared shared_{.timeouts = {.headers = far_away, .idle = far_away},
                 .own_listeners = {},
                 .loop_token = "b00b",
                 .registry = registry_};
  std::unique_ptr<Worker> worker_;
  std::optional<Acceptor> listener_;
  std::shared_ptr<const TlsFront> front_;
  int open_ = 0;
  int pumping_ = 0;
  int accepted_ = 0;
  int broken_ = 0;
  std::string agent_;
  std::string why_;
  Inside inside_ = [](TlsFront::Accepted& accepted) -> Task<void> { return hear_all(accepted); };

  static Task<void> hear_all(TlsFront::Accepted& accepted) {
    std::string heard;
    co_await hear(accepted.inside, heard);
  }
  static Task<ErrorCode> hear(Socket& socket, std::string& heard) {
    for (std::array<char, 4096> chunk;;) {
      const auto [error, size] = co_await socket.async_read_some(asio::buffer(chunk));
      if (error) co_return error;
      heard.append(chunk.data(), size);
    }
  }
  static Task<ErrorCode> say(Socket& socket, std::string_view bytes) {
    const auto [error, size] = co_await asio::async_write(socket, asio::buffer(bytes), Token());
    co_return error;
  }
};

}  // namespace sluice::proxy
