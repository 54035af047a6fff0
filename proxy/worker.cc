#include "proxy/worker.h"

#include "proxy/session/session.h"

namespace sluice::proxy {

Worker::Worker(Shared& all) : shared(all), sessions(std::make_unique<Sessions>()) {}
Worker::~Worker() = default;

Result<std::unique_ptr<Worker>> Worker::create(Shared& shared,
                                               std::shared_ptr<const ResolverSettings> settings) {
  std::unique_ptr<Worker> worker(new Worker(shared));
  auto resolver = Resolver::create(worker->io, std::move(settings));
  if (!resolver) return Failure(resolver.error());
  worker->resolver_ = std::move(*resolver);
  auto routes = RouteQuery::open();
  if (!routes) return Failure(routes.error());
  worker->routes_.emplace(std::move(*routes));
  worker->dialer.emplace(worker->io, *worker->resolver_, *worker->routes_, shared.own_listeners);
  return worker;
}

void Worker::break_off(const Agent* agent) noexcept {
  for (Session& session : *sessions) {
    if (agent == nullptr || session.agent.get() == agent) session.break_off();
  }
}

}  // namespace sluice::proxy
