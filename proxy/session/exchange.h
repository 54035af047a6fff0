// One request and its response, between an agent's connection and an origin's, over and over.
#pragma once

#include <optional>
#include <string>

#include "proxy/session/session.h"
#include "proxy/wire/body.h"
#include "proxy/wire/chunked.h"

namespace sluice::proxy {

// Belongs to one agent connection; keeps the session's connection to the last origin, or takes the
// one that is there, of which nothing was read yet, while both sides allow it.
class Exchange {
 public:
  explicit Exchange(Session& session) : session_(session) {}

  // Sends an allowed request on and its response back; closes the visit. `head` views the inbox.
  // True: the agent's connection may carry another request.
  Task<bool> run(Visit& visit, const wire::RequestHead& head, const allowlists::Target& target,
                 std::string_view origin_form);

 private:
  // What of a request outlives its bytes.
  struct Order {
    std::string method;
    std::string head;     // as it goes to the origin
    std::string upgrade;  // the protocols it offers, if any
    wire::BodyPlan body;
    int minor = 1;
    bool keep_alive = false;
    wire::AsJson as_json = wire::AsJson::no;
    std::size_t size = 0;  // of the head, in the inbox
  };
  // Why an exchange broke before its response began; nothing to answer after that.
  struct Trouble {
    Reason reason = Reason::unreachable;
    std::string why;
  };
  enum class Upload : std::uint8_t { sent, agent_gone, agent_broke_framing, origin_gone };
  enum class Download : std::uint8_t { done, switched, nothing_came, broken_head, cut_short };

  Task<bool> refuse(Visit& visit, const Order& order, Trouble trouble);
  bool may_reuse_origin(const Visit& visit, const allowlists::Target& target);
  Task<std::optional<Trouble>> dial_origin(Visit& visit, const allowlists::Target& target);
  Task<bool> carry_on(Visit& visit);
  Task<bool> converse(Visit& visit, const Order& order, const allowlists::Target& target);
  Task<Upload> send_body(const Order& order, std::uint64_t& moved);
  Task<Upload> send_length(std::uint64_t left, std::uint64_t& moved);
  Task<Upload> send_chunked(std::uint64_t& moved);
  Task<Upload> upload(const Order& order, std::uint64_t& moved);
  Task<Download> download(const Order& order, std::uint64_t& moved);
  Task<Download> hear_response(const Order& order, std::uint64_t& moved);
  Task<Download> pass_head(const Order& order, const wire::ResponseHead& head);
  Task<Download> pass_body(std::uint64_t& moved);
  Task<Download> pass_chunked(std::uint64_t& moved);
  Task<bool> to_origin(std::string_view bytes, std::uint64_t& moved);
  Task<bool> to_agent(std::string_view bytes, std::uint64_t& moved);
  Task<bool> carry_bytes(metrics::Direction direction, std::string_view bytes,
                         std::uint64_t& moved);
  void end_both() noexcept;
  Task<bool> more_from_origin();
  bool origin_is_quiet() noexcept;
  void drop_origin() noexcept;

  Session& session_;
  Inbox from_origin_;
  // Of the exchange under way.
  std::string why_;
  wire::BodyPlan response_body_;
  bool dechunk_ = false;  // the agent speaks HTTP/1.0: chunks become an until_close body
  bool response_began_ = false;
  bool response_ended_ = false;
  bool upload_ended_ = false;
  bool upload_sent_ = false;  // it ended whole
  bool download_ended_ = false;
  bool agent_may_stay_ = false;
  bool origin_may_stay_ = false;
};

}  // namespace sluice::proxy
