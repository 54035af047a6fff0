"""Does what it reads, a line each, and answers with a line: for tests that act in between.

    open COUNT HEX     opens COUNT connections to the proxy, says the bytes on each: how many opened
    tunnel HOST:PORT   opens a tunnel: what came first
    say TEXT           on the tunnel: what came back, or how it ended
    begin PATH         asks allowed.test for PATH, reads 64 KiB of the answer
    finish             reads the rest and closes: all the bytes of the body, or how it ended
    fetch HOST         asks for a page on a connection of its own: the status, or how it ended
    close              closes what `open` opened
"""

import re
import resource
import socket
import sys

PROXY = ("127.0.0.1", 3128)
PATIENCE = 60  # seconds: above every deadline that a test sets


def connect():
    return socket.create_connection(PROXY, timeout=PATIENCE)


class Holder:
    def __init__(self):
        self.crowd = []
        self.stream = None
        self.body = b""
        self.length = 0

    def open(self, count, said="-"):
        for _ in range(int(count)):
            try:
                self.crowd.append(connect())
                self.crowd[-1].sendall(bytes.fromhex(said) if said != "-" else b"")
            except OSError:
                break
        return len(self.crowd)

    def close(self):
        for client in self.crowd:
            client.close()
        self.crowd = []
        return "closed"

    def tunnel(self, target):
        self.stream = connect()
        self.stream.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        heard = b""
        while heard.count(b"\r\n") < 3:
            heard += self.stream.recv(4096) or b"the end\r\n\r\n\r\n"
        return heard.decode("latin1").split("\r\n\r\n", 1)[1].strip()

    def say(self, text):
        self.stream.sendall(text.encode())
        return self.stream.recv(4096).decode() or "the end"

    def begin(self, path):
        self.stream = connect()
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.stream.sendall(f"GET http://allowed.test{path} HTTP/1.1\r\nHost: allowed.test\r\n\r\n".encode())
        self.body = b""
        while len(self.body) < 1 << 16:
            self.body += self.stream.recv(1 << 14)
        head, self.body = self.body.split(b"\r\n\r\n", 1)
        self.length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
        return head.split(b"\r\n")[0].decode()

    def finish(self):
        received = len(self.body)
        while received < self.length and (part := self.stream.recv(1 << 16)):
            received += len(part)
        self.stream.close()
        return received

    def fetch(self, host):
        with connect() as client:
            client.sendall(f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            return client.recv(4096).decode("latin1")[9:12] or "the end"


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    holder = Holder()
    for line in sys.stdin:
        verb, *arguments = line.split()
        try:
            answer = getattr(holder, verb)(*arguments)
        except OSError as error:
            answer = type(error).__name__
        print(answer, flush=True)


if __name__ == "__main__":
    main()
