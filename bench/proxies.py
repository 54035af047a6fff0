#!/usr/bin/env python3
"""sluiced beside the proxies that are installed, on the same work, in turns, in one run.

    bench/proxies.py BIN [--row NAME]... [--quick] [--json FILE]

BIN holds sluiced and bench_load (-DSLUICE_BENCH=ON). Everything is on loopback of this machine and shares its cores,
so rates are of shared cores: the processor time of the proxy's own processes for one operation is the figure to
trust. sluiced runs with policy, address guard, audit to a file and metrics, on one thread where nothing else is said.
Ends with status 1 when one answer was wrong, or when sluiced's audit or metrics do not show exactly what was asked.
"""

import argparse
import collections
import contextlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import time

import peers
from peer import Origin, Sluiced

ROUNDS = 3
RUN_LIMIT = 300

# `kind`: of Peer.ways. `cost`, `rate`: which figures of a run's report are told.
Row = collections.namedtuple("Row", "name kind arguments cost_title cost rate_title rate refused")
CPU, GIB = "cpu_us_per_operation", "cpu_s_per_gib"
ROWS = (
    Row("connect", "tunnel", ["connect"], "tunnel + 32 B echo, us", CPU, "tunnels/s", "rate", False),
    Row("latency", "tunnel", ["connect", "--rate", "500"], "", "", "", "", False),
    Row("bulk-down", "tunnel", ["bulk", "--direction", "down"], "bulk down, 1 tunnel, s/GiB", GIB,
        "bulk down, Gbit/s", "gbit_per_s", False),
    Row("bulk-up", "tunnel", ["bulk", "--direction", "up"], "bulk up, 1 tunnel, s/GiB", GIB,
        "bulk up, Gbit/s", "gbit_per_s", False),
    Row("get", "get", ["get", "--rotate", "yes"], "GET, kept, hosts change, us", CPU,
        "GET/s, hosts change", "rate", False),
    Row("get-same", "get", ["get"], "GET, kept, same host, us", CPU, "GET/s, same host", "rate", False),
    Row("refused-new", "refused_new", ["refused"], "refused CONNECT, new, us", CPU,
        "refusals/s, new", "rate", True),
    Row("refused-kept", "refused_kept", ["refused", "--keep", "yes"], "refused GET, kept, us", CPU,
        "refusals/s, kept", "rate", True),
)  # fmt: skip
THREAD_ROWS = ("connect", "get", "refused-new")
SCALE_ROWS = ("idle", "agents", "flood", "threads")
SLUICED = Sluiced.name
DIRECT = "direct"
# So that one agent may open all the tunnels of a row; the flood meets the limits as they come.
NO_LIMIT = "limits: {connections_per_agent: 100000}"


