// The new one's side of a take-over: asks a running sluiced for all it has, and hears of the rest.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "netns/take_over.h"
#include "proxy/daemon/agents.h"
#include "proxy/daemon/handover_server.h"
#include "proxy/daemon/transfer.h"

namespace sluice::proxy {

// What the old sluiced handed over. Until take_possession() it serves on as before when this goes.
struct Inheritance {
  using Kind = netns::OwnSocket::Kind;
  struct Listening {
    Kind kind;
    std::string address;  // as the kernel says: a path, or address_text()
    Fd fd;
  };
  struct Supervised {
    Fd connection;  // none: an explicit lease of `holder`
    std::vector<netns::Binding> names;
    std::string agent;  // "": nothing is registered yet
    std::vector<netns::RoleSocket> sockets;
    netns::Totals counted;
    uid_t holder = 0;
    std::string asked_ports;
    std::string leased;
  };

  Fd link;
  std::vector<Listening> listening;
  std::vector<Supervised> peers;
  std::vector<std::string> budgets;  // for Allowances::restore()

  static std::string address_text(const IpAddress& address, std::uint16_t port);
  // The listening socket of this kind and address; none: the old one had none.
  Fd socket(Kind kind, const std::string& address) noexcept;
  // The handover socket itself.
  Fd handover_socket() noexcept;
};

// Errors: nobody answers at the socket, is another user's, refuses, or hands over what is not what
// it should be. Blocks, for at most half a minute.
Result<Inheritance> ask_to_take_over(const std::string& handover_socket);

// All of it can be served. On success it is this process's, and the old one's no longer.
Result<void> take_possession(const Inheritance& inheritance);

// The old sluiced, while its tunnels last.
class Predecessor {
 public:
  explicit Predecessor(Agents& agents) : agents_(agents) {}

  // Registers what the old one had registered, not served yet, for `peers` to hear and to hold.
  Result<void> adopt(std::vector<Inheritance::Supervised> supervised, Peers& peers);
  // What take_possession() was asked on.
  void listen(Fd link) noexcept { link_ = std::move(link); }
  // Until it has gone.
  Task<void> attend(asio::io_context& io);
  // Whether the old one still counts what this registration did; asked about one that has ended,
  // it is told so.
  bool counts(const Registration& registration);
  // Whether it still has connections to end.
  bool lives();

 private:
  struct Adopted {
    std::shared_ptr<Registration> registration;
    bool told = false;  // that it has ended
  };
  Result<std::shared_ptr<Registration>> add(Inheritance::Supervised one,
                                            std::shared_ptr<const Fd> peer);
  void hear();
  void take_in(const netns::Counted& counted);

  Fd link_;  // none: not its successor yet, or it has gone
  SpentTeller teller_;
  Agents& agents_;
  std::map<std::string, Adopted> adopted_;  // by id, those it still counts
};

}  // namespace sluice::proxy
