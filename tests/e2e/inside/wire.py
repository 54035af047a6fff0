"""Opens TCP connections as told, sends exact bytes, prints what came back.

    wire.py JOBS.json

JOBS: {NAME: {"to": [HOST, PORT], "steps": [STEP...], "quiet": SECONDS}}. A step is a string (bytes
as latin-1), or {"until": TEXT} (read until it came), {"sleep": SECONDS}, {"bytewise": TEXT},
{"eof": true}. Then it reads to the end, or until nothing has come for `quiet` seconds (1.5).
Prints {NAME: {"reply": TEXT, "error": ERRNO or null, "closed": BOOL, "ms": MS}}; `ms` counts from
the connect() to the first byte of the last reply, or to the error.
"""

import concurrent.futures
import errno
import json
import socket
import sys
import time


def problem(error):
    if isinstance(error, socket.gaierror):
        return "no such name"
    if isinstance(error, TimeoutError):
        return "timeout"
    return errno.errorcode.get(error.errno, str(error))


class Connection:
    def __init__(self, job):
        self._job = job
        self._reply = b""
        self._started = time.monotonic()
        self._last = None
        self.closed = False

    def run(self):
        error = None
        try:
            with socket.create_connection(tuple(self._job["to"]), timeout=8) as stream:
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
            self._last = None
            stream.sendall(step.encode("latin1"))
        elif "until" in step:
            while step["until"].encode("latin1") not in self._reply and self._receive(stream):
                pass
        elif "sleep" in step:
            time.sleep(step["sleep"])
        elif "bytewise" in step:
            self._last = None
            for byte in step["bytewise"].encode("latin1"):
                stream.sendall(bytes([byte]))
                time.sleep(0.001)  # a segment of its own
        elif "eof" in step:
            stream.shutdown(socket.SHUT_WR)

    def _receive(self, stream):
        data = stream.recv(65536)
        if not data:
            self.closed = True
            return False
        self._last = self._last or time.monotonic()
        self._reply += data
        return True

    def _to_the_end(self, stream):
        # Eight seconds without a first byte is a finding; silence after a reply is keep-alive.
        while not self.closed:
            stream.settimeout(self._job.get("quiet", 1.5) if self._reply else 8)
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
