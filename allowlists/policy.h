// Decides: may this agent reach this target? Pure: no clock, no DNS, no I/O, safe to share between
// threads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "allowlists/host.h"
#include "allowlists/limits.h"
#include "allowlists/sandbox.h"
#include "base/reason.h"
#include "base/strong.h"

namespace sluice::allowlists {

// What the bytes on an allowed connection must be (policy language, `tls:`).
enum class TlsMode : std::uint8_t {
  require,  // a ClientHello whose SNI is the allowed host; default on port 443
  match,    // if it is TLS, its SNI must be the allowed host; default elsewhere
  off,      // not looked at
};

// What becomes of a target that no rule opens (policy language, `mode:`).
enum class Mode : std::uint8_t {
  enforce,
  report,  // not_listed and port_not_allowed pass, and are logged and counted as what they are
};

// Every decision can explain itself. Default-constructed: denied.
struct Decision {
  Verdict verdict = Verdict::deny;
  Reason reason = Reason::not_listed;
  TlsMode tls = TlsMode::require;
  bool refuse_ech = false;            // `ech: deny` on the rule
  std::optional<Reason> would_deny;   // for Verdict::report: what enforcement would have said
  std::string_view rule = "default";  // "policy.yaml:31"; lives as long as the policy that made it
  std::string_view why;  // for denied and never: what the operator says of the rule; may be empty

  explicit operator bool() const noexcept { return verdict != Verdict::deny; }
};

// Whether the kernel calls the address one of this machine's own (RTM_GETROUTE: type local).
using OnThisMachine = YesNo<struct OnThisMachineTag>;

// The ports on which rules allow anything at all.
struct OpenPorts {
  static constexpr std::size_t most = 256;  // distinct ones; more are `any`

  bool any = false;
  std::vector<std::uint16_t> ports;  // sorted; none where any
  friend bool operator==(const OpenPorts&, const OpenPorts&) = default;
};

// The rules of one agents: entry, with the policy-wide never: rules before them.
class AgentRules {
 public:
  virtual ~AgentRules() = default;

  // For a name: by the most specific level. For a literal address: by cidr rules and the guard
  // only. The name host.sluice.internal means this machine's loopback and is allowed (listed_cidr)
  // where a cidr rule covers 127.0.0.1 or ::1 and the port.
  virtual Decision decide(const Target& target) const noexcept = 0;

  // For the agent's DNS: allowed when decide() would allow the name on at least one port.
  virtual Decision decide_any_port(const Host& name) const noexcept = 0;

  // The address guard, for `address` just before it is dialled for the allowed target `asked`:
  // address_forbidden, address_private, denied or never; else allowed. Where a name led to it, any
  // deny range that covers it refuses; for a literal address, and for host.sluice.internal, the
  // longest prefix decides.
  virtual Decision judge_address(const Target& asked, const IpAddress& address,
                                 OnThisMachine local) const noexcept = 0;

  // A connection to any other port is refused, whatever the host.
  virtual const OpenPorts& open_ports() const noexcept = 0;

  virtual Mode mode() const noexcept = 0;
  virtual const Limits& limits() const noexcept = 0;
  virtual const Sandbox& sandbox() const noexcept = 0;
};

// An immutable snapshot of a whole policy.
class Policy {
 public:
  virtual ~Policy() = default;

  // The entry for an agent: its exact name, else the glob with the longest literal prefix. Where no
  // entry matches: rules that deny everything with unknown_agent. Lives as long as the policy.
  virtual const AgentRules& for_agent(std::string_view agent) const noexcept = 0;
  virtual bool knows(std::string_view agent) const noexcept = 0;
  // Entries without a glob, in file order: `sluice run` takes the only one as its default agent.
  virtual const std::vector<std::string>& exact_agents() const noexcept = 0;
  virtual std::size_t rule_count() const noexcept = 0;
};

// The policy of a run without one: no agents entry, but everything is not_listed rather than
// unknown_agent.
std::shared_ptr<const Policy> empty_policy();

// Whether `name` may name an agent: [A-Za-z0-9][A-Za-z0-9._-]{0,62}
bool is_agent_name(std::string_view name) noexcept;

}  // namespace sluice::allowlists