class Bench:
    """What the rows share: the origin, how long things take, what went wrong."""

    def __init__(self, options, stack):
        self.load = os.path.abspath(f"{options.bin}/bench_load" if options.load is None else options.load)
        self.sluiced = os.path.abspath(f"{options.bin}/sluiced")
        self.quick = options.quick
        self.rounds = 1 if options.quick else ROUNDS
        self.seconds = "0.4" if options.quick else "1"
        self.warmup = "0.2" if options.quick else "0.3"
        self.bytes = "256M" if options.quick else "1G"
        self.descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.failures = []
        self.results = {}
        self.stack = stack
        self.origin = Origin(self.load, 3000)
        stack.callback(self.origin.close)
        self.origin.start()

    def fail(self, sentence):
        self.failures.append(sentence)
        print(f"error: {sentence}", file=sys.stderr)

    def run(self, what, *arguments):
        """One run of bench_load: its report, or None."""
        command = [self.load, *(str(argument) for argument in arguments)]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=RUN_LIMIT)  # fmt: skip
        except subprocess.TimeoutExpired:
            return self.fail(f"{what}: no end after {RUN_LIMIT} s")
        report = json.loads(done.stdout) if done.stdout else None
        if done.returncode != 0:
            said = f"{report['errors']} errors, '{report.get('first_error', '')}'" if report else done.stderr.strip()
            self.fail(f"{what}: {said}")
        return report

    def through(self, peer, row, *more):
        """The arguments of a run of `row` through a peer (None: none)."""
        arguments = [*row.arguments, "--origin-port", self.origin.origin_port, *more]
        if peer is None:
            return [*arguments, "--via", "direct"]
        via, port = peer.ways[row.kind]
        pids = ",".join(map(str, peer.pids()))
        return [*arguments, "--via", via, "--proxy", f"127.0.0.1:{port}", "--pid", pids]

    def measure(self, peer, row):
        name = peer.name if peer else DIRECT
        moved = "256M" if name == "tinyproxy" else self.bytes
        amount = ["--bytes", moved] if row.arguments[0] == "bulk" else ["--seconds", self.seconds,
                                                                        "--warmup", self.warmup]  # fmt: skip
        report = self.run(f"{name}, {row.name}", *self.through(peer, row, *amount))
        note(peer, report, row.refused)
        return report

    def start(self, peer):
        """Starts a peer and ends it with the program; None when it does not start."""
        self.stack.callback(peer.close)
        try:
            return peer.start()
        except RuntimeError as problem:
            return self.fail(str(problem))

    def end(self, peer):
        if isinstance(peer, Sluiced):
            self.check_accounts(peer)
        peer.close()

    def check_accounts(self, sluiced):
        """Audit and metrics were on, and say exactly what the load counted."""
        asked = (sluiced.allowed, sluiced.refused, 0)
        # What waited unanswered is decided once the others have left.
        most = (sluiced.allowed + sluiced.unanswered, sluiced.refused, 0)
        end = time.monotonic() + (3 if sluiced.unanswered else 20)
        counted = sluiced.metrics()
        while (counted != asked or sluiced.unanswered) and time.monotonic() < end:
            time.sleep(0.2)
            counted = sluiced.metrics()
        sluiced.stop()  # writes what the audit still has
        lines = sluiced.audit_lines()
        self.results.setdefault("accounts", []).append({"asked": asked, "metrics": counted, "audit": lines})
        if lines != counted or not all(low <= one <= high for low, one, high in zip(asked, lines, most)):
            self.fail(f"asked of sluiced (allowed, refused, lost): {asked}, {sluiced.unanswered} without an answer;"
                      f" metrics: {counted}; audit: {lines}")  # fmt: skip


def note(peer, report, refused):
    """Adds what was answered to what sluiced's accounts must show."""
    if report is None or not isinstance(peer, Sluiced):
        return
    if refused:
        peer.refused += report["answered"]
    else:
        peer.allowed += report["answered"]


def median(reports, key):
    values = [report[key] for report in reports if report and report.get("operations", 1) > 0]
    return statistics.median(values) if values else None


def take_turns(bench, running, rows):
    """{row: {peer: [reports]}}; every round asks all, beginning with another one."""
    taken = {}
    for row in rows:
        able = [peer for peer in running if peer is None or row.kind in peer.ways]
        if row.refused:
            able = [peer for peer in able if peer is not None]
        reports = {peer.name if peer else DIRECT: [] for peer in able}
        for number in range(bench.rounds):
            for peer in able[number % len(able):] + able[: number % len(able)]:
                reports[peer.name if peer else DIRECT].append(bench.measure(peer, row))
        taken[row.name] = reports
        print(".", end="", file=sys.stderr, flush=True)
    return taken


def digits(value):
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def line(title, cells):
    print(f"  {title:29}" + "".join(f"{cell:>11}" for cell in cells))


def compared(values):
    """sluiced's figure by squid's, and by the best of the others with its name."""
    own = values.get(SLUICED)
    others = {name: value for name, value in values.items() if name not in (SLUICED, DIRECT) and value}
    if not own or not others:
        return ["-", "-"]
    best = min(others, key=others.get)
    return [f"{own / others['squid']:.2f}" if "squid" in others else "-", f"  {own / others[best]:.2f} ({best})"]


def tell_costs(taken, names):
    print("\nprocessor time of the proxy for one operation; last: sluiced to squid, to the best of the others")
    line("", [*names, "to squid", "to best"])
    for row in ROWS:
        if row.name in taken and row.cost:
            values = {name: median(reports, row.cost) for name, reports in taken[row.name].items()}
            cells = [digits(values.get(name)) for name in names]
            line(row.cost_title, [*cells, *compared(values)])


def tell_rates(taken, names):
    print("\nrates, 64 operations at a time, of cores shared with load and origin")
    line("", [DIRECT, *names])
    for row in ROWS:
        if row.name in taken and row.rate:
            values = {name: median(reports, row.rate) for name, reports in taken[row.name].items()}
            line(row.rate_title, [digits(values.get(name)) for name in [DIRECT, *names]])


