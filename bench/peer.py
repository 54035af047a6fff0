"""Processes that bench/proxies.py starts on loopback and ends again: the origin and sluiced (more in bench/peers.py).

All proxies allow the same 200 suffixes, `*.svc000.bench.test` to `*.svc199.bench.test`, and know the same addresses for
them: api.svcNNN.bench.test is 127.1.0.(NNN+1).
"""

import contextlib
import ctypes
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

HOSTS = 200
START_SECONDS = 30
STOP_SECONDS = 10
LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
# Where the packages have put most of them is not on the path of everybody.
os.environ["PATH"] += os.pathsep + "/usr/sbin"


def suffix(number):
    return f"svc{number:03}.bench.test"


def address(number):
    return f"127.1.0.{number + 1}"


def each(line):
    """`line` for every host: {0} its number, {1} its suffix, {2} its address."""
    return "".join(line.format(number, suffix(number), address(number)) for number in range(HOSTS))


class Ports:
    """Ports of loopback that nothing has, below those that the kernel gives to outgoing connections."""

    given = set()

    @classmethod
    def one(cls):
        for _ in range(1000):
            port = random.randrange(20000, 32000)
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("0.0.0.0", port))
                if port not in cls.given:
                    cls.given.add(port)
                    return port
        raise RuntimeError("no free port")


def ends_with_us():
    """In the child: killed when this program is, whatever ends it."""
    os.setsid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def children_of(pid):
    """The processes below pid."""
    found = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    return found + [pid for child in found for pid in children_of(child)]


class Peer:
    """One proxy. `ways`: how each kind of request is made of it; a kind that is not there cannot be had."""

    name = ""
    program = ""
    idle_most = 1_000_000  # tunnels at once

    def __init__(self, origin_port):
        self.origin_port = origin_port
        self.base = tempfile.mkdtemp(prefix=f"sluice-bench-{self.name}-")
        os.chmod(self.base, 0o777)  # some give up root for a user of their own
        self.process = None
        self.ways = {}

    @classmethod
    def installed(cls):
        return shutil.which(cls.program) is not None

    def write(self, name, text):
        with open(f"{self.base}/{name}", "w") as file:
            file.write(text)
        return f"{self.base}/{name}"

    def command(self):
        raise NotImplementedError

    def ports(self):
        return [port for _, port in self.ways.values()]

    def ready(self):
        for port in self.ports():
            socket.create_connection(("127.0.0.1", port), 2).close()

    def start(self):
        command = self.command()
        with open(f"{self.base}/output", "w") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            cwd=self.base, preexec_fn=ends_with_us)  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.ready()
                return self
            if self.process.poll() is not None or time.monotonic() > end:
                with open(f"{self.base}/output") as output:
                    said = output.read()[-2000:]
                raise RuntimeError(f"{self.name} did not start\n{said}")
            time.sleep(0.05)

    def pids(self):
        return [self.process.pid]

    def stop(self):
        if self.process is not None:
            below = children_of(self.process.pid)
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
            for pid in below if self.process.poll() is not None else [*below, self.process.pid]:
                # Not yet reaped, or of a parent that is gone: its session is still ours alone.
                with contextlib.suppress(OSError):
                    if os.getsid(pid) == self.process.pid:
                        os.kill(pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.base, ignore_errors=True)


class Origin(Peer):
    """The origin of all of them."""

    name = "origin"

    def __init__(self, load, seconds):
        super().__init__(Ports.one())
        self.load = load
        self.seconds = seconds

    def ports(self):
        return [self.origin_port]

    def command(self):
        return [self.load, "origin", "--origin-port", str(self.origin_port), "--seconds", str(self.seconds)]


CONFIG = """policy: {base}/policy.yaml
threads: {threads}
handover: {{socket: {base}/handover.sock}}
admin: {{socket: {base}/admin.sock, address: "127.0.0.1:{admin}"}}
listen:
  - {{address: "127.0.0.1:{one}", agent: bench-1}}
  - {{address: "127.0.0.1:{two}", agent: bench-2}}
resolver: {{servers: [127.0.0.1], hosts_file: {base}/hosts}}
{limits}
state: {base}
audit: {{file: {base}/audit.jsonl}}
"""


class Sluiced(Peer):
    """With policy, audit to a file and metrics. `limits`: further lines of its configuration."""

    name = "sluiced"

    def __init__(self, origin_port, program, threads=1, limits=""):
        super().__init__(origin_port)
        self.program = program
        self.threads = threads
        self.limits = limits
        self.one, self.two, self.admin = Ports.one(), Ports.one(), Ports.one()
        # What its own accounts must show in the end.
        self.allowed = 0
        self.refused = 0
        self.unanswered = 0  # asked, and allowed or not
        for kind in ("tunnel", "get", "refused_new", "refused_kept"):
            self.ways[kind] = ("connect", self.one)

    def command(self):
        port = self.origin_port
        self.write("hosts", each("{2} api.{1}\n"))
        self.write("policy.yaml", "version: 1\nagents:\n  \"*\":\n    allow:\n"
                   + each(f'      - {{{{host: "*.{{1}}", ports: [{port}]}}}}\n')
                   # The guard refuses loopback but where an operator opens it.
                   + f"      - {{cidr: 127.1.0.0/16, ports: [{port}]}}\n")  # fmt: skip
        return [self.program, "--config", self.write("sluiced.yaml", CONFIG.format(**vars(self)))]

    def handover_socket(self):
        return f"{self.base}/handover.sock"

    def audit_lines(self):
        """(allowed, refused or counted as left out, lines lost) as the audit file has it."""
        allowed = refused = lost = 0
        with open(f"{self.base}/audit.jsonl", "rb") as file:
            for line in file:
                if b'"verdict":"allow"' in line:
                    allowed += 1
                elif b'"verdict":"deny"' in line:
                    refused += 1
                elif b'"denials_left_out"' in line:
                    refused += int(line.rsplit(b'"count":', 1)[1].rstrip(b"}\n"))
                elif b'"lines_dropped"' in line:
                    lost += int(line.rsplit(b'"count":', 1)[1].rstrip(b"}\n"))
        return allowed, refused, lost

    def metrics(self):
        """(allowed, refused, audit lines lost) as /metrics has it."""
        sums = {"allow": 0, "deny": 0, "lost": 0}
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=30) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith("sluice_decisions_total{"):
                    verdict = line.split('verdict="')[1].split('"')[0]
                    sums[verdict] = sums.get(verdict, 0) + int(float(line.rsplit(" ", 1)[1]))
                elif line.startswith("sluice_audit_dropped_total"):
                    sums["lost"] = int(float(line.rsplit(" ", 1)[1]))
        return sums["allow"], sums["deny"], sums["lost"]
