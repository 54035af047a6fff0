"""Opens TCP connections as told, sends exact bytes, prints what came back.

    wire.py JOBS.json

JOBS: {NAME: {"to": [HOST, PORT], "steps": [STEP...], "quiet": SECONDS}}. A step is a string (bytes
as latin-1), or {"until": TEXT, "times": N} (read until it came), {"sleep": SECONDS}, {"bytewise": TEXT},
{"eof": true}. Then it reads to the end, or until nothing has come for `quiet` seconds (1.5) after an
answer that may be all: one that is cut short, or that tells of the end, is waited for with patience.
Prints {NAME: {"reply": TEXT, "error": ERRNO or null, "closed": BOOL, "ms": MS}}; `ms` counts from
the connect() to the first byte of the last reply, or to the error.
"""

import concurrent.futures
import errno
import json
import re
import socket
import sys
import time


PATIENCE = 40  # seconds: nobody has answered, and nobody will


def problem(error):
    if isinstance(error, socket.gaierror):
        return "no such name"
    if isinstance(error, TimeoutError):
        return "timeout"
    return errno.errorcode.get(error.errno, str(error))


def is_whole(said, answer):
    """Whether `answer` to `said` may be all that comes, on a stream that stays open."""
    if not answer.startswith(b"HTTP/1."):
        # Nothing, a refusal by SOCKS, and a TLS alert are followed by something or by the end.
        if answer == b"\x05\x00" and len(said) > 3:
            return False  # the request went with the greeting
        refusal = re.match(rb"(\x05\x00)?\x05[\x01-\x08\xff]|\x15\x03", answer, re.DOTALL)
        return bool(answer) and not refusal
    while answer.startswith(b"HTTP/1."):
        head, found, body = answer.partition(b"\r\n\r\n")
        head = head.lower() + b"\r\n"
        if not found or b"\r\nconnection: close\r\n" in head:
            return False
        if length := re.search(rb"\r\ncontent-length: *(\d+)\r\n", head):
            if len(body) < int(length[1]) and not said.startswith(b"HEAD "):
                return False
            body = body[int(length[1]) :]
        elif b"\r\ntransfer-encoding: chunked\r\n" in head and b"\r\n0\r\n\r\n" not in b"\r\n" + body:
            return False
        answer = body
    return True


class Connection:
    def __init__(self, job):
        self._job = job
        self._reply = b""
        self._answer = b""  # to the last step
        self._said = b""
        self._started = time.monotonic()
        self._last = None
        self._eof = False
        self.closed = False

    def run(self):
        error = None
        try:
            with socket.create_connection(tuple(self._job["to"]), timeout=PATIENCE) as stream:
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for step in self._job.get("steps", []):
                    self._step(stream, step)
                self._to_the_end(stream)
        except OSError as caught:
            error = problem(caught)
        end = self._last or time.monotonic()
        return {
            "reply": self._reply.decode("latin1"),
            "error": error,
            "closed": self.closed,
            "ms": int((end - self._started) * 1000),
        }

    def _step(self, stream, step):
        if isinstance(step, str):
            self._say(step)
            stream.sendall(step.encode("latin1"))
        elif "until" in step:
            wanted, times = step["until"].encode("latin1"), step.get("times", 1)
            while self._reply.count(wanted) < times and self._receive(stream):
                pass
        elif "sleep" in step:
            time.sleep(step["sleep"])
        elif "bytewise" in step:
            self._say(step["bytewise"])
            for byte in step["bytewise"].encode("latin1"):
                stream.sendall(bytes([byte]))
                time.sleep(0.001)  # a segment of its own
        elif "eof" in step:
            stream.shutdown(socket.SHUT_WR)
            self._eof = True

    def _say(self, text):
        self._last = None
        self._said, self._answer = text.encode("latin1"), b""

    def _receive(self, stream):
        data = stream.recv(65536)
        if not data:
            self.closed = True
            return False
        self._last = self._last or time.monotonic()
        self._reply += data
        self._answer += data
        return True

    def _to_the_end(self, stream):
        # No first byte at all is a finding; silence after a whole reply is keep-alive.
        while not self.closed:
            may_be_all = not self._eof and is_whole(self._said, self._answer)
            stream.settimeout(self._job.get("quiet", 1.5) if may_be_all else PATIENCE)
            try:
                if not self._receive(stream):
                    self._last = self._last or time.monotonic()
            except TimeoutError:
                if not self._reply:
                    raise
                return
            except ConnectionResetError:
                self.closed = True
                if not self._reply:
                    raise


def main():
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        results = pool.map(lambda job: Connection(job).run(), jobs.values())
        print(json.dumps(dict(zip(jobs, results))))


if __name__ == "__main__":
    main()
