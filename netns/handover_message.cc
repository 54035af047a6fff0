// The JSON of the handover protocol: every message has exactly the keys of its kind, or is refused.
#include <fmt/core.h>

#include "base/text.h"
#include "netns/exec_json.h"
#include "netns/handover.h"
#include "netns/message_json.h"

namespace sluice::netns {
namespace {

// -- encode
// ------------------------------------------------------------------------------------------

constexpr const char* explicit_lease = "explicit";
constexpr const char* ports_capture = "ports";
constexpr const char* udp_refused = "udp_refused";
constexpr const char* way_out = "way_out";
constexpr const char* exec = "exec";
constexpr const char* agent_end = "agent_end";
constexpr const char* probe = "probe";
constexpr std::uint64_t highest_status = 255;

// Which lease an Unregister or an Event means.
template <class Message>
void add_lease(Json& json, const Message& message) {
  if (message.agent.empty()) return;
  json["agent"] = message.agent;
  if (message.netns_cookie != 0) json["netns_cookie"] = message.netns_cookie;
}

// Null for a text that is no JSON, which the other side refuses.
Json raw(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_object() ? json : Json();
}

struct ToJson {
  Json operator()(const Register& request) const {
    Json json = {{"op", "register"},
                 {"agent", request.agent},
                 {"sockets", to_json(request.sockets)},
                 {"names", to_json(request.names)}};
    if (request.lease == Lease::until_ended) json["lease"] = explicit_lease;
    return json;
  }
  Json operator()(const Names& request) const {
    return {{"op", "names"}, {"names", to_json(request.names)}};
  }
  Json operator()(const Unregister& request) const {
    Json json = {{"op", "unregister"}};
    add_lease(json, request);
    return json;
  }
  Json operator()(const Add& request) const {
    return {{"op", "add"}, {"sockets", to_json(request.sockets)}};
  }
  Json operator()(const AskPorts& request) const {
    return {{"op", "ports"}, {"agent", request.agent}};
  }
  Json operator()(const AskSandbox& request) const {
    return {{"op", "sandbox"}, {"agent", request.agent}};
  }
  Json operator()(const Event& request) const {
    Json json = {{"op", "event"}};
    if (request.kind == Event::Kind::way_out) {
      json["kind"] = way_out;
      json["text"] = request.text;
    } else if (request.kind == Event::Kind::exec) {
      json["kind"] = exec;
      json["execs"] = to_json(request.execs);
      json["count"] = request.count;
    } else if (request.kind == Event::Kind::agent_end) {
      json["kind"] = agent_end;
      json["end"] = agent_end_name(request.end);
      json["status"] = request.status;
    } else if (request.kind == Event::Kind::probe) {
      json["kind"] = probe;
      json["ok"] = request.ok;
      json["text"] = request.text;
    } else {
      json["kind"] = udp_refused;
      json["count"] = request.count;
    }
    add_lease(json, request);
    return json;
  }
  Json operator()(const TakeOver& request) const {
    return {{"op", "take_over"}, {"format", request.format}};
  }

