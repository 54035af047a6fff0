// What a supervisor does about what sluiced says of the registration.
#include <fmt/core.h>

#include "launcher/supervision/supervision.h"
#include "netns/summary.h"

namespace sluice::launcher {

void Supervision::on_registered(const netns::Registered& registered) {
  if (phase_ != Phase::registering) return;
  was_registered_ = true;
  if (registered.sandbox != order_.sandbox) {
    return fail_run(sluice_failed, {Errc::not_permitted,
                                    "the policy's 'sandbox:' changed while the run was being made",
                                    "run it again",
                                    {}});
  }
  if (!is_captured_) say(netns::without_rules(proxy_.ports()));
  enter(Phase::running, std::nullopt);
  if (auto sent = sandbox_.go(); !sent) {
    on_control();  // a sandbox that has ended may have said why
    if (phase_ == Phase::running) fail_run(sluice_failed, sent.error());
  }
}

void Supervision::on_denied(const std::string& sentence) {
  if (!denials_) return;
  const auto line = denials_->add(sentence, Clock::now());
  if (line && !order_.plan.proves) say(*line);
}

void Supervision::on_proxy(std::vector<ProxyKeeper::Event> events) {
  for (ProxyKeeper::Event& event : events) {
    if (const auto* registered = std::get_if<netns::Registered>(&event)) on_registered(*registered);
    if (const auto* said = std::get_if<ProxyKeeper::LogLine>(&event)) say_raw(said->text);
    if (const auto* notice = std::get_if<ProxyKeeper::Notice>(&event)) say(notice->text);
    if (const auto* denied = std::get_if<netns::Denied>(&event)) on_denied(denied->sentence);
    if (auto* totals = std::get_if<netns::Totals>(&event); totals != nullptr) {
      totals_ = std::move(*totals);
      enter(Phase::done, std::nullopt);
    }
    if (const auto* refused = std::get_if<netns::Refused>(&event)) {
      fail_run(sluice_failed, {Errc::not_permitted,
                               fmt::format("sluiced refuses the agent: {}", refused->error),
                               "",
                               {}});
    }
    if (const auto* impossible = std::get_if<ProxyKeeper::Impossible>(&event)) {
      fail_run(sluice_failed, impossible->error);
    }
    if (const auto* gone = std::get_if<ProxyKeeper::Gone>(&event); gone != nullptr) {
      fail_run(sluice_failed, {Errc::unavailable,
                               fmt::format("sluiced does not serve the agent: {}", gone->why),
                               "what it said is above",
                               {}});
    }
  }
}

}  // namespace sluice::launcher
