"""Tries to send something around the proxy; prints {NAME: RESULT}.

RESULT is an errno's name, "sent" for a datagram that the kernel took, "closed" or "answered" for a
connection, or what came of the attempt. Everything that is sent has the word `escaped` in it.
"""

import ctypes
import errno
import fcntl
import json
import os
import socket
import struct

FAR4 = ("203.0.113.1", 443)
FAR6 = ("2001:db8::1", 443)
WORD = b"escaped\n"
SO_BINDTODEVICE, IP_FREEBIND, IP_TRANSPARENT, IP_UNICAST_IF = 25, 15, 19, 50
AF_VSOCK, AF_XDP = 40, 44
TUNSETIFF, IFF_TUN = 0x400454CA, 1
NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return "worked"


def datagram(to, *options, family=None, protocol=0, source=None):
    family = family or (socket.AF_INET6 if ":" in to[0] else socket.AF_INET)
    with socket.socket(family, socket.SOCK_DGRAM, protocol) as client:
        for option in ((socket.SOL_SOCKET, socket.SO_BROADCAST, 1), *options):
            client.setsockopt(*option)
        if source:
            client.bind((source, 0))
        client.connect(to)
        for _ in range(3):  # the refusal of one is told with the next
            client.send(WORD)
    return "sent"


def stream(to, *options, protocol=0, source=None):
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(3)
        for option in options:
            client.setsockopt(*option)
        if source:
            client.bind((source, 0))
        client.connect(to)
        client.sendall(WORD)
        return "answered" if client.recv(100) else "closed"


def opened(*arguments):
    socket.socket(*arguments).close()
    return "opened"


def fast_open():
    with socket.socket() as client:
        client.settimeout(3)
        client.sendto(WORD, socket.MSG_FASTOPEN, FAR4)
        return "answered" if client.recv(100) else "closed"


def tun():
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN))
    return "worked"


def enter(path):
    descriptor = os.open(path, os.O_RDONLY)
    return checked(_libc.setns(descriptor, NEWNET))


def route_change(kind):
    """An rtnetlink request of this type with an empty body."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.settimeout(3)
        netlink.send(struct.pack("IHHII", 16 + 28, kind, 0x605, 1, 0) + bytes(28))
        error = -struct.unpack_from("i", netlink.recv(4096), 16)[0]
    if error:
        raise OSError(error, "")
    return "worked"


def shared_listener():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 3128))
        server.listen()
    return "worked"


def abstract():
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0sluice-outside")
    return "connected"


def source_route(last):
    return socket.IPPROTO_IP, socket.IP_OPTIONS, bytes((1, 131, 7, 4, 25, 10, 0, last))


LO = (socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")
ATTEMPTS = {
    "udp": lambda: datagram(FAR4),
    "udp ipv6": lambda: datagram(FAR6),
    "udp port 0": lambda: datagram((FAR4[0], 0)),
    "udp to the machine": lambda: datagram(("25.10.0.1", 9)),
    "udp to the neighbour": lambda: datagram(("25.10.0.2", 9)),
    "udp broadcast": lambda: datagram(("255.255.255.255", 67)),
    "udp subnet broadcast": lambda: datagram(("25.10.0.255", 9)),
    "udp multicast": lambda: datagram(("224.0.0.251", 5353)),
    "udp multicast ipv6": lambda: datagram(("ff02::fb", 5353)),
    "udp multicast ipv6 on lo": lambda: datagram(("ff02::fb", 5353, 0, 1)),
    "udp link-local": lambda: datagram(("fe80::1", 9, 0, 1)),
    "udp on lo": lambda: datagram(FAR4, LO),
    "udp on the machine's link": lambda: datagram(FAR4, (socket.SOL_SOCKET, SO_BINDTODEVICE, b"w0")),
    "udp by link number": lambda: datagram(FAR4, (0, IP_UNICAST_IF, struct.pack("!I", 2))),
    "udp from a foreign address": lambda: datagram(FAR4, source="25.10.0.1"),
    "udp source route": lambda: datagram(FAR4, source_route(2)),
    "udp-lite": lambda: datagram(FAR4, family=socket.AF_INET, protocol=136),
    "l2tp": lambda: datagram(FAR4, family=socket.AF_INET, protocol=115),
    "tcp": lambda: stream(FAR4),
    "tcp ipv6": lambda: stream(FAR6),
    "tcp link-local": lambda: stream(("fe80::1", 443, 0, 1)),
    "tcp from the machine's address": lambda: stream(FAR4, (0, IP_FREEBIND, 1), source="25.10.0.1"),
    "tcp transparent": lambda: stream(FAR4, (0, IP_TRANSPARENT, 1)),
    "tcp marked": lambda: stream(FAR4, (socket.SOL_SOCKET, socket.SO_MARK, 1)),
    "tcp source route": lambda: stream(FAR4, source_route(2)),
    "tcp fast open": fast_open,
    "mptcp": lambda: stream(FAR4, protocol=262),
    "sctp": lambda: stream(FAR4, protocol=132),
    "dccp": lambda: opened(socket.AF_INET, 6, 33),
    "raw": lambda: opened(socket.AF_INET, socket.SOCK_RAW, 255),
    "icmp": lambda: opened(socket.AF_INET, socket.SOCK_DGRAM, 1),
    "packet": lambda: opened(socket.AF_PACKET, socket.SOCK_RAW, 3),
    "vsock": lambda: opened(AF_VSOCK, socket.SOCK_STREAM, 0),
    "xdp": lambda: opened(AF_XDP, socket.SOCK_RAW, 0),
    "sock_diag": lambda: opened(socket.AF_NETLINK, socket.SOCK_RAW, 4),
    "xfrm": lambda: opened(socket.AF_NETLINK, socket.SOCK_RAW, 6),
    "tun": tun,
    "new network": lambda: checked(_libc.unshare(NEWNET)),
    "network of pid 1": lambda: enter("/proc/1/ns/net"),
    "add a link": lambda: route_change(16),
    "add an address": lambda: route_change(20),
    "add a route": lambda: route_change(24),
    "delete a route": lambda: route_change(25),
    "add a rule": lambda: route_change(32),
    "a listener beside the proxy's": shared_listener,
    "abstract socket": abstract,
}


def main():
    told = {}
    for name, attempt in ATTEMPTS.items():
        try:
            told[name] = attempt()
        except TimeoutError:
            told[name] = "no answer"
        except OSError as error:
            told[name] = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