  Json operator()(const Registered& answer) const {
    Json json = {{"op", "register"}, {"ok", true}, {"agent_id", answer.agent_id}};
    if (answer.ports_only) json["capture"] = ports_capture;
    if (answer.sandbox != no_sandbox) json["sandbox"] = raw(answer.sandbox);
    return json;
  }
  Json operator()(const SandboxAsked& answer) const {
    return {{"op", "sandbox"}, {"ok", true}, {"sandbox", raw(answer.sandbox)}};
  }
  Json operator()(const Totals& answer) const {
    Json json = {{"op", "unregister"},          {"ok", true},
                 {"allowed", answer.allowed},   {"denied", answer.denied},
                 {"bytes_up", answer.bytes_up}, {"bytes_down", answer.bytes_down}};
    if (!answer.reported.empty()) json["reported"] = answer.reported;
    return json;
  }
  Json operator()(const Accepted&) const { return {{"op", "names"}, {"ok", true}}; }
  Json operator()(const Refused& answer) const { return {{"ok", false}, {"error", answer.error}}; }
  Json operator()(const Bindings& answer) const {
    return {{"op", "bindings"}, {"names", to_json(answer.names)}};
  }
  Json operator()(const Denied& answer) const {
    return {{"op", "denied"}, {"sentence", answer.sentence}};
  }
  Json operator()(const Ports& answer) const {
    return {{"op", "ports"}, {"any", answer.any}, {"ports", answer.ports}};
  }
};

template <class Message>
std::string encode_message(const Message& message) {
  return to_message(std::visit(ToJson{}, message));
}

// -- decode
// ------------------------------------------------------------------------------------------

Result<std::string> read_agent(const Json& json) {
  auto agent = read_string(json, "agent");
  if (agent && !is_agent_name(*agent)) {
    return refuse(fmt::format("'{}' is not an agent name", text::printable(agent->substr(0, 63))));
  }
  return agent;
}

Result<Lease> read_lease(const Json& json) {
  if (!json.contains("lease")) return Lease::connection;
  const auto lease = read_string(json, "lease");
  if (!lease) return Failure(lease.error());
  if (*lease != explicit_lease) return refuse("key 'lease' must be \"explicit\", or not be there");
  return Lease::until_ended;
}

Result<Request> read_register(const Json& json) {
  const auto keys = json.contains("lease")
                        ? require_keys(json, {"v", "op", "agent", "sockets", "names", "lease"})
                        : require_keys(json, {"v", "op", "agent", "sockets", "names"});
  if (!keys) return Failure(keys.error());
  auto agent = read_agent(json);
  if (!agent) return Failure(agent.error());
  const auto lease = read_lease(json);
  if (!lease) return Failure(lease.error());
  auto sockets = read_sockets(json);
  if (!sockets) return Failure(sockets.error());
  auto names = read_names(json);
  if (!names) return Failure(names.error());
  return Register{std::move(*agent), std::move(*sockets), std::move(*names), *lease};
}

// Exactly these keys, and what add_lease() adds.
template <class Message>
Result<Message> read_lease_key(const Json& json, std::initializer_list<std::string_view> keys) {
  Message message;
  Json others = json;
  if (json.contains("agent")) {
    auto agent = read_agent(json);
    if (!agent) return Failure(agent.error());
    message.agent = std::move(*agent);
    others.erase("agent");
    if (json.contains("netns_cookie")) {
      const auto cookie = read_number(json, "netns_cookie");
      if (!cookie) return Failure(cookie.error());
      message.netns_cookie = *cookie;
      others.erase("netns_cookie");
    }
  }
  if (auto only = require_keys(others, keys); !only) return Failure(only.error());
  return message;
}

Result<Request> read_unregister(const Json& json) {
  return read_lease_key<Unregister>(json, {"v", "op"}).map([](Unregister&& request) {
    return Request(std::move(request));
  });
}

Result<Request> read_add(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "sockets"}); !keys) return Failure(keys.error());
  return read_sockets(json).map(
      [](std::vector<Role>&& sockets) -> Request { return Add{std::move(sockets)}; });
}

// AskPorts or AskSandbox.
template <class Question>
Result<Request> read_question(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "agent"}); !keys) return Failure(keys.error());
  return read_agent(json).map(
      [](std::string&& agent) -> Request { return Question{std::move(agent)}; });
}

Result<Event> read_exec_event(const Json& json) {
  auto event = read_lease_key<Event>(json, {"v", "op", "kind", "execs", "count"});
  if (!event) return event;
  event->kind = Event::Kind::exec;
  auto execs = read_execs(json);
  if (!execs) return Failure(execs.error());
  event->execs = std::move(*execs);
  const auto count = read_number(json, "count");
  if (!count) return Failure(count.error());
  event->count = *count;
  return event;
}

