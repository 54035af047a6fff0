// The protocol that gives listeners to the proxy; the one header proxy and launcher share with
// netns.
//
// SOCK_SEQPACKET, one JSON message a packet, sockets as SCM_RIGHTS in the order `sockets` names
// them. The peer (a supervisor) asks, sluiced answers each request once, in order; `bindings` and
// `denied` come unasked at any time, also between a request and its answer.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/agent_end.h"
#include "base/error.h"
#include "base/fd.h"
#include "netns/seen_exec.h"

namespace sluice::netns {

// What a handed socket is for.
enum class Role : std::uint8_t {
  tproxy4,  // TCP listener, 127.127.127.127:15001, IP_TRANSPARENT
  tproxy6,  // TCP listener, [::1]:15001, IPV6_TRANSPARENT
  dns_udp,  // UDP, [::]:53 dual stack
  dns_tcp,  // TCP listener, [::]:53 dual stack
  proxy,    // TCP listener, 127.0.0.1:3128
  port,     // TCP listener, [::]:N dual stack: one for each port, where the kernel has no nf_tables
};
// Without `port`: the listeners of a whole network, one of each.
inline constexpr std::size_t role_count = 5;
// As many descriptors as one message carries.
inline constexpr std::size_t max_sockets_per_message = 16;
std::string_view role_name(Role role) noexcept;

struct RoleSocket {
  Role role = Role::proxy;
  Fd fd;
};

// A synthetic address that was given to a name: index n is 198.18.0.0 + n and fd73:6c75:6963:: + n.
struct Binding {
  std::string name;
  std::uint32_t index = 0;
  friend bool operator==(const Binding&, const Binding&) = default;
};

// -- what a peer asks
// ------------------------------------------------------------------------------------

// How long a registration lasts: as long as the connection, or until somebody says so.
enum class Lease : std::uint8_t { connection, until_ended };

// {"v":1,"op":"register","agent":"coder-7","sockets":["tproxy4",…],"names":[{"name":…,"index":…}]}
// with "lease":"explicit" for Lease::until_ended.
struct Register {
  std::string agent;
  std::vector<Role> sockets;
  std::vector<Binding> names;  // bindings of an earlier registration, to be honoured again
  Lease lease = Lease::connection;
};

// {"v":1,"op":"names","names":[…]}: more such bindings than one packet holds; sent before Register,
// each answered with Accepted.
struct Names {
  std::vector<Binding> names;
};

// {"v":1,"op":"add","sockets":["port",…]}: more `port` listeners of the agent this connection
// registered, answered with Accepted.
struct Add {
  std::vector<Role> sockets;
};

// {"v":1,"op":"unregister"}: closes the listeners, ends the agent's tunnels, answers with totals.
// With "agent":"coder-7" an explicit lease of the same peer's, from whatever connection; with
// "netns_cookie":4711 besides only if it is for that namespace.
struct Unregister {
  std::string agent;               // "": what this connection registered
  std::uint64_t netns_cookie = 0;  // SO_NETNS_COOKIE; 0: whichever
};

// {"v":1,"op":"ports","agent":"coder-7"}: which ports its policy can open; answered with Ports, and
// with Ports again whenever a new policy changes them, while the connection lives.
struct AskPorts {
  std::string agent;
};

// {"v":1,"op":"sandbox","agent":"coder-7"}: how its policy wants its sandbox made; answered with
// SandboxAsked.
struct AskSandbox {
  std::string agent;
};

// {"v":1,"op":"event","kind":"udp_refused","count":12}: what a supervisor saw; not answered.
// {"v":1,"op":"event","kind":"way_out","text":"link 'eth0' (veth)"}: the promise no longer holds;
// sluiced ends the registration's service and writes an audit line.
// {"v":1,"op":"event","kind":"exec","execs":[{"program":…}],"count":2}: programs that the agent
// started; sluiced writes an audit line for each. `count`: those that have no line, because there
// were too many at once.
// {"v":1,"op":"event","kind":"agent_end","end":"timeout","status":124}: why the agent ended; before
// Unregister, or after its Totals.
// {"v":1,"op":"event","kind":"probe","ok":false,"text":"the probe 'vsock' reached …"}: a
// containment check; as agent_end. A sluiced that is older than these two parts with whoever says
// them, so that they are the last thing to be said. "agent" and "netns_cookie" as for Unregister.
// What is of nobody that this peer may speak for is dropped.
struct Event {
  enum class Kind : std::uint8_t { udp_refused, way_out, exec, agent_end, probe };
  Kind kind = Kind::udp_refused;
  std::uint64_t count = 0;  // since the last such event; of udp_refused and exec
  std::string text;         // one line; of way_out and probe, of which 256 bytes are kept
  std::string agent{};      // "": what this connection registered
  std::uint64_t netns_cookie = 0;
  std::vector<SeenExec> execs{};  // of exec
  AgentEnd end{};                 // of agent_end, as is status
  std::uint64_t status = 0;       // what the agent exited with, 128+n after signal n
  bool ok = false;                // of probe: nothing was reached
};

// {"v":1,"op":"take_over","format":1}: a new sluiced asks for everything that the old one has; what
// follows on the connection is in netns/take_over.h.
struct TakeOver {
  std::uint64_t format = 1;
};

using Request =
    std::variant<Register, Names, Unregister, TakeOver, Add, AskPorts, AskSandbox, Event>;

// -- what sluiced says
// -----------------------------------------------------------------------------------

// The text of a JSON object, which means something to policies alone.
inline constexpr const char* no_sandbox = "{}";

// {"v":1,"op":"register","ok":true,"agent_id":"…"}
// With "capture":"ports" where the network has no nf_tables: only the policy's ports lead to
// sluiced, every other connection is refused by the kernel and in no account.
// With "sandbox":{…} where its policy says how its sandbox is made: what SandboxAsked answers.
struct Registered {
  std::string agent_id;
  bool ports_only = false;
  std::string sandbox = no_sandbox;
};
// {"v":1,"op":"sandbox","ok":true,"sandbox":{…}}: to AskSandbox
struct SandboxAsked {
  std::string sandbox = no_sandbox;
};
// {"v":1,"op":"unregister","ok":true,"allowed":3,"denied":{"not_listed":2},"bytes_up":…,"bytes_down":…}
// What this registration was allowed, and what was blocked, by reason name (failures included).
// With "reported":{"not_listed":3} what only report mode let pass, by what it would have been.
struct Totals {
  std::uint64_t allowed = 0;
  std::map<std::string, std::uint64_t> denied;
  std::uint64_t bytes_up = 0;
  std::uint64_t bytes_down = 0;
  std::map<std::string, std::uint64_t> reported;
};
// {"v":1,"op":"names","ok":true}: to Names and Add
struct Accepted {};
// {"v":1,"ok":false,"error":"…"}
struct Refused {
  std::string error;
};
// {"v":1,"op":"bindings","names":[…]}: new synthetic addresses, for the next Register's `names`.
struct Bindings {
  std::vector<Binding> names;
};
// {"v":1,"op":"denied","sentence":"…"}: for the agent's eyes; already printable, one line, rate
// limited.
struct Denied {
  std::string sentence;
};

// {"v":1,"op":"ports","any":false,"ports":[80,443]}: any: no list would be short enough.
struct Ports {
  bool any = false;
  std::vector<std::uint16_t> ports;  // sorted, at most max_ports
};
inline constexpr std::size_t max_ports = 256;

using Answer =
    std::variant<Registered, Accepted, Totals, Refused, Bindings, Denied, Ports, SandboxAsked>;

std::string encode(const Request& request);
std::string encode(const Answer& answer);
// Unknown keys, unknown ops, other versions, wrong types, more than max_message bytes: an error.
Result<Request> decode_request(std::string_view message);
Result<Answer> decode_answer(std::string_view message);

inline constexpr std::size_t max_message = std::size_t{64} * 1024;
inline constexpr std::size_t max_names_per_message = 200;  // 200 names of 253 bytes fit max_message

// One packet. `closed` when the other side has gone.
struct Packet {
  std::string bytes;
  std::vector<Fd> fds;
  bool closed = false;
};

// Sends one packet. `fds` may be empty. On a non-blocking socket with a full buffer:
// Errc::unavailable.
Result<void> send_packet(int socket, std::string_view bytes, const std::vector<int>& fds = {});
// Receives one packet; descriptors arrive close-on-exec. Nothing when the socket is non-blocking
// and empty. A truncated packet or control message is an error, and closes what came with it.
Result<std::optional<Packet>> receive_packet(int socket);

// A connected pair of SOCK_SEQPACKET sockets, close-on-exec: supervisor and embedded proxy.
Result<std::pair<Fd, Fd>> socket_pair();

// Checks that a handed socket is what its role says: family, type, bound address, SO_ACCEPTCONN
// (TCP), transparency. Answers its network namespace's cookie (SO_NETNS_COOKIE), which all sockets
// of one registration must share and which must not be the caller's own.
Result<std::uint64_t> verify_socket(Role role, int fd);
// The cookie of the calling process's own network namespace.
Result<std::uint64_t> own_netns_cookie();

}  // namespace sluice::netns
