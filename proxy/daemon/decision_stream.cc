#include "proxy/daemon/decision_stream.h"

#include <fmt/core.h>
#include <poll.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>
#include <iterator>
#include <utility>

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

using namespace std::chrono_literals;

constexpr auto look_again = 100ms;
constexpr auto sign_of_life = 15s;  // tells the reader, and the kernel, that this is no dead line
constexpr auto patience = 60s;
constexpr std::size_t lines_at_once = 128;

constexpr std::string_view head =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\n"
    "Connection: close\r\n\r\n";

void append_event(std::string& out, const metrics::Recent::Entry& entry) {
  if (entry.verdict) {
    fmt::format_to(std::back_inserter(out), "id: {}\nevent: decision\ndata: {}\n\n", entry.number,
                   entry.json);
  } else {
    fmt::format_to(std::back_inserter(out),
                   "id: {}\nevent: left_out\ndata: {{\"agent\":\"{}\",\"count\":{}}}\n\n",
                   entry.number, entry.agent, entry.json);
  }
}

// Both directions: a reader that only has nothing more to say stays.
bool is_gone(int connection) {
  pollfd ended{connection, 0, 0};
  return ::poll(&ended, 1, 0) > 0;
}

Task<void> write(Descriptor& connection, const std::string& text, bool& written) {
  const auto [error, size] = co_await asio::async_write(connection, asio::buffer(text), Token());
  written = !error;
}

Task<void> write_in_time(asio::io_context& io, Descriptor& connection, const std::string& text,
                         bool& written) {
  Timer timer(io, patience);
  written = false;
  co_await (write(connection, text, written) || timer.async_wait(AsTask()));
}

}  // namespace

DecisionEvents::DecisionEvents(const metrics::Recent& recent, DecisionQuery query)
    : recent_(recent), query_(std::move(query)), reached_(recent.newest()) {
  first_ = recent.last(query_.wanted, query_.limit.value_or(0));
  // One that came in between is told once.
  std::erase_if(first_, [this](const auto& entry) { return entry->number > reached_; });
}

std::string DecisionEvents::next() {
  std::string out;
  for (const auto& entry : std::exchange(first_, {})) append_event(out, *entry);
  const auto next = recent_.following(reached_, query_.wanted, lines_at_once);
  reached_ = next.reached;
  if (next.lost > 0) {
    fmt::format_to(std::back_inserter(out), "event: lost\ndata: {{\"count\":{}}}\n\n", next.lost);
  }
  for (const auto& entry : next.entries) append_event(out, *entry);
  return out;
}

Task<void> stream_decisions(asio::io_context& io, Descriptor& connection,
                            const metrics::Recent& recent, DecisionQuery query) {
  DecisionEvents events(recent, std::move(query));
  Timer pause(io);
  std::string text(head);
  auto last_sign = Clock::now();
  for (;;) {
    if (text.empty() && Clock::now() - last_sign > sign_of_life) text = ":\n\n";
    if (!text.empty()) {
      bool written = false;
      co_await write_in_time(io, connection, text, written);
      if (!written) co_return;
      last_sign = Clock::now();
    } else {
      if (is_gone(connection.native_handle())) co_return;
      pause.expires_after(look_again);
      co_await pause.async_wait();
    }
    text = events.next();
  }
}

}  // namespace sluice::proxy