Result<Event> read_agent_end(const Json& json) {
  auto event = read_lease_key<Event>(json, {"v", "op", "kind", "end", "status"});
  if (!event) return event;
  event->kind = Event::Kind::agent_end;
  const auto name = read_string(json, "end");
  if (!name) return Failure(name.error());
  const auto end = agent_end_named(*name);
  if (!end) return refuse("key 'end' is no end of an agent");
  event->end = *end;
  const auto status = read_number(json, "status", highest_status);
  if (!status) return Failure(status.error());
  event->status = *status;
  return event;
}

Result<Event> read_probe(const Json& json) {
  auto event = read_lease_key<Event>(json, {"v", "op", "kind", "ok", "text"});
  if (!event) return event;
  event->kind = Event::Kind::probe;
  if (!json["ok"].is_boolean()) return refuse("key 'ok' is not true or false");
  event->ok = json["ok"].get<bool>();
  auto text = read_line(json, "text");
  if (!text) return Failure(text.error());
  event->text = std::move(*text);
  return event;
}

Result<Request> read_event(const Json& json) {
  if (!json.contains("kind")) return refuse("key 'kind' is missing");
  const auto kind = read_string(json, "kind");
  if (!kind) return Failure(kind.error());
  if (*kind == exec) return read_exec_event(json);
  if (*kind == agent_end) return read_agent_end(json);
  if (*kind == probe) return read_probe(json);
  if (*kind != udp_refused && *kind != way_out) return refuse("key 'kind' has an unknown event");
  const bool is_way_out = *kind == way_out;
  auto event = read_lease_key<Event>(json, {"v", "op", "kind", is_way_out ? "text" : "count"});
  if (!event) return Failure(event.error());
  if (is_way_out) {
    event->kind = Event::Kind::way_out;
    auto text = read_line(json, "text");
    if (!text) return Failure(text.error());
    event->text = std::move(*text);
  } else {
    const auto count = read_number(json, "count");
    if (!count) return Failure(count.error());
    event->count = *count;
  }
  return std::move(*event);
}

Result<Request> read_take_over(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "format"}); !keys) return Failure(keys.error());
  return read_number(json, "format").map([](std::uint64_t format) -> Request {
    return TakeOver{format};
  });
}

template <class Message, class Variant>
Result<Variant> read_names_message(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "names"}); !keys) return Failure(keys.error());
  return read_names(json).map(
      [](std::vector<Binding>&& names) -> Variant { return Message{std::move(names)}; });
}

Result<Answer> read_totals(const Json& json) {
  const bool reports = json.is_object() && json.contains("reported");
  const auto keys =
      reports
          ? require_keys(
                json, {"v", "op", "ok", "allowed", "denied", "bytes_up", "bytes_down", "reported"})
          : require_keys(json, {"v", "op", "ok", "allowed", "denied", "bytes_up", "bytes_down"});
  if (!keys) return Failure(keys.error());
  const auto allowed = read_number(json, "allowed");
  if (!allowed) return Failure(allowed.error());
  auto denied = read_reason_counts(json, "denied");
  if (!denied) return Failure(denied.error());
  const auto up = read_number(json, "bytes_up");
  if (!up) return Failure(up.error());
  const auto down = read_number(json, "bytes_down");
  if (!down) return Failure(down.error());
  auto reported = reports ? read_reason_counts(json, "reported") : Result<Counts>(Counts());
  if (!reported) return Failure(reported.error());
  return Totals{*allowed, std::move(*denied), *up, *down, std::move(*reported)};
}

Result<Answer> read_refused(const Json& json) {
  if (auto keys = require_keys(json, {"v", "ok", "error"}); !keys) return Failure(keys.error());
  return read_line(json, "error").map([](std::string&& error) -> Answer {
    return Refused{std::move(error)};
  });
}

