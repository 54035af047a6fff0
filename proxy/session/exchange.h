// One request and its response, between an agent's connection and an origin's, over and over.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/session/session.h"
#include "proxy/wire/body.h"
#include "proxy/wire/chunked.h"

namespace sluice::proxy {

// Belongs to one agent connection. Takes the session's connection to an origin, where there is one
// of which nothing was read yet, or one that the agent's pool kept, or dials; and leaves it to the
// pool afterwards, where both sides allow that.
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
    std::string head;                    // as it goes to the origin
    std::string upgrade;                 // the protocols it offers, if any
    std::vector<std::string> hop_names;  // no trailers of these names, for a chunked body
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
  // Bytes on both connections, heads and framing included.
  struct Moved {
    std::uint64_t up = 0;
    std::uint64_t down = 0;
  };

  // exchange.cc: what becomes of a request
  static std::optional<Trouble> read_order(const wire::RequestHead& head, Order& order);
  Task<bool> refuse(Visit& visit, const Order& order, Trouble trouble);
  Task<bool> answer_options(Visit& visit, const Order& order);
  bool have_origin(Visit& visit, const Order& order, const allowlists::Target& target);
  bool may_reuse_origin(const Visit& visit, const allowlists::Target& target);
  Task<std::optional<Trouble>> dial_origin(Visit& visit, const allowlists::Target& target);
  void leave_origin();
  void drop_origin() noexcept;
  Task<bool> carry_on(Visit& visit);
  Task<bool> converse(Visit& visit, const Order& order, const allowlists::Target& target);
  Task<void> attempt(Visit& visit, const Order& order);
  bool may_try_again(const Order& order) const noexcept;
  Task<bool> conclude(Visit& visit, const Order& order);
  Trouble trouble_of_origin() const;

  // exchange_request.cc: towards the origin
  Task<Upload> send_body(const Order& order);
  Task<Upload> send_length(std::uint64_t left);
  Task<Upload> send_chunked(const Order& order);
  Task<Upload> upload(const Order& order);
  Task<bool> to_origin(std::string_view bytes);
  Task<bool> carry_bytes(metrics::Direction direction, std::string_view bytes,
                         std::uint64_t& moved);
  void end_both() noexcept;

  // exchange_response.cc: towards the agent
  Task<Download> download(const Order& order);
  Task<Download> hear_response(const Order& order);
  Task<Download> pass_head(const Order& order, const wire::ResponseHead& head);
  Task<Download> pass_body();
  Task<Download> pass_chunked();
  Task<bool> to_agent(std::string_view bytes);

  Session& session_;
  Inbox from_origin_;
  // Of the exchange under way.
  Moved moved_;
  Upload sent_ = Upload::origin_gone;
  Download got_ = Download::nothing_came;
  std::string why_;
  wire::BodyPlan response_body_;
  std::vector<std::string> response_hop_names_;
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
