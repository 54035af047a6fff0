"""Connections that are begun and given up: KIND and COUNT, half of them with a reset, half orderly.

    abort.py KIND COUNT       prints how many were begun
"""

import itertools
import json
import multiprocessing
import socket
import struct
import sys

PROXY = ("127.0.0.1", 3128)
POST = b"POST http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nContent-Length: 99\r\n\r\nab"
KINDS = {
    "connect and close": (PROXY, b""),
    "half a head": (PROXY, b"GET http://allowed.test/ HTTP/1.1\r\nHost: allo"),
    "half a body": (PROXY, POST),
    "half a ClientHello": (("allowed.test", 443), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "half a SOCKS greeting": (PROXY, b"\x05\x02\x00"),
    "half a CONNECT tunnel": (PROXY, b"CONNECT allowed.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n\x16"),
}
WORKERS = 4
RESET = struct.pack("ii", 1, 0)


def abort(address, said, count):
    begun = 0
    for number in range(count):
        try:
            with socket.socket(socket.AF_INET) as client:
                client.settimeout(60)
                client.connect(address)
                if said:
                    client.sendall(said)
                if number % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                begun += 1
        except OSError:
            pass
    return begun


def main():
    (host, port), said = KINDS[sys.argv[1]]
    address = (socket.gethostbyname(host), port)
    share = int(sys.argv[2]) // WORKERS
    with multiprocessing.Pool(WORKERS) as pool:
        jobs = itertools.repeat((address, said, share), WORKERS)
        print(json.dumps(sum(pool.starmap(abort, jobs))))


if __name__ == "__main__":
    main()
