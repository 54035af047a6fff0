// How a supervisor brings a run to its end, and what it tells then.
#include <fmt/core.h>

#include "launcher/roots/as_owner.h"
#include "launcher/roots/changes.h"
#include "launcher/supervision/end_of_run.h"
#include "launcher/supervision/last_word.h"
#include "launcher/supervision/supervision.h"

namespace sluice::launcher {
namespace {

constexpr std::chrono::seconds ending_time{10};  // more than sluiced takes for its farewell

}  // namespace

void Supervision::on_ended(int status) {
  if (phase_ != Phase::running) return;
  status_ = timed_out_ ? run_timed_out : status;
  clock_.end_run();
  layer_.reset();
  if (terminal_) terminal_->drain();
  sandbox_.kill();
  finish_exec_log();
  count_datagrams();
  const bool counts = proxy_.is_registered() && proxy_.unregister();
  enter(counts ? Phase::ending : Phase::done, ending_time);
}

// The agent's end may be heard of before the death of the watcher that made it end.
void Supervision::finish_exec_log() {
  const auto is_told = exec_log_.finish(exec_reporter());
  if (!is_told) {
    status_ = sluice_failed;
    say(to_string(is_told.error()));
  } else if (!*is_told) {
    say("some commands are missing in the log");
  }
}

// The last that is said, so that a sluiced which does not know it may hang up.
void Supervision::tell_sluiced() {
  if (!was_registered_) return;
  const RunEnd end{.status = status_,
                   .was_running = was_running_,
                   .timed_out = timed_out_,
                   .stop_asked = stop_asked_,
                   .out_of_memory = order_.group && order_.group->ended_by_memory(status_)};
  if (order_.plan.proves && was_running_ && status_ != 0) leak_ = "'sluice prove' did not hold";
  if (was_running_ || !leak_.empty()) proxy_.part_with(probe_event(std::move(leak_)));
  proxy_.part_with(end_event(end));
}

// Puts the person's terminal back in order, when it has taken all that is for it. False where a
// signal ended the wait for that.
bool Supervision::leave_terminal() {
  sandbox_.kill();
  const bool is_shown = !terminal_ || terminal_->finish(signals_.get());
  if (terminal_) unsaid_ = terminal_->unsaid();
  terminal_.reset();
  return is_shown;
}

// The last words of who has ended. False where a signal ended the wait for their reader: then he
// would not read ours.
bool Supervision::hear_out() {
  sandbox_.kill();
  const bool is_heard_out = stderr_.finish(signals_.get());
  heard_.take_in(stderr_.heard());
  lines_.end(stderr_.is_mid_line());
  return is_heard_out;
}

// Who has ids of his own sees files of theirs only as their owner.
Result<void> Supervision::learn_what_changed() {
  if (!order_.plan.root.sub_ids) return order_.learn(changes_.get(), status_);
  return as_owner(*order_.plan.root.sub_ids,
                  [&] {
                    return order_.learn(changes_.get(), status_).map([] { return std::string(); });
                  })
      .map([](const std::string&) {});
}

// After the end of everything that could write there.
void Supervision::keep_what_changed() {
  sandbox_.kill();
  if (!changes_ || !was_running_) return;
  if (order_.learn) {
    if (auto learnt = learn_what_changed(); !learnt) {
      say_raw(fmt::format("sluice: {}", to_string(learnt.error())));
      status_ = sluice_failed;
    }
  }
  if (order_.keep_changes < 0) return;
  const auto kept = keep_changes(changes_.get(), order_.keep_changes, order_.plan.root.sub_ids);
  if (!kept) {
    say_raw(fmt::format("sluice: {}", to_string(kept.error())));
    status_ = sluice_failed;
  } else if (!order_.quiet) {
    say(fmt::format("kept the changes: {} files of {} bytes, {} deletions", kept->files,
                    kept->bytes, kept->deletions));
  }
}

void Supervision::say_end() {
  if (const std::size_t unsaid = stderr_.unsaid() + unsaid_; unsaid > 0) {
    say(fmt::format("{} lines were not shown: nobody read", unsaid));
  }
  if (denials_ && denials_->left_out() > 0 && !order_.plan.proves) {
    say(fmt::format("{} more denials were not shown", denials_->left_out()));
  }
  EndOfRun end{.status = status_,
               .was_running = was_running_,
               .timed_out = timed_out_,
               .account = {totals_, datagrams_.total(), proxy_.replacements()},
               .limit = (order_.group ? order_.group->tell(status_) : std::string()) + full_,
               .was_heard = had_terminal_ || stderr_.hears(),
               .heard = &heard_};
  if (order_.quiet) return;
  for (const std::string& line : tell_end(order_.plan, end)) say(line);
}

}  // namespace sluice::launcher
