#!/usr/bin/env python3
"""What an agent network costs: `sluice-netns create` beside a veth script and `ip netns add`, in one run.

    bench/agents.py BIN [AGENTS]

BIN holds sluiced and sluice-netns; AGENTS (1,000) exist at once in each row. Prints per agent: the time of
creating and of deleting one (median and the 99th of 100), kernel memory (what MemAvailable lost and what slab
and per-CPU memory gained, after the processes' own memory), and sluiced's memory (Pss). The veth row does
what a script for the same purpose does at least: a namespace, a pair of links, addresses, a default route,
and rules that let the agent reach one port of a proxy on the machine and nothing else.

Needs root. Works in network, mount and pid namespaces of its own: the machine's links, rules and /run stay
as they are, and nothing is left however it ends.
"""

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

INSIDE = "SLUICE_BENCH_AGENTS_INSIDE"
AGENTS = 1000
MOST_AGENTS = 1024  # of one user, docs/limits.md
SOCKET = "/run/sluice/handover.sock"
POLICY = "version: 1\nagents:\n  \"bench-*\":\n    allow:\n      - host: api.example.com\n"
CONFIG = """
policy: {base}/policy.yaml
handover: {{socket: {socket}}}
admin: {{socket: {base}/admin.sock, address: ''}}
audit: {{file: {base}/audit.jsonl}}
state: {base}
"""


def run(*command, feed=None):
    done = subprocess.run(command, input=feed, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr}")


# -- the three ways --------------------------------------------------------------------------------


class Plain:
    name = "ip netns add, lo up"

    def create(self, number):
        run("ip", "netns", "add", f"bench-{number}")
        run("ip", "-n", f"bench-{number}", "link", "set", "lo", "up")

    def delete(self, number):
        run("ip", "netns", "delete", f"bench-{number}")


class Veth:
    """Each pair has a network of four addresses in 10.0.0.0/16; the first is the machine's."""

    def __init__(self):
        self.nft = shutil.which("nft")
        self.name = f"veth and {'nft' if self.nft else 'iptables'} script"
        if self.nft:
            table = "table ip bench { chain in { type filter hook input priority 0; }; }"
            run("nft", "-f", "-", feed=table)

    def create(self, number):
        netns, link = f"bench-{number}", f"v{number}"
        here, there = (f"10.0.{number // 64}.{number % 64 * 4 + last}" for last in (1, 2))
        run("ip", "netns", "add", netns)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", netns)
        run("ip", "addr", "add", f"{here}/30", "dev", link)
        run("ip", "link", "set", link, "up")
        inside = (
            f"addr add {there}/30 dev eth0\nlink set lo up\nlink set eth0 up\n"
            f"route add default via {here}\n"
        )
        run("ip", "-n", netns, "-batch", "-", feed=inside)
        if self.nft:
            rules = (
                f'add rule ip bench in iifname "{link}" tcp dport 3128 accept\n'
                f'add rule ip bench in iifname "{link}" drop\n'
            )
            run("nft", "-f", "-", feed=rules)
        else:
            run("iptables", "-w", "-A", "INPUT", "-i", link, "-p", "tcp", "--dport", "3128", "-j", "ACCEPT")
            run("iptables", "-w", "-A", "INPUT", "-i", link, "-j", "DROP")

    def delete(self, number):
        run("ip", "link", "delete", f"v{number}")
        run("ip", "netns", "delete", f"bench-{number}")

    def end(self):
        """Rules are deleted all at once: by their handles it would be a search for each."""
        if self.nft:
            run("nft", "delete", "table", "ip", "bench")
        else:
            run("iptables", "-w", "-F", "INPUT")


class Sluice:
    name = "sluice-netns create"

    def __init__(self, binaries, daemon):
        self.program = f"{binaries}/sluice-netns"
        self.daemon = daemon

    def create(self, number):
        run(self.program, "create", f"bench-{number}")

    def delete(self, number):
        run(self.program, "delete", f"bench-{number}")


