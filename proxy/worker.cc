#include "proxy/worker.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "proxy/session/session.h"

namespace sluice::proxy {
namespace {

// About a millisecond: each costs two decisions and a question to the kernel's routes.
constexpr int sessions_at_once = 256;

// An agent's share of the descriptors is an eighth: what only waits takes less than that, and never
// much of what there is, whatever is configured.
OriginPool::Bounds kept_origins(const Shared& shared) {
  rlimit descriptors{};
  std::size_t most = OriginPool::Bounds().all;
  if (::getrlimit(RLIMIT_NOFILE, &descriptors) == 0) {
    most = static_cast<std::size_t>(std::min<rlim_t>(most, descriptors.rlim_cur / 16));
  }
  const std::size_t share = shared.limits.connections_per_agent / 4;
  if (share > 0) most = std::min(most, share);
  return OriginPool::Bounds().within(most);
}

}  // namespace

Worker::Worker(Shared& all)
    : shared(all), origins(wheel, kept_origins(all)), sessions(std::make_unique<Sessions>()) {}
Worker::~Worker() = default;

Result<std::unique_ptr<Worker>> Worker::create(Shared& shared,
                                               std::shared_ptr<const ResolverSettings> settings) {
  std::unique_ptr<Worker> worker(new Worker(shared));
  auto resolver = Resolver::create(worker->io, std::move(settings), &shared.registry.path());
  if (!resolver) return Failure(resolver.error());
  worker->resolver_ = std::move(*resolver);
  auto routes = RouteQuery::open();
  if (!routes) return Failure(routes.error());
  worker->routes_.emplace(std::move(*routes));
  worker->dialer.emplace(
      worker->io, *worker->resolver_, *worker->routes_,
      Dialer::Terms{.own_listeners = shared.own_listeners,
                    .way_out = shared.way_out,
                    .wheel = worker->wheel,
                    .make_room = [&origins = worker->origins] { return origins.make_room(); }});
  return worker;
}

void Worker::break_off(const Agent* agent) noexcept {
  for (Session& session : *sessions) {
    if (agent == nullptr || session.agent.get() == agent) session.break_off();
  }
  origins.drop(agent);
}

void Worker::review_sessions() {
  ++reviews_begun;
  origins.review([this](const std::shared_ptr<Agent>& agent, const Connected& kept) {
    return Gate(*this, agent).may_keep(kept.target, kept.address);
  });
  if (std::exchange(reviewing_, true)) return;
  review_some();
}

// New sessions and those that were reviewed stand at the end, so the others are the front.
void Worker::review_some() {
  for (int i = 0; i < sessions_at_once; ++i) {
    if (sessions->empty() || sessions->front().reviewed == reviews_begun) {
      reviewing_ = false;
      return;
    }
    Session& session = sessions->front();
    session.unlink();
    sessions->push_back(session);
    session.reviewed = reviews_begun;
    session.review();
  }
  asio::post(io, [this] { review_some(); });
}

}  // namespace sluice::proxy