def tell_latencies(taken, names):
    if "latency" not in taken:
        return
    print("\nlatency of a tunnel with its echo at 500 a second, us")
    line("", [DIRECT, *names])
    medians = {}
    for key in ("p50_us", "p90_us", "p99_us"):
        medians[key] = {name: median(reports, key) for name, reports in taken["latency"].items()}
        line(key[:3], [digits(medians[key].get(name)) for name in [DIRECT, *names]])
    p50 = medians["p50_us"]
    if p50.get(DIRECT):
        added = [digits(p50[name] - p50[DIRECT]) if p50.get(name) else "-" for name in names]
        line("added to direct, p50", ["", *added])


def new_sluiced(bench, threads=1, limits=NO_LIMIT):
    return Sluiced(bench.origin.origin_port, bench.sluiced, threads, limits)


def main_table(bench, rows):
    running = [None]
    for peer in [new_sluiced(bench), *(one(bench.origin.origin_port) for one in peers.PEERS if one.installed())]:
        if bench.start(peer):
            running.append(peer)
    names = [peer.name for peer in running if peer]
    taken = take_turns(bench, running, rows)
    for peer in running[1:]:
        bench.end(peer)
    bench.results["table"] = taken
    print(f"\n\nmedians of {bench.rounds} rounds; haproxy and nginx have no CONNECT: their tunnels go by SNI")
    tell_costs(taken, names)
    tell_rates(taken, names)
    tell_latencies(taken, names)


def idle(bench):
    """Fresh processes: what an earlier row left behind would hold the tunnels for nothing."""
    most = 500 if bench.quick else bench.descriptors // 2 - 200
    print(f"\nidle tunnels, each tried at its beginning and its end (of {bench.descriptors} descriptors, two a tunnel)")
    line("", ["tunnels", "KiB RSS", "KiB PSS", "CPU ms/s"])
    row = Row("idle", "tunnel", ["idle"], "", "", "", "", False)
    told = bench.results["idle"] = {}
    for make in [lambda _: new_sluiced(bench), *(one for one in peers.PEERS if one.installed())]:
        peer = make(bench.origin.origin_port)
        if not bench.start(peer):
            continue
        count = min(most, peer.idle_most)
        report = bench.run(f"{peer.name}, idle", *bench.through(peer, row, "--count", count, "--seconds", 1))
        note(peer, report, False)
        bench.end(peer)
        if report:
            told[peer.name] = report
            spent = (report["cpu_user_s"] + report["cpu_system_s"]) * 1000 / report["held_seconds"]
            pss = digits(report["pss_kib_per_tunnel"]) if report["pss_after_kib"] else "-"
            line(peer.name, [report["tunnels"], digits(report["rss_kib_per_tunnel"]), pss, digits(spent)])


def agents(bench):
    sluiced = new_sluiced(bench)
    if not bench.start(sluiced):
        return
    count = 50 if bench.quick else 1000
    report = bench.run("agents", "agents", "--socket", sluiced.handover_socket(), "--count", count,
                       "--pid", ",".join(map(str, sluiced.pids())))  # fmt: skip
    if report:
        sluiced.refused += report["refused"]
        bench.results["agents"] = report
        print(f"\n{report['agents']} agents registered over the handover socket, each of a network namespace:"
              f" {digits(report['rss_kib_per_agent'])} KiB of sluiced for each,"
              f" {digits(report['cpu_us_per_operation'])} us of its processor time to register one")  # fmt: skip
    bench.end(sluiced)


