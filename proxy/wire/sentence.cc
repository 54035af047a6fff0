#include <algorithm>
#include <array>
#include <charconv>

#include "allowlists/address_guard.h"
#include "allowlists/policy.h"
#include "base/ip_address.h"
#include "base/text.h"
#include "proxy/wire/reply.h"

namespace sluice::proxy::wire {
namespace {

// "WHAT (reason): DETAIL; NEXT". Placeholders: {target} {host} {port} {agent} {rule} {line}, the
// last being the rule an operator would add.
struct Wording {
  std::string_view what;
  std::string_view next;
};

constexpr Wording of_internal{
    "sluiced failed while it handled {target}",
    "this is not the request's fault: try again once, then tell the operator"};

// In the order of Reason.
constexpr std::array<Wording, reason_count> wordings = {{
    of_internal,  // listed
    of_internal,  // listed_cidr
    of_internal,  // reported
    {"{target} is not on the allow list of agent '{agent}'",
     "do not retry; if the task needs it, ask the operator to add `{line}` to the allow list of "
     "agent "
     "'{agent}' in the policy"},
    {"{target} is denied to agent '{agent}' by {rule}",
     "do not retry and do not look for another way there; if the task needs it, ask the operator"},
    {"{target} is closed to every agent by {rule}", "do not retry: no allow rule can open it"},
    {"agent '{agent}' may reach {host}, but not on port {port}",
     "use a port that is allowed, or ask the operator to add {port} to the `ports:` of that host "
     "in the "
     "policy"},
    {"{target} is refused because the policy has no entry for agent '{agent}'",
     "do not retry; ask the operator to add agent '{agent}' under `agents:` in the policy"},
    {"this request to {target} is not one that the policy allows agent '{agent}'",
     "do not retry; if the task needs it, ask the operator to allow it in the rule at {rule}"},
    {"the policy was changed and no longer allows {target} to agent '{agent}'",
     "do not retry; if the task needs it, ask the operator"},
    {"{target} leads to an address that no rule can open",
     "do not retry: metadata services, link-local and similar addresses stay closed"},
    {"{target} leads to a private address that no cidr rule of agent '{agent}' covers",
     "do not retry; if the task needs it, ask the operator to add a `- cidr:` rule with that "
     "address and "
     "port"},
    {"the proxy needs a user name and a password before it carries {target}",
     "put them into the proxy URL, as in http://USER:PASSWORD@HOST:PORT"},
    {"the bytes for {target} are not well-formed", "send the request again as the standard has it"},
    {"{target} does not name a host in its standard spelling",
     "spell the host as a plain name or address, with a port from 1 to 65535"},
    {"the URL {target} has a scheme that the proxy does not carry",
     "use http, or CONNECT for https and everything else"},
    {"the TLS client asks for another server name than {target}",
     "connect to the host whose name is in the TLS handshake"},
    {"the TLS client names no server (SNI) on its way to {target}",
     "use a client that sends the server name, or ask the operator about `tls:` in the rule for "
     "{host}"},
    {"{target} is to be spoken to in TLS, and the first bytes are something else",
     "use https, or ask the operator about `tls:` in the rule for {host}"},
    {"the TLS client hides the server name (ECH) on its way to {target}, which the rule forbids",
     "switch Encrypted Client Hello off in the client"},
    {"the request names another host than {target}, to which it was sent",
     "send the request to the host that it names"},
    {"the request for {target} came through this proxy before",
     "do not retry; check the proxy settings: the proxy is asked to reach itself"},
    {"agent '{agent}' has as many connections open as it may, so {target} is refused",
     "close some connections, then try again"},
    {"agent '{agent}' opens connections faster than it may, so {target} is refused",
     "wait some seconds, then try again more slowly"},
    {"agent '{agent}' has sent as many bytes as it may, so {target} is refused",
     "do not retry until the period of the budget is over; the operator can raise `upload:`"},
    {"agent '{agent}' has received as many bytes as it may, so {target} is refused",
     "do not retry until the period of the budget is over; the operator can raise `download:`"},
    {"the header of the request for {target} is too large",
     "send fewer or shorter header fields, cookies above all"},
    {"the request for {target} did not arrive in time",
     "send the whole header at once, on a new connection"},
    {"the policy allows {target}, but its name could not be resolved",
     "check the spelling, or try again later"},
    {"the policy allows {target}, but no name server answered in time", "try again later"},
    {"the policy allows {target}, but the origin refused the connection",
     "check the port, or try again later"},
    {"the policy allows {target}, but the origin did not answer in time", "try again later"},
    {"the policy allows {target}, but it cannot be reached", "try again later"},
    {"the policy allows {target}, but TLS with the origin failed",
     "tell the operator if it happens again"},
    of_internal,
}};

// For whoever is no known agent: what no agent's entry can mend.
const Wording* wording_for_nobody(Reason reason) {
  static constexpr Wording unknown{
      "{target} is refused because the proxy does not know whose request it is",
      "do not retry; ask the operator to name this client under `listen:` in sluiced's "
      "configuration"};
  static constexpr Wording too_fast{
      "{target} is refused because too many passwords are tried on the proxy",
      "wait some seconds, then try again with the right password"};
  if (reason == Reason::unknown_agent) return &unknown;
  return reason == Reason::rate_limit ? &too_fast : nullptr;
}

struct Place {
  std::string_view host;
  std::string_view port;  // may be empty
};

// For the words of a sentence only; what is dialled was parsed elsewhere.
Place split(std::string_view target) {
  const std::size_t colon = target.rfind(':');
  Place place{target, {}};
  if (colon != std::string_view::npos && target.find(']', colon) == std::string_view::npos &&
      (target.starts_with('[') || target.find(':') == colon)) {
    place = {target.substr(0, colon), target.substr(colon + 1)};
  }
  if (place.host.starts_with('[') && place.host.ends_with(']')) {
    place.host = place.host.substr(1, place.host.size() - 2);
  }
  return place;
}

bool is_plain(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

// The rule that would open the place. What a person would paste into a policy must not be an
// agent's choice of words: for anything but a plain name or address it names no host.
void append_rule_line(std::string& out, const Place& place) {
  unsigned port = 0;
  const char* end = place.port.data() + place.port.size();
  const bool numeric =
      !place.port.empty() && std::from_chars(place.port.data(), end, port).ptr == end;
  const bool usual = !numeric || port == 0 || port == 80 || port == 443;
  const auto literal = IpAddress::parse(place.host);
  const bool address = literal.has_value();
  // A synthetic address stands for a name, or for nothing: no rule may name it.
  const bool nameable = address ? !allowlists::is_synthetic(*literal) : is_plain(place.host);
  if (!nameable) {
    out += "- host: NAME";
    return;
  }
  out.append(usual ? "- " : "- {");
  out.append(address ? "cidr: \"" : "host: ").append(place.host).append(address ? "\"" : "");
  if (usual) return;
  out += ", ports: [";
  text::append_decimal(out, port);
  out += "]}";
}

// What stands for the placeholders of a wording.
struct Words {
  const Refusal& refusal;
  Place place = split(refusal.target);

  void append(std::string& out, std::string_view placeholder) const;
};

constexpr std::array<std::string_view, 6> placeholders = {"target", "host", "port",
                                                          "agent",  "rule", "line"};

void Words::append(std::string& out, std::string_view placeholder) const {
  const auto shown = [&out](std::string_view text, std::string_view instead) {
    if (text.empty()) {
      out += instead;
    } else {
      text::append_printable(out, text);
    }
  };
  if (placeholder == "target") {
    shown(refusal.target, "the target");
  } else if (placeholder == "host") {
    shown(place.host, "that host");
  } else if (placeholder == "port") {
    shown(place.port, "that one");
  } else if (placeholder == "agent") {
    shown(refusal.agent, "");
  } else if (placeholder == "rule") {
    const bool ruled = !refusal.rule.empty() && refusal.rule != "default";
    out += ruled ? "rule " : "";
    shown(ruled ? refusal.rule : "", "a rule of the policy");
  } else {
    append_rule_line(out, place);
  }
}

// Calls text(…) and word(…) with the parts of a wording in turn.
template <class Text, class Word>
constexpr void take_apart(std::string_view wording, Text text, Word word) {
  while (!wording.empty()) {
    const std::size_t open = std::min(wording.find('{'), wording.size());
    text(wording.substr(0, open));
    wording.remove_prefix(open);
    if (wording.empty()) return;
    const std::size_t close = wording.find('}');
    word(wording.substr(1, close - 1));
    wording.remove_prefix(close + 1);
  }
}

constexpr bool knows_every_placeholder() {
  bool known = true;
  const auto check = [&known](std::string_view wording) {
    take_apart(
        wording, [](std::string_view) {},
        [&](std::string_view word) {
          known &= std::find(placeholders.begin(), placeholders.end(), word) != placeholders.end();
        });
  };
  for (const Wording& wording : wordings) {
    check(wording.what);
    check(wording.next);
  }
  return known;
}
static_assert(knows_every_placeholder());

// What stands for a placeholder is not looked at again: an agent may have chosen it.
void append_worded(std::string& out, std::string_view wording, const Words& words) {
  take_apart(
      wording, [&out](std::string_view text) { out += text; },
      [&](std::string_view word) { words.append(out, word); });
}

}  // namespace

std::string sentence(const Refusal& refusal) {
  std::string out;
  out.reserve(usual_sentence);
  append_sentence(out, refusal);
  return out;
}

void append_sentence(std::string& out, const Refusal& refusal) {
  const Wording* own =
      allowlists::is_agent_name(refusal.agent) ? nullptr : wording_for_nobody(refusal.reason);
  const Wording& wording =
      own != nullptr ? *own : wordings[static_cast<std::size_t>(refusal.reason)];
  const Words words{refusal};
  append_worded(out, wording.what, words);
  out.append(" (").append(reason_name(refusal.reason)).append(")");
  if (!refusal.detail.empty()) {
    out += ": ";
    text::append_printable(out, refusal.detail);
  }
  out += "; ";
  append_worded(out, wording.next, words);
}

}  // namespace sluice::proxy::wire
