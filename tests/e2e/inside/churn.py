"""Connections that end badly.

    churn.py resets COUNT     connects, says a part of something, resets; prints how many
    churn.py stuck COUNT      asks for 256 MiB COUNT times and reads nothing for three seconds
"""

import concurrent.futures
import json
import socket
import struct
import sys
import time

PROXY = ("127.0.0.1", 3128)
CONNECT = b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: allowed.test:443\r\n\r\n"
GET = b"GET http://allowed.test/%s HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
POST = (
    b"POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 9\r\n\r\nab"
)
HALVES = [
    (PROXY, b""),
    (PROXY, b"C"),
    (PROXY, CONNECT[:20]),
    (PROXY, CONNECT),
    (PROXY, CONNECT + b"\x16\x03\x01\x02\x00"),
    (PROXY, GET % b"bytes/1000000"),
    (PROXY, GET.replace(b"allowed", b"other") % b""),
    (PROXY, POST),
    (PROXY, b"\x05"),
    (PROXY, b"\x05\x01\x00\x05\x01\x00\x03\x0callowed.test\x01\xbb"),
    (("allowed.test", 443), b"\x16\x03\x01\x02\x00\x01"),
    (("allowed.test", 80), b"GET / HT"),
    (("ssh.test", 22), b""),
    (("8.8.8.8", 443), b"\x16"),
]


def reset(number):
    address, said = HALVES[number % len(HALVES)]
    try:
        with socket.create_connection(address, timeout=60) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(said)
            if number % 3:
                time.sleep(0.005)
    except OSError:
        return 0
    return 1


def resets(count):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sum(pool.map(reset, range(count)))


def stuck(count):
    clients = []
    for _ in range(count):
        clients.append(socket.create_connection(PROXY, timeout=60))
        clients[-1].sendall(GET % b"bytes/268435456")
    print("asked", flush=True)
    time.sleep(3)
    return len(clients)


if __name__ == "__main__":
    print(json.dumps({"resets": resets, "stuck": stuck}[sys.argv[1]](int(sys.argv[2]))))