def flood_through(bench, name, peer):
    """One agent tries very many tunnels at once; what another one notices. On sluiced they are two, elsewhere one."""
    where = ["--via", "direct"]
    if peer:
        via, port = peer.ways["tunnel"]
        other = peer.two if isinstance(peer, Sluiced) else port
        where = ["--via", via, "--proxy", f"127.0.0.1:{other}", "--flood-proxy", f"127.0.0.1:{port}"]
    count, seconds = (1000, 1) if bench.quick else (min(10_000, bench.descriptors // 2 - 200), 3)
    report = bench.run(f"{name}, flood", "flood", "--count", count, "--origin-port", bench.origin.origin_port,
                       "--rate", 200, "--seconds", seconds, *where)  # fmt: skip
    if report is None:
        return
    bench.results.setdefault("flood", {})[name] = report
    if isinstance(peer, Sluiced):
        peer.allowed += report["answered"]
        peer.refused += report["flood_refused"]
        peer.unanswered += report["flood_waiting"]
    phases = ("alone", "opening", "held")
    p50, p99 = ([report[f"{phase}_{part}_us"] for phase in phases] for part in ("p50", "p99"))
    ratios = [f"{value / p99[0]:.2f}" if p99[0] else "-" for value in p99[1:]]
    became = [report[f"flood_{what}"] for what in ("open", "refused", "waiting")]
    line(name, [*became, *map(digits, [*p50, *p99]), *ratios])


def flood(bench):
    """With the limits of sluiced as they come: an agent may hold an eighth of the descriptors."""
    print("\na flood: one agent tries as many tunnels as the descriptors allow, 64 at a time, and holds them; another\n"
          "opens 200 a second: its latency, us, alone (a), while the flood opens (o), and while it is held (h)")  # fmt: skip
    latencies = ["p50 a", "p50 o", "p50 h", "p99 a", "p99 o", "p99 h", "p99 o/a", "p99 h/a"]
    line("", ["held", "refused", "waiting", *latencies])
    flood_through(bench, DIRECT, None)
    sluiced = new_sluiced(bench, limits="")
    others = [one for one in (peers.Squid, peers.Haproxy) if one.installed()]
    for peer in [sluiced, *(one(bench.origin.origin_port) for one in others)]:
        if bench.start(peer):
            flood_through(bench, peer.name, peer)
            bench.end(peer)


def threads(bench):
    one, two = new_sluiced(bench), new_sluiced(bench, threads=2)
    one.name, two.name = "1 thread", "2 threads"
    running = [peer for peer in (one, two) if bench.start(peer)]
    rows = [row for row in ROWS if row.name in THREAD_ROWS]
    taken = bench.results["threads"] = take_turns(bench, running, rows)
    for peer in running:
        bench.end(peer)
    print("\n\nsluiced with one thread and with two, on cores shared with load and origin")
    line("", ["us, 1", "us, 2", "per s, 1", "per s, 2"])
    for row in rows:
        cells = [median(taken[row.name][name], key) for key in (row.cost, row.rate) for name in taken[row.name]]
        line(row.cost_title, [digits(cell) for cell in cells])


def tell_accounts(bench):
    told = bench.results.get("accounts", [])
    sums = [tuple(sum(one[key][i] for one in told) for i in range(3)) for key in ("asked", "metrics", "audit")]
    if told and sums[0][0] + sums[0][1] > 0:
        asked, metrics, audit = sums
        print(f"\naudit and metrics were on: asked {asked[0]} allowed and {asked[1]} refused requests;"
              f" audit has {audit[0]} and {audit[1]}, lost {audit[2]}; metrics {metrics[0]} and {metrics[1]}")  # fmt: skip
        print("(of denials beyond 200 a second the audit has the count)")
        if audit[0] > asked[0]:
            print(f"({audit[0] - asked[0]} more were allowed of those that the flood had left unanswered, after it)")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [row.name for row in ROWS] + list(SCALE_ROWS)
    parser.add_argument("bin", metavar="BIN")
    parser.add_argument("--row", action="append", choices=names, help="only this one; may be given again")
    parser.add_argument("--quick", action="store_true", help="one short round: no figures to keep")
    parser.add_argument("--json", metavar="FILE", help="every report of every run")
    parser.add_argument("--load", metavar="FILE", help="another bench_load")
    return parser.parse_args()


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    began = time.monotonic()
    missing = [one.name for one in peers.PEERS if not one.installed()]
    if missing:
        print(f"not installed, and left out: {', '.join(missing)}")
    with contextlib.ExitStack() as stack:
        bench = Bench(options, stack)
        wanted = options.row or [row.name for row in ROWS] + list(SCALE_ROWS)
        rows = [row for row in ROWS if row.name in wanted]
        if rows:
            main_table(bench, rows)
        for scale in (idle, agents, flood, threads):
            if scale.__name__ in wanted:
                scale(bench)
        tell_accounts(bench)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(bench.results, file, indent=1)
    print(f"\n{time.monotonic() - began:.0f} s, {os.cpu_count()} cores, Linux {os.uname().release}")
    if bench.failures:
        sys.exit(f"{len(bench.failures)} failures, the first: {bench.failures[0]}")


if __name__ == "__main__":
    main()
