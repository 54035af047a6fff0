#include "proxy/daemon/admin.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/write.hpp>
#include <memory>
#include <optional>

#include "base/text.h"
#include "proxy/daemon/admin_api.h"
#include "proxy/daemon/decision_stream.h"
#include "proxy/daemon/spawn.h"
#include "proxy/wire/request_head.h"

namespace sluice::proxy {

using namespace asio::experimental::awaitable_operators;

namespace {

using namespace std::chrono_literals;

constexpr auto request_deadline = 5s;
constexpr int most_at_once = 64;
constexpr int most_streams = 16;
constexpr std::string_view decisions_path = "/api/v1/decisions";
constexpr std::string_view metrics_type = "text/plain; version=0.0.4; charset=utf-8";

struct Reply {
  std::string_view status = "200 OK";
  std::string_view type = "application/json";
  std::string body;
  std::string_view fields = "";  // further lines of the head
};

Reply refusal(std::string_view status, const Error& error, std::string_view fields = "") {
  return {.status = status, .body = error_json(error), .fields = fields};
}

Reply bad_request(const Error& error) { return refusal("400 Bad Request", error); }

using WithBody = YesNo<struct WithBodyTag>;

std::string head_of(const Reply& reply, std::size_t size) {
  return fmt::format(
      "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n{}Cache-Control: no-store\r\n"
      "Connection: close\r\n\r\n",
      reply.status, reply.type, size, reply.fields);
}

std::string text_of(const Reply& reply, WithBody with_body) {
  std::string text = head_of(reply, reply.body.size());
  if (with_body) text += reply.body;
  return text;
}

struct Question {
  std::string_view path;
  std::string_view query;
};

Question split(std::string_view target) {
  const std::size_t mark = std::min(target.find('?'), target.size());
  return {target.substr(0, mark), target.substr(std::min(mark + 1, target.size()))};
}

// Pages that take `agent=`, `verdict=` and `limit=`.
using Page = std::string (*)(const metrics::Recent&, const DecisionQuery&);
Reply filtered(const AdminPages& pages, std::string_view query, Page page) {
  const auto read = read_decision_query(query);
  if (!read) return bad_request(read.error());
  return {.body = page(*pages.operators.recent, *read)};
}

Reply whole(const Question& asked, const std::function<std::string()>& page) {
  if (const auto none = refuse_query(asked.path, asked.query); !none) {
    return bad_request(none.error());
  }
  return {.body = page()};
}

std::optional<Reply> api_reply(const Question& asked, const AdminPages& pages) {
  if (!pages.has_api()) return std::nullopt;
  if (asked.path == decisions_path) return filtered(pages, asked.query, decisions_json);
  if (asked.path == "/api/v1/top") return filtered(pages, asked.query, top_json);
  if (asked.path == "/api/v1/policy") return whole(asked, pages.operators.policy);
  if (asked.path != "/api/v1/agents") return std::nullopt;
  return whole(asked, [&] {
    return agents_json(pages.operators.agents(), std::chrono::system_clock::now());
  });
}

Reply unknown_page(const Question& asked, const AdminPages& pages) {
  const Error error{
      Errc::bad_config, fmt::format("there is no {}", text::printable(asked.path.substr(0, 100))),
      pages.has_api() ? "there are /metrics, /healthz, /readyz, /api/v1/agents, "
                        "/api/v1/decisions, /api/v1/top and /api/v1/policy"
                      : "there are /metrics, /healthz and /readyz; /api/v1 is on the admin socket",
      std::nullopt};
  return refusal("404 Not Found", error);
}

Reply reply_to(const Question& asked, const AdminPages& pages) {
  if (asked.path == "/metrics") return {.type = metrics_type, .body = pages.registry.exposition()};
  if (asked.path == "/healthz" || asked.path == "/readyz") {
    return {.type = "text/plain", .body = "ok\n"};
  }
  auto reply = api_reply(asked, pages);
  return reply ? std::move(*reply) : unknown_page(asked, pages);
}

// One of so many, also when what it is for ends by an exception.
class Seat {
 public:
  explicit Seat(std::shared_ptr<int> taken) : taken_(std::move(taken)) { ++*taken_; }
  ~Seat() { --*taken_; }
  Seat(const Seat&) = delete;
  Seat& operator=(const Seat&) = delete;

