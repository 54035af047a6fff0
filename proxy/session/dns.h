// The agent's name server: synthetic answers for allowed names, a plain no for every other. No
// question ever leaves this file: a name is resolved only when a connection to it is dialled.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "proxy/session/session.h"
#include "proxy/wire/dns_message.h"

namespace sluice::proxy {

// What to send back; empty: nothing.
std::string answer_dns(Worker& worker, const std::shared_ptr<Agent>& agent,
                       std::span<const std::uint8_t> message, wire::DnsTransport transport);

// Answers on an agent's UDP socket until it is closed, each time from the address that was asked.
Task<void> serve_dns_udp(Worker& worker, std::shared_ptr<Agent> agent,
                         std::shared_ptr<UdpSocket> socket);

// Questions with two length bytes (RFC 1035 4.2.2), one after another, until the agent closes or
// pauses.
Task<void> serve_dns_tcp(Session& session);

}  // namespace sluice::proxy
