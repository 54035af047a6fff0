#!/usr/bin/env python3
"""How long it takes to start an agent: `sluice run -- true` beside its peers, in turns, in one run.

    bench/start.py BIN [ROUNDS]

BIN holds sluice and sluiced. As root every row is measured twice: as root and as an ordinary user. Prints
medians in milliseconds and their ratio to bubblewrap. The peers' sandboxes have no
network, no proxy and no policy; one that cannot run here is named and left out.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ORDINARY = 65534
POLICY = "version: 1\nagents:\n  coder-1:\n    allow:\n      - host: api.example.com\n"


def rows(binaries, workspace, policy):
    sluice = [f"{binaries}/sluice", "run", "--quiet", "--policy", policy, "--agent", "coder-1",
              "--workspace", workspace, "--", "true"]  # fmt: skip
    yield "fork and exec", ["true"]
    yield "unshare, all namespaces", ["unshare", "-Urmpuinf", "--mount-proc", "true"]
    if shutil.which("bwrap"):
        yield "bubblewrap", ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/",
                             "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "true"]  # fmt: skip
    if shutil.which("firejail"):
        yield "firejail, no network", ["firejail", "--quiet", "--noprofile", "--net=none", "true"]
    if shutil.which("podman"):
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]  # podman's own may be above ours
        yield "podman, no network", ["podman", "run", "--rm", "--network=none", "--cgroups=disabled", *limits,
                                     "--rootfs", "/", "true"]  # fmt: skip
    yield "sluice run, embedded sluiced", sluice
    yield "sluice run, no commands log", [*sluice[:2], "--no-log-exec", *sluice[2:]]


def once(command, environment):
    """Milliseconds from start to end, and why the program failed, if it did."""
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=30)
    took = (time.perf_counter() - began) * 1000
    return took, f"exit status {done.returncode}: {done.stderr.decode()}" if done.returncode else ""


def that_run(table, environment):
    """The rows of `table` whose program works here; a peer that does not is named."""
    for name, command in table:
        _, failed = once(command, environment)
        if failed and name.startswith("sluice"):
            sys.exit(f"{' '.join(command)}: {failed}")
        if failed:
            print(f"left out: {name}: {' '.join(failed.split())}")
        else:
            yield name, command


def measure(identity, prefix, binaries, rounds):
    base = tempfile.mkdtemp(prefix="sluice-bench-")
    try:
        for name in ("home", "work", "runtime"):
            os.mkdir(f"{base}/{name}", 0o700)
        with open(f"{base}/home/policy.yaml", "w") as file:
            file.write(POLICY)
        if prefix:
            for path in (base, *(f"{base}/{n}" for n in ("home", "home/policy.yaml", "work", "runtime"))):
                os.chown(path, ORDINARY, ORDINARY)
        environment = {"PATH": os.environ["PATH"], "HOME": f"{base}/home", "XDG_RUNTIME_DIR": f"{base}/runtime"}
        table = [(name, prefix + command) for name, command in rows(binaries, f"{base}/work", f"{base}/home/policy.yaml")]
        table = list(that_run(table, environment))
        times = {name: [] for name, _ in table}
        for _ in range(rounds):
            for name, command in table:
                took, failed = once(command, environment)
                if failed:
                    sys.exit(f"{' '.join(command)}: {failed}")
                times[name].append(took)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    base_time = statistics.median(times.get("bubblewrap") or times["fork and exec"])
    print(f"\nstarting `true` {identity}, {rounds} rounds: median ms, ratio to bubblewrap")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:32} {median:8.1f} {median / base_time:8.2f}")


def main():
    binaries = os.path.abspath(sys.argv[1])
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 20
    if os.geteuid() == 0:
        measure("as root", [], binaries, rounds)
        ids = [f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups"]
        measure("as an ordinary user", ["setpriv", *ids, "--"], binaries, rounds)
    else:
        measure("as an ordinary user", [], binaries, rounds)


if __name__ == "__main__":
    main()