Result<std::string> read_sandbox(const Json& json) {
  const Json& sandbox = json.at("sandbox");
  if (!sandbox.is_object()) return refuse("key 'sandbox' must be an object");
  return sandbox.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Answer> read_sandbox_asked(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "ok", "sandbox"}); !keys) {
    return Failure(keys.error());
  }
  return read_sandbox(json).map(
      [](std::string&& sandbox) -> Answer { return SandboxAsked{std::move(sandbox)}; });
}

Result<Answer> read_registered(const Json& json) {
  Json others = json;
  const bool has_capture = others.erase("capture") > 0;
  const bool has_sandbox = others.erase("sandbox") > 0;
  const auto keys = require_keys(others, {"v", "op", "ok", "agent_id"});
  if (!keys) return Failure(keys.error());
  auto sandbox = has_sandbox ? read_sandbox(json) : Result<std::string>(no_sandbox);
  if (!sandbox) return Failure(sandbox.error());
  if (has_capture && json.at("capture") != ports_capture) {
    return refuse("key 'capture' must be \"ports\", or not be there");
  }
  return read_line(json, "agent_id").map([&](std::string&& id) -> Answer {
    return Registered{std::move(id), has_capture, std::move(*sandbox)};
  });
}

Result<Answer> read_denied(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "sentence"}); !keys) return Failure(keys.error());
  return read_line(json, "sentence").map([](std::string&& sentence) -> Answer {
    return Denied{std::move(sentence)};
  });
}

Result<Answer> read_ports_answer(const Json& json) {
  if (auto keys = require_keys(json, {"v", "op", "any", "ports"}); !keys) {
    return Failure(keys.error());
  }
  const Json& any = json.at("any");
  if (!any.is_boolean()) return refuse("key 'any' must be true or false");
  return read_ports(json).map([&](std::vector<std::uint16_t>&& ports) -> Answer {
    return Ports{any.get<bool>(), std::move(ports)};
  });
}

// Answers to a request, all with "ok":true.
Result<Answer> read_success(const Json& json, std::string_view op) {
  if (op == "register") return read_registered(json);
  if (op == "unregister") return read_totals(json);
  if (op == "sandbox") return read_sandbox_asked(json);
  if (op != "names") return unknown_op(op);
  if (auto keys = require_keys(json, {"v", "op", "ok"}); !keys) return Failure(keys.error());
  return Accepted{};
}

}  // namespace

std::string encode(const Request& request) { return encode_message(request); }
std::string encode(const Answer& answer) { return encode_message(answer); }

Result<Request> decode_request(std::string_view message) {
  const auto json = parse(message);
  if (!json) return Failure(json.error());
  const auto op = read_op(*json);
  if (!op) return Failure(op.error());
  if (*op == "register") return read_register(*json);
  if (*op == "names") return read_names_message<Names, Request>(*json);
  if (*op == "take_over") return read_take_over(*json);
  if (*op == "unregister") return read_unregister(*json);
  if (*op == "add") return read_add(*json);
  if (*op == "ports") return read_question<AskPorts>(*json);
  if (*op == "sandbox") return read_question<AskSandbox>(*json);
  if (*op == "event") return read_event(*json);
  return unknown_op(*op);
}

Result<Answer> decode_answer(std::string_view message) {
  const auto json = parse(message);
  if (!json) return Failure(json.error());
  if (const auto ok = json->find("ok"); ok != json->end()) {
    if (!ok->is_boolean()) return refuse("key 'ok' must be true or false");
    if (!ok->get<bool>()) return read_refused(*json);
    const auto op = read_op(*json);
    if (!op) return Failure(op.error());
    return read_success(*json, *op);
  }
  const auto op = read_op(*json);
  if (!op) return Failure(op.error());
  if (*op == "bindings") return read_names_message<Bindings, Answer>(*json);
  if (*op == "denied") return read_denied(*json);
  if (*op == "ports") return read_ports_answer(*json);
  return unknown_op(*op);
}

}  // namespace sluice::netns