 private:
  std::shared_ptr<int> taken_;
};

struct Service {
  AdminPages pages;
  std::shared_ptr<int> callers = std::make_shared<int>(0);
  std::shared_ptr<int> streams = std::make_shared<int>(0);
};

// Who asks for events, and holds one of most_streams places.
struct Listener {
  DecisionQuery query;
  std::unique_ptr<const Seat> seat;
};

// What a caller gets: the text of a response, the page that the scribe writes, or events.
struct Answer {
  std::string text;
  std::optional<Listener> events{};
  std::optional<WithBody> metrics{};
};

Answer answer_to(const wire::RequestHead& head, const Service& service) {
  const Question asked = split(head.target);
  const bool is_read = head.method == "GET" || head.method == "HEAD";
  if (service.pages.scribe != nullptr && is_read && asked.path == "/metrics") {
    return {.text = "", .metrics = WithBody(head.method == "GET")};
  }
  const bool wants_events = head.method == "GET" && service.pages.has_api() &&
                            asked.path == decisions_path &&
                            head.lists("Accept", "text/event-stream");
  if (!wants_events) return {.text = admin_response(head.method, head.target, service.pages)};
  auto query = read_decision_query(asked.query);
  if (!query) return {.text = text_of(bad_request(query.error()), WithBody::yes)};
  if (*service.streams < most_streams) {
    return {.text = "",
            .events = Listener{std::move(*query), std::make_unique<Seat>(service.streams)}};
  }
  const Error full{Errc::unavailable, fmt::format("{} read the stream already", most_streams),
                   "end one of them, or ask without 'Accept: text/event-stream'", std::nullopt};
  return {.text = text_of(refusal("503 Service Unavailable", full), WithBody::yes)};
}

Answer answer_to(const wire::WireError& error) {
  const Error bad{Errc::bad_config, error.why, "one GET or HEAD of HTTP/1.1", std::nullopt};
  return {.text = text_of(bad_request(bad), WithBody::yes)};
}

// Nothing: the caller is gone.
Task<void> hear(Descriptor& connection, const Service& service, std::optional<Answer>& answer) {
  std::string bytes;
  std::array<char, 2048> chunk;
  std::size_t scanned = 0;
  for (;;) {
    const auto head = wire::parse_request_head(bytes, {.bytes = 8192, .fields = 64}, scanned);
    if (!head) {
      answer = answer_to(head.error());
      co_return;
    }
    if (*head) {
      answer = answer_to(**head, service);
      co_return;
    }
    const auto [error, size] = co_await connection.async_read_some(asio::buffer(chunk));
    if (error) co_return;
    bytes.append(chunk.data(), size);
  }
}

Task<void> send_metrics(asio::io_context& io, Descriptor& connection, WithBody with_body,
                        Scribe& scribe) {
  const Scribe::Page page = co_await scribe.page(io);
  if (!page) co_return;
  const std::string head = head_of({.type = metrics_type, .body = ""}, page->size());
  std::array<asio::const_buffer, 2> parts{asio::buffer(head), asio::buffer(*page)};
  if (!with_body) parts[1] = asio::const_buffer();
  co_await asio::async_write(connection, parts, Token());
}

Task<void> converse(asio::io_context& io, Descriptor& connection, const Service& service,
                    std::optional<Listener>& events) {
  std::optional<Answer> answer;
  co_await hear(connection, service, answer);
  if (!answer) co_return;
  events = std::move(answer->events);
  if (events) co_return;
  if (answer->metrics) {
    co_await send_metrics(io, connection, *answer->metrics, *service.pages.scribe);
    co_return;
  }
  co_await asio::async_write(connection, asio::buffer(answer->text), Token());
}

Task<void> serve_one(asio::io_context& io, std::shared_ptr<const Service> service, Fd socket,
                     [[maybe_unused]] std::unique_ptr<const Seat> seat) {
  Descriptor connection(io);
  ErrorCode error;
  connection.assign(socket.get(), error);
  if (error) co_return;
  (void)socket.release();
  std::optional<Listener> events;
  {
    Timer timer(io, request_deadline);
    co_await (converse(io, connection, *service, events) || timer.async_wait(AsTask()));
  }
  if (!events) co_return;
  co_await stream_decisions(io, connection, *service->pages.operators.recent,
                            std::move(events->query));
}

}  // namespace

std::string admin_response(std::string_view method, std::string_view target,
                           const AdminPages& pages) {
  if (method != "GET" && method != "HEAD") {
    const Error error{Errc::bad_config, "only GET and HEAD are answered here",
                      "nothing can be changed over this socket", std::nullopt};
    return text_of(refusal("405 Method Not Allowed", error, "Allow: GET, HEAD\r\n"), WithBody::yes);
  }
  return text_of(reply_to(split(target), pages), WithBody(method != "HEAD"));
}

Task<void> serve_admin(asio::io_context& io, AdminPages pages, Entrance& entrance) {
  const auto service = std::make_shared<const Service>(Service{std::move(pages)});
  Entrance::Guests guests;
  guests.have_room = [service] { return *service->callers < most_at_once; };
  guests.take = [&io, service](Fd guest) {
    spawn(io, serve_one(io, service, std::move(guest), std::make_unique<Seat>(service->callers)));
  };
  co_await entrance.serve(std::move(guests));
}

Result<Fd> listen_admin(const IpAddress& address, std::uint16_t port) {
  const TcpEndpoint endpoint(to_asio(address), port);
  Fd listener(
      ::socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return fail_errno(Errc::unavailable, "socket");
  const int one = 1;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(listener.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0) {
    return fail_errno(Errc::unavailable,
                      fmt::format("cannot listen on {}:{}", address.to_string(), port),
                      "another sluiced may run; change admin.address");
  }
  if (::listen(listener.get(), SOMAXCONN) != 0) return fail_errno(Errc::unavailable, "listen");
  return listener;
}

}  // namespace sluice::proxy
