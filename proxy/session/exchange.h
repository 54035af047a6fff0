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
    std::string head;                    // as it goes to the origin, with a body that was there
    std::size_t head_size = 0;           // without it
    bool whole = false;                  // `head` is all there is to send
    bool is_for_us = false;              // an OPTIONS request that goes no further
    std::string upgrade;                 // the protocols it offers, if any
    std::vector<std::string> hop_names;  // no trailers of these names, for a chunked body
    wire::BodyPlan body;
    int minor = 1;
    bool keep_alive = false;
    wire::AsJson as_json = wire::AsJson::no;
  };
  // Why an exchange broke before its response began; nothing to answer after that.
  struct Trouble {
    Reason reason = Reason::unreachable;
    std::string why;
  };
  enum class Upload : std::uint8_t { sent, agent_gone, agent_broke_framing, origin_gone };
  enum class Download : std::uint8_t { done, switched, nothing_came, broken_head, cut_short };
  // What was read of a body and written anew: all of it, or not yet.
  enum class Taken : std::uint8_t { part, whole, broken };
  // What is told to the agent next.
  struct Reply {
    std::string text;  // a head, with what there is of its body; "": nothing
    int status = 0;    // 0: more is needed
    Taken taken = Taken::part;
  };
  // Bytes on both connections, heads and framing included.
  struct Moved {
    std::uint64_t up = 0;
    std::uint64_t down = 0;
  };

  // exchange.cc: what becomes of a request
  static std::optional<Trouble> read_order(const wire::RequestHead& head, Order& order);
  std::optional<Trouble> plan(const wire::RequestHead& head, const allowlists::Target& target,
                              std::string_view origin_form, Order& order);
  Task<bool> refuse(Visit& visit, const Order& order, Trouble trouble);
  Task<bool> answer_options(Visit& visit, const Order& order);
  bool have_origin(Visit& visit, const Order& order, const allowlists::Target& target);
  bool may_reuse_origin(const Visit& visit, const allowlists::Target& target);
  Task<std::optional<Trouble>> dial_origin(Visit& visit, const allowlists::Target& target);
  void leave_origin();
  void drop_origin() noexcept;
  Task<bool> carry_on(Visit& visit);
  void begin_attempt() noexcept;
  Task<void> attempt(const Order& order);
  void end_attempt(Visit& visit) noexcept;
  bool may_try_again(const Order& order) const noexcept;
  bool is_worth_another(const Visit& visit, const Order& order) const noexcept;
  bool finish(Visit& visit);
  Task<bool> conclude(Visit& visit, const Order& order);
  Trouble trouble_of_origin() const;

  // exchange_request.cc: towards the origin
  void take_whole_body(Order& order);
  static void append_chunk(std::string& out, std::string_view payload);
  Taken take_chunks(wire::ChunkedReader& reader, const Order& order, std::string& out);
  Task<Upload> send_body(const Order& order);
  Task<Upload> send_length(std::uint64_t left);
  Task<Upload> send_chunked(const Order& order);
  Task<Upload> upload(const Order& order);
  // What of `bytes` the limits and the sockets do not take at once: for carry_bytes(). Counted.
  std::string_view carry_at_once(metrics::Direction direction, std::string_view bytes) noexcept;
  // False: the write failed, or no more may leave.
  Task<bool> carry_bytes(metrics::Direction direction, std::string_view bytes);
  void end_both() noexcept;

  // exchange_response.cc: towards the agent
  Task<Download> download(const Order& order);
  Task<Download> hear_response(const Order& order);
  std::optional<Download> take_head(const Order& order, std::size_t& scanned, Reply& reply);
  std::optional<Download> write_head(const Order& order, const wire::ResponseHead& head,
                                     std::string& out);
  void plan_body(const wire::ResponseHead& head, wire::BodyPlan body);
  Taken take_body(std::string& out);
  Taken take_chunks(std::string& out);
  Task<Download> pass_body();
  Task<Download> pass_bytes();
  Task<Download> pass_chunked();

  // Most responses of an API, head and body.
  static constexpr std::size_t first_response_read = std::size_t{4} * 1024;

  Session& session_;
  Inbox from_origin_{first_response_read};
  // Of the exchange under way.
  Moved moved_;
  Upload sent_ = Upload::origin_gone;
  Download got_ = Download::nothing_came;
  std::string why_;
  wire::BodyPlan response_body_;
  std::vector<std::string> response_hop_names_;
  std::optional<wire::ChunkedReader> chunks_;
  std::uint64_t left_ = 0;  // of a body until its length or its origin's end
  bool dechunk_ = false;    // the agent speaks HTTP/1.0: chunks become an until_close body
  bool response_began_ = false;
  bool response_ended_ = false;
  bool upload_ended_ = false;
  bool upload_sent_ = false;  // it ended whole
  bool download_ended_ = false;
  bool agent_may_stay_ = false;
  bool origin_may_stay_ = false;
};

}  // namespace sluice::proxy
