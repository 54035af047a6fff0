"""Tries each way out that is not TCP to an allowed name; prints {NAME: {"result": …, "ms": …}}.

`result` is an errno's name, "timeout" where nothing answered, or what came of the attempt.
"""

import errno
import json
import socket
import struct
import subprocess
import time

FAR4 = "8.8.8.8"
FAR6 = "2606:4700::1111"
IPPROTO_MPTCP = 262
PATIENCE = 30  # seconds: nothing has answered, and nothing will


def udp(family, address, port):
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(PATIENCE)
        client.connect((address, port))
        client.send(b"\xc3 a QUIC packet, or what one likes")
        client.recv(2048)
        return "answered"


def udp_unconnected(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.sendto(b"hello", (address, port))
        return "sent"


def tcp(family, address, port, protocol=0):
    """What a connection that says a few bytes gets: an error, the end of the stream, or bytes."""
    with socket.socket(family, socket.SOCK_STREAM, protocol) as client:
        client.settimeout(PATIENCE)
        client.connect((address, port))
        client.sendall(b"EHLO example\r\n")
        data = client.recv(4096)
        return data.decode("latin1") if data else "closed"


def fast_open(address, port):
    """TCP Fast Open: data in the SYN."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.sendto(b"EHLO example\r\n", socket.MSG_FASTOPEN, (address, port))
        client.settimeout(PATIENCE)
        data = client.recv(4096)
        return data.decode("latin1") if data else "closed"


def opened(*arguments):
    socket.socket(*arguments).close()
    return "opened"


def ping(*options):
    done = subprocess.run(["ping", "-n", "-c", "1", "-W", str(PATIENCE), *options], capture_output=True)
    return "answered" if done.returncode == 0 else "refused"


def icmp_datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_IP, socket.IP_RECVERR, 1)
        client.connect((FAR4, 0))
        client.send(struct.pack("!BBHHH", 8, 0, 0, 1, 1))
        client.recv(2048)
        return "answered"


def own_udp_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"to myself", server.getsockname())
        return server.recv(100).decode()


def own_tcp_server(port, family=socket.AF_INET, address="127.0.0.1"):
    with socket.create_server((address, port), family=family) as server:
        with socket.create_connection((address, port), timeout=PATIENCE) as client:
            connection, _ = server.accept()
            with connection:
                client.sendall(b"to myself")
                return connection.recv(100).decode()


def interfaces():
    return " ".join(name for _, name in socket.if_nameindex())


ATTEMPTS = {
    "udp 443": lambda: udp(socket.AF_INET, FAR4, 443),
    "udp 123": lambda: udp(socket.AF_INET, FAR4, 123),
    "udp ipv6": lambda: udp(socket.AF_INET6, FAR6, 443),
    "udp to an allowed name": lambda: udp(
        socket.AF_INET, socket.gethostbyname("allowed.test"), 443
    ),
    "udp broadcast": lambda: udp_unconnected("255.255.255.255", 67),
    "udp multicast": lambda: udp_unconnected("224.0.0.251", 5353),
    "tcp to another port": lambda: tcp(socket.AF_INET, FAR4, 25),
    "tcp to a low port": lambda: tcp(socket.AF_INET, FAR4, 1),
    "tcp to a high port": lambda: tcp(socket.AF_INET, FAR4, 65535),
    "tcp to the metadata service": lambda: tcp(socket.AF_INET, "169.254.169.254", 80),
    "tcp to a private address": lambda: tcp(socket.AF_INET, "10.0.0.5", 5432),
    "tcp to the machine": lambda: tcp(socket.AF_INET, "25.10.0.1", 22),
    "tcp to 0.0.0.0": lambda: tcp(socket.AF_INET, "0.0.0.0", 25),
    "tcp ipv6": lambda: tcp(socket.AF_INET6, FAR6, 25),
    "tcp ipv6 of the machine": lambda: tcp(socket.AF_INET6, "2a0e:1::1", 22),
    "tcp ipv4-mapped": lambda: tcp(socket.AF_INET6, "::ffff:8.8.8.8", 25),
    "tcp nat64": lambda: tcp(socket.AF_INET6, "64:ff9b::a9fe:a9fe", 80),
    "tcp to a synthetic address nobody was given": lambda: tcp(socket.AF_INET, "198.19.77.1", 25),
    "tcp dns over tls": lambda: tcp(socket.AF_INET, FAR4, 853),
    "tcp to the capture listener": lambda: tcp(socket.AF_INET, "127.127.127.127", 15001),
    "tcp to the capture listener ipv6": lambda: tcp(socket.AF_INET6, "::1", 15001),
    "mptcp": lambda: tcp(socket.AF_INET, FAR4, 25, IPPROTO_MPTCP),
    "tcp fast open": lambda: fast_open(FAR4, 25),
    "sctp": lambda: tcp(socket.AF_INET, FAR4, 25, socket.IPPROTO_SCTP),
    "udplite": lambda: udp_lite(),
    "ping": lambda: ping(FAR4),
    "ping ipv6": lambda: ping("-6", FAR6),
    "icmp datagram socket": icmp_datagram,
    "raw ipv4": lambda: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "raw ipv4 any": lambda: opened(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
    "raw ipv6": lambda: opened(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
    "packet": lambda: opened(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)),
    "packet datagram": lambda: opened(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3)),
    "own udp server": own_udp_server,
    "own tcp server": lambda: own_tcp_server(8000),
    "own tcp server on port 80": lambda: own_tcp_server(80),
    "own tcp server ipv6": lambda: own_tcp_server(8000, socket.AF_INET6, "::1"),
    "interfaces": interfaces,
}


def udp_lite():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE) as client:
        client.settimeout(PATIENCE)
        client.connect((FAR4, 443))
        client.send(b"hello")
        client.recv(100)
        return "answered"


def main():
    told = {}
    for name, attempt in ATTEMPTS.items():
        started = time.monotonic()
        try:
            result = attempt()
        except TimeoutError as error:
            result = "ETIMEDOUT" if error.errno else "timeout"
        except socket.gaierror as error:
            result = f"no such name: {error}"
        except OSError as error:
            result = errno.errorcode.get(error.errno, str(error))
        told[name] = {"result": result, "ms": int((time.monotonic() - started) * 1000)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
