#!/usr/bin/env python3
"""One gate, one dialer: only the objects named here can open a way out.

    one_dialer_test.py ARCHIVE...

Reads the undefined symbols of every object that sluiced is linked from. An object that newly refers to
connect(2) or a send to an address fails the test until it is named here with its reason.
"""

import re
import subprocess
import sys

# symbol -> object -> why it may
MAY = {
    "connect": {
        "asio.cc.o": "Asio itself, through which nobody connects: see start_connect_op",
        "attempt.cc.o": "the one dialer's attempts",
        "resolver.cc.o": "the resolver's door to the configured name servers",
        "unix_socket.cc.o": "asks another sluiced at a Unix socket",
        "socket_sink.cc.o": "the operator's log shipper or journald, at a Unix socket",
        "lease.cc.o": "asks a sluiced at its Unix socket, for supervisors; not called by sluiced",
        "network.cc.o": "the namespace's self-check, inside an agent's namespace; not called by sluiced",
    },
    "sendto": {
        "asio.cc.o": "Asio itself; sluiced starts no datagram through it",
        "notify.cc.o": "tells the service manager, over a Unix socket",
    },
    "sendmsg": {
        "asio.cc.o": "writes to connected sockets",
        "dns.cc.o": "answers an agent's DNS question, into the agent's namespace",
        "handover.cc.o": "the handover protocol, over a Unix socket",
    },
    "sendmmsg": {},
    "getaddrinfo": {"asio.cc.o": "Asio's resolver, which nobody uses"},
    "reactive_socket_service_base::do_open": {"attempt.cc.o": "the one dialer's sockets"},
    "reactive_socket_service_base::start_connect_op": {},
    "reactive_socket_service_base::start_send_op": {
        name: "writes to a connection that the dialer or an accept made"
        for name in ("tls_pumps.cc.o", "session.cc.o", "relay.cc.o", "exchange.cc.o", "upstream.cc.o")
    },
}
ALWAYS = {"connect": "attempt.cc.o", "reactive_socket_service_base::do_open": "attempt.cc.o"}


def references(archives):
    """(symbol, object) for every undefined symbol of interest."""
    text = subprocess.run(["nm", "-A", "-C", "-u", *archives], capture_output=True, text=True, check=True)
    for line in text.stdout.splitlines():
        place, undefined, symbol = line.partition(" U ")
        if not undefined:
            continue
        name = re.sub(r"[@(].*", "", symbol.strip()).removeprefix("boost::asio::detail::")
        yield name, place.split(":")[1]


def main():
    seen = set(references(sys.argv[1:]))
    if not seen:
        sys.exit("no object was read")
    failures = [
        f"{place} refers to {name}, which is not its business"
        for name, place in sorted(seen)
        if name in MAY and place not in MAY[name]
    ]
    failures += [f"{place} no longer refers to {name}: this test reads the wrong symbols"
                 for name, place in ALWAYS.items() if (name, place) not in seen]  # fmt: skip
    for failure in failures:
        print(failure)
    print(f"{len(seen)} references, {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
