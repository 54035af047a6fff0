"""Opens COUNT idle connections to the proxy, asks for a page among them, and again afterwards.

Prints {"opened", "in_the_crowd": first line, "ms_in_the_crowd", "afterwards": first line}.
"""

import json
import resource
import socket
import sys
import time

PROXY = ("127.0.0.1", 3128)
REQUEST = b"GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\nConnection: close\r\n\r\n"


def ask():
    started = time.monotonic()
    try:
        with socket.create_connection(PROXY, timeout=60) as client:
            client.sendall(REQUEST)
            line = client.recv(4096)[:12].decode("latin1")
    except OSError as error:
        line = type(error).__name__
    return line, int((time.monotonic() - started) * 1000)


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = []
    for _ in range(min(int(sys.argv[1]), most - 50)):
        try:
            crowd.append(socket.create_connection(PROXY, timeout=60))
        except OSError:
            break
    line, ms = ask()
    for client in crowd:
        client.close()
    end = time.monotonic() + 60
    afterwards = ""
    while afterwards != "HTTP/1.1 200" and time.monotonic() < end:
        afterwards = ask()[0]
        time.sleep(0.1)
    told = {"opened": len(crowd), "in_the_crowd": line, "ms_in_the_crowd": ms}
    print(json.dumps({**told, "afterwards": afterwards}))


if __name__ == "__main__":
    main()
