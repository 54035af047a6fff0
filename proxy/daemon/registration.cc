#include "proxy/daemon/registration.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <boost/asio/post.hpp>
#include <iterator>

#include "netns/take_over.h"
#include "proxy/daemon/intake.h"
#include "proxy/daemon/peer_access.h"
#include "proxy/daemon/spawn.h"
#include "proxy/session/dns.h"
#include "proxy/session/session.h"

namespace sluice::proxy {

struct Registration::Sockets {
  explicit Sockets(Worker& its_worker) : worker(its_worker) {}
  Worker& worker;
  std::vector<std::shared_ptr<Intake>> intakes;
  std::vector<netns::Role> roles;  // in the order of intakes
  std::shared_ptr<UdpSocket> dns;

  void close() {
    for (const auto& intake : intakes) intake->close();
    ErrorCode ignored;
    if (dns) dns->close(ignored);
  }
};

namespace {

// A connection inherits SO_LINGER from its listener, whose open file is the peer's as well, and
// with it close(2) waits even where nothing else does (socket(7)).
void forget_inherited(Socket& socket) noexcept {
  constexpr linger none{};
  ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

class AgentIntake final : public Intake {
 public:
  AgentIntake(Worker& worker, Trust trust, std::shared_ptr<Agent> agent, netns::Role role)
      : Intake(worker, trust), agent_(std::move(agent)), role_(role) {}

 private:
  bool is_full() const noexcept override {
    const auto most = static_cast<int>(worker().shared.limits.connections_per_agent);
    return most > 0 && agent_->sessions >= most;
  }
  void take(Socket socket, const IpAddress&) override {
    forget_inherited(socket);
    spawn(worker().io, proxy::serve(worker(), agent_, std::move(socket), role_));
  }
  std::string what() const override {
    return fmt::format("a connection of agent '{}'", agent_->name);
  }

  const std::shared_ptr<Agent> agent_;
  const netns::Role role_;
};

Failure cannot_watch(const ErrorCode& error) {
  return fail(Errc::unavailable, fmt::format("cannot watch a listener: {}", error.message()));
}

// One role's socket in one thread. The kernel's state is shared; the descriptor is this thread's.
Result<void> open_in(Registration::Sockets& in, Trust trust, const std::shared_ptr<Agent>& agent,
                     const netns::RoleSocket& socket) {
  if (socket.role != netns::Role::dns_udp) {
    in.intakes.push_back(std::make_shared<AgentIntake>(in.worker, trust, agent, socket.role));
    in.roles.push_back(socket.role);
    return in.intakes.back()->open(socket.fd.get());
  }
  Fd copy(::fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
  ErrorCode error;
  in.dns = std::make_shared<UdpSocket>(in.worker.io);
  // Asio only notes the family, which may be IPv4 as well.
  in.dns->assign(asio::ip::udp::v6(), copy.get(), error);
  if (error) return cannot_watch(error);
  (void)copy.release();
  return {};
}

void serve_in(const Registration::Sockets& sockets, const std::shared_ptr<Agent>& agent) {
  Worker& worker = sockets.worker;
  for (const auto& intake : sockets.intakes) spawn(worker.io, Intake::serve(intake));
  if (sockets.dns) spawn(worker.io, serve_dns_udp(worker, agent, sockets.dns));
}

}  // namespace

Registration::Registration(std::shared_ptr<Agent> its_agent, std::uint64_t cookie, uid_t its_holder)
    : agent(std::move(its_agent)), netns_cookie(cookie), holder(its_holder) {}
Registration::~Registration() = default;

std::string Registration::id() const { return fmt::format("{}-{:x}", agent->name, netns_cookie); }

netns::Totals Registration::counted() const {
  const metrics::Totals here = agent->metrics->totals();
  netns::Totals totals{
      .allowed = here.allowed, .bytes_up = here.bytes_up, .bytes_down = here.bytes_down};
  for (std::size_t i = 0; i < reason_count; ++i) {
    const std::uint64_t count = here.denied[i] + here.dns_denied[i];
    const std::string name(reason_name(static_cast<Reason>(i)));
    if (count > 0) totals.denied[name] = count;
    if (here.reported[i] > 0) totals.reported[name] = here.reported[i];
  }
  netns::add(totals, carried);
  return totals;
}

Result<void> Registration::open(const Workers& workers,
                                const std::vector<netns::RoleSocket>& sockets) {
  std::vector<std::shared_ptr<Sockets>> made;
  // Questions of one agent are answered on one thread; connections on all.
  const std::size_t dns_thread = netns_cookie % workers.size();
  // Those who could as well end sluiced need not be guarded against.
  const Trust trust = may_take_over(holder) ? Trust::own : Trust::foreign;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    auto in = std::make_shared<Sockets>(*workers[i]);
    for (const netns::RoleSocket& socket : sockets) {
      if (socket.role == netns::Role::dns_udp && i != dns_thread) continue;
      if (auto opened = open_in(*in, trust, agent, socket); !opened) return opened;
    }
    made.push_back(std::move(in));
  }
  opened_.insert(opened_.end(), std::make_move_iterator(made.begin()),
                 std::make_move_iterator(made.end()));
  return {};
}

void Registration::serve() {
  for (; served_ < opened_.size(); ++served_) {
    const auto& sockets = opened_[served_];
    asio::post(sockets->worker.io, [sockets, agent = agent] { serve_in(*sockets, agent); });
  }
}

void Registration::close(const std::function<void(Worker&)>& done) {
  *closing_ += static_cast<int>(opened_.size());
  for (const auto& sockets : opened_) {
    asio::post(sockets->worker.io, [sockets, done, closing = closing_] {
      sockets->close();
      done(sockets->worker);
      --*closing;
    });
  }
}

void Registration::forget_sockets() noexcept {
  opened_.clear();
  served_ = 0;
}

// What `Sockets` holds is assigned and read on the control thread only.
Result<std::vector<netns::RoleSocket>> Registration::duplicates() const {
  std::vector<netns::RoleSocket> all;
  const auto add = [&](netns::Role role, int fd) -> Result<void> {
    Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!copy) return fail_errno(Errc::unavailable, "cannot duplicate a listener");
    all.push_back({role, std::move(copy)});
    return {};
  };
  for (const auto& sockets : opened_) {
    const bool first = &sockets->worker == &opened_.front()->worker;
    for (std::size_t i = 0; first && i < sockets->intakes.size(); ++i) {
      if (sockets->intakes[i]->fd() < 0) continue;  // closed, for what its holder did to it
      auto added = add(sockets->roles[i], sockets->intakes[i]->fd());
      if (!added) return Failure(added.error());
    }
    if (!sockets->dns) continue;
    auto added = add(netns::Role::dns_udp, sockets->dns->native_handle());
    if (!added) return Failure(added.error());
  }
  return all;
}

}  // namespace sluice::proxy
