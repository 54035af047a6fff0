"""A network of its own, as an engine without a supervisor makes it: hands its listeners over to
whoever holds descriptor ARGV[1], then fetches each URL that it reads, through its proxy port."""

import fcntl
import http.client
import json
import socket
import struct
import sys

IP_TRANSPARENT, IP_PKTINFO = 19, 8
IPV6_TRANSPARENT, IPV6_RECVPKTINFO = 75, 49
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


def listener(family, address, options=(), kind=socket.SOCK_STREAM):
    made = socket.socket(family, kind)
    for level, name, value in options:
        made.setsockopt(level, name, value)
    made.bind(address)
    if kind == socket.SOCK_STREAM:
        made.listen(64)
    made.setblocking(False)
    return made


def listeners():
    """By role, in the order of a registration."""
    dual = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    packet = [(socket.IPPROTO_IP, IP_PKTINFO, 1), (socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)]
    v6 = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    transparent6 = (socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    transparent4 = (socket.IPPROTO_IP, IP_TRANSPARENT, 1)
    four, six = socket.AF_INET, socket.AF_INET6
    return {
        "tproxy4": listener(four, ("127.127.127.127", 15001), [transparent4]),
        "tproxy6": listener(six, ("::1", 15001), [v6, transparent6]),
        "dns_udp": listener(six, ("::", 53), [dual, *packet], socket.SOCK_DGRAM),
        "dns_tcp": listener(six, ("::", 53), [dual]),
        "proxy": listener(four, ("127.0.0.1", 3128)),
        **{f"port {9000 + i}": listener(six, ("::", 9000 + i), [dual]) for i in range(20)},
    }


def fetch(url):
    host = url.split("/")[2]
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 3128, timeout=60)
        connection.request("GET", url, headers={"Host": host})
        return f"{connection.getresponse().status}"
    except OSError as error:
        return type(error).__name__


def knock(port):
    """What a host that no rule names is answered on this port of an address."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
        connection.request("GET", "/", headers={"Host": "evil.test"})
        return f"{connection.getresponse().status}"
    except OSError as error:
        return type(error).__name__


def resolve(name):
    """The reply code of a question over UDP, and how many answers there are."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.connect(("127.0.0.1", 53))
        client.send(question)
        reply = client.recv(512)
    return f"{reply[3] & 15} {struct.unpack('!H', reply[6:8])[0]}"


with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
made = listeners()
with socket.socket(fileno=int(sys.argv[1])) as holder:
    fds = [one.fileno() for one in made.values()]
    socket.send_fds(holder, [json.dumps(list(made)).encode()], fds)
for one in made.values():
    one.close()
verbs = {"fetch": fetch, "knock": knock, "resolve": resolve}
for line in sys.stdin:
    what, of = line.split()
    print(verbs[what](of), flush=True)