# -- measuring -------------------------------------------------------------------------------------


def meminfo():
    with open("/proc/meminfo") as file:
        return {line.split(":")[0]: int(line.split()[1]) for line in file}


def kernel_memory():
    """KiB: MemAvailable, and what the kernel's own allocators hold for good."""
    time.sleep(2)  # namespaces are freed by a work queue
    values = meminfo()
    return values["MemAvailable"], values["SUnreclaim"] + values["Percpu"]


def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:"))


def timed(action, count):
    times = []
    for number in range(count):
        began = time.perf_counter()
        action(number)
        times.append((time.perf_counter() - began) * 1000)
    return times


def percentiles(times):
    ordered = sorted(times)
    return f"{statistics.median(ordered):7.1f} {ordered[int(len(ordered) * 0.99)]:7.1f}"


def measure(way, count):
    daemon = getattr(way, "daemon", None)
    available, held = kernel_memory()
    own = pss(daemon.pid) if daemon else 0
    created = timed(way.create, count)
    available_then, held_then = kernel_memory()
    own_then = pss(daemon.pid) if daemon else 0
    deleted = timed(way.delete, count)
    if hasattr(way, "end"):
        way.end()
    _, left = kernel_memory()
    sluiced = (own_then - own) / count
    print(
        f"  {way.name:26} {percentiles(created)} {percentiles(deleted)}"
        f" {(available - available_then) / count - sluiced:9.1f} {(held_then - held) / count:9.1f}"
        f" {sluiced:9.1f} {(left - held) / count:9.1f}",
        flush=True,
    )


@contextlib.contextmanager
def running_sluiced(binaries, base):
    """A sluiced with room for the descriptors of all agents."""
    with open(f"{base}/policy.yaml", "w") as file:
        file.write(POLICY)
    with open(f"{base}/sluiced.yaml", "w") as file:
        file.write(CONFIG.format(base=base, socket=SOCKET))
    os.makedirs(os.path.dirname(SOCKET), exist_ok=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    room = 65536 if hard == resource.RLIM_INFINITY else min(65536, hard)
    with open(f"{base}/log", "w") as log:
        daemon = subprocess.Popen(
            [f"{binaries}/sluiced", "--config", f"{base}/sluiced.yaml"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard)),
        )  # fmt: skip
    try:
        end = time.monotonic() + 10
        while not os.path.exists(SOCKET):
            if daemon.poll() is not None or time.monotonic() > end:
                with open(f"{base}/log") as log:
                    sys.exit(f"sluiced did not start\n{log.read()}")
            time.sleep(0.05)
        yield daemon
    finally:
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(5)


def inside(binaries, count):
    run("mount", "-t", "tmpfs", "-o", "mode=755", "none", "/run")
    run("ip", "link", "set", "lo", "up")
    base = "/run/sluice-bench"
    os.mkdir(base)
    print(f"\n{count} agents at once: ms of creating and of deleting one (median, 99 %), KiB each")
    print(f"  {'':26} {'create':>15} {'delete':>15} {'available':>9} {'held':>9} {'sluiced':>9} {'left':>9}")
    measure(Plain(), count)
    measure(Veth(), count)
    with running_sluiced(binaries, base) as daemon:
        measure(Sluice(binaries, daemon), count)


def main():
    binaries = os.path.abspath(sys.argv[1])
    count = min(int(sys.argv[2]) if len(sys.argv) > 2 else AGENTS, MOST_AGENTS)
    if os.geteuid() != 0:
        sys.exit("named network namespaces need root")
    if INSIDE in os.environ:
        return inside(binaries, count)
    alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"]
    command = [*alone, sys.executable, "-B", os.path.abspath(__file__), binaries, str(count)]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, timeout=1500).returncode


if __name__ == "__main__":
    sys.exit(main())
