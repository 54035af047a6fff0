#!/usr/bin/env python3
"""What one decision of Squid's `dstdomain` costs over 100,000 hosts.

    bench/squid_dstdomain.py [REQUESTS]

Squid decides only inside of a request, which costs far more than the decision. So the same client asks the
same refused requests of a Squid that looks into no list, into one, and into eight copies of it (each a tree of
its own), and the decision is the slope: what seven more lists cost, in processor time of the Squid process, by
seven. It contains Squid's walk over its access lines, which a policy has too. Names come from the whole list.
"""

import contextlib
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RULES = 100_000
COPIES = (0, 1, 8)
ROUNDS = 25
START_SECONDS = 60
LIST_CONFIG = "acl list{0} dstdomain \"{1}/hosts\"\nhttp_access deny list{0} nobody\n"
CONFIG = """
http_port 127.0.0.1:{port}
pid_filename {base}/squid.pid
coredump_dir {base}
cache_log {base}/cache.log
access_log none
cache deny all
cache_mem 0 MB
dns_nameservers 127.0.0.1
visible_hostname bench
pinger_enable off
max_filedescriptors 1024
shutdown_lifetime 0 seconds
acl nobody src 255.255.255.255/32
{lists}http_access deny all
"""


def host(index):
    return f"h{index}.zone{index % 977}.example.com"


class Squid:
    """A Squid of its own on loopback, in a directory of its own; ended by its process id."""

    def __init__(self, copies):
        self.base = tempfile.mkdtemp(prefix="sluice-bench-squid-")
        os.chmod(self.base, 0o777)  # Squid gives up root for a user of its own
        with open(f"{self.base}/hosts", "w") as file:
            file.writelines(host(i) + "\n" for i in range(RULES))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        lists = "".join(LIST_CONFIG.format(i, self.base) for i in range(copies))
        with open(f"{self.base}/squid.conf", "w") as file:
            file.write(CONFIG.format(port=self.port, base=self.base, lists=lists))
        self.process = subprocess.Popen(["squid", "-N", "-f", f"{self.base}/squid.conf"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)  # fmt: skip

    def __enter__(self):
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                self.connect().close()
                return self
            except OSError:
                time.sleep(0.1)
        with open(f"{self.base}/cache.log") as log:
            tail = log.read()[-2000:]
        self.__exit__()
        sys.exit(f"squid did not start\n{tail}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def processor_nanoseconds(self):
        with open(f"/proc/{self.process.pid}/schedstat") as file:
            return int(file.read().split()[0])


def refused(connection, name):
    """One request; whether the connection may be used again."""
    connection.sendall(f"GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\n\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        if not part:
            sys.exit("squid closed the connection before it answered")
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 403 " not in head.split(b"\r\n")[0]:
        sys.exit(f"squid answered {head.decode(errors='replace')}")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    missing = int(fields[b"content-length"]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536))
    return fields.get(b"connection") != b"close"


def ask(squid, names):
    connection = None
    for name in names:
        connection = connection or squid.connect()
        if not refused(connection, name):
            connection.close()
            connection = None
    if connection:
        connection.close()


def one_round(squid, names):
    """(processor ns a request, requests a second)"""
    began, processor = time.perf_counter(), squid.processor_nanoseconds()
    ask(squid, names)
    spent = squid.processor_nanoseconds() - processor
    return spent / len(names), len(names) / (time.perf_counter() - began)


def measure(squids, kind, name_of, requests):
    """All of them in turns; prints medians over the rounds."""
    rounds = {copies: [] for copies in squids}
    for number in range(ROUNDS + 1):
        names = [name_of(random.randrange(RULES)) for _ in range(max(requests // ROUNDS, 1))]
        for copies, squid in squids.items():
            result = one_round(squid, names)
            if number > 0:  # the first one fills caches
                rounds[copies].append(result)
    spent = {copies: statistics.median(one[0] for one in rounds[copies]) for copies in squids}
    for copies in squids:
        rate = statistics.median(one[1] for one in rounds[copies])
        print(f"  {copies:5}  {kind:10} {spent[copies]:21.0f} {rate:12.0f} {spent[copies] / spent[0]:12.3f}")
    few, many = COPIES[1], COPIES[-1]
    print(f"         {kind:10}: a decision costs {(spent[many] - spent[few]) / (many - few):.0f} ns")


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    random.seed(1)
    with contextlib.ExitStack() as running:
        squids = {copies: running.enter_context(Squid(copies)) for copies in COPIES}
        print(f"\nsquid: {requests} refused requests over {RULES} hosts, medians of {ROUNDS} rounds")
        print("  lists  names       processor ns/request   requests/s   to no list")
        measure(squids, "listed", host, requests)
        measure(squids, "not listed", lambda index: f"not.{host(index)}", requests)


if __name__ == "__main__":
    main()
