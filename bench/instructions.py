#!/usr/bin/env python3
"""Counts the instructions and allocations of each operation of the bench programs, for ./dev bench --compare.

A count is the same in a noisy room. callgrind counts, because processors inside virtual machines often have no
counters to read. It looks only at bench::repeat(), which does one operation again and again, and writes a file each
time that returns.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

PROGRAMS = ["audit_bench", "decision_bench", "wire_bench"]
TIMES = 1000
TOLERANCE = 0.05
SECONDS = 60  # for a program, which takes two

# glibc chooses memchr(3) and its like by the processor: the same ones everywhere.
TUNABLES = "glibc.cpu.hwcaps=-AVX2,-AVX,-BMI2,-ERMS,-FSRM,-RTM"
REPEAT = "sluice::bench::repeat(void (*)(), long)"


def files_of(directory):
    """What callgrind wrote, in the order of time: out.1, out.2 … and out for the end of the program."""
    return sorted(directory.glob("out.*"), key=lambda path: int(path.suffix[1:]))


def count(program):
    """{operation: {instructions, allocations} of doing it once} of a program."""
    environment = {"PATH": os.environ["PATH"], "GLIBC_TUNABLES": TUNABLES, "SLUICE_BENCH_TIMES": str(TIMES)}
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--toggle-collect={REPEAT}", f"--dump-after={REPEAT}",
                   f"--callgrind-out-file={directory}/out", program]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS)
        totals = [int(re.search(r"^summary: (\d+)", path.read_text(encoding="utf-8"), re.MULTILINE).group(1))
                  for path in files_of(pathlib.Path(directory))]
    # Of each operation the first file is of what is made only once.
    lines = [line.split() for line in done.stdout.splitlines()]
    if done.returncode != 0 or len(totals) != 2 * len(lines):
        sys.exit(f"error: {program.name} was not counted\n{done.stderr}")
    return {name: {"instructions": round(instructions / TIMES), "allocations": round(int(allocations) / TIMES, 2)}
            for (name, allocations), instructions in zip(lines, totals[1::2])}


def count_all(directory):
    counts = {}
    for program in PROGRAMS:
        counts.update(count(directory / program))
    return counts


def toolchain(directory):
    """What the counts depend on besides the sources."""
    cache = (directory.parent / "CMakeCache.txt").read_text(encoding="utf-8")
    compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE).group(1)
    version = subprocess.run([compiler, "--version"], check=True, capture_output=True, text=True, timeout=SECONDS)
    return f"{version.stdout.splitlines()[0]}, {' '.join(platform.libc_ver())}, {platform.machine()}"


def verdict(before, now):
    if before is None:
        return "new"
    if now is None:
        return "GONE"
    change = now["instructions"] / before["instructions"] - 1
    if now["allocations"] > before["allocations"] or change > TOLERANCE:
        return "WORSE"
    return "better" if now["allocations"] < before["allocations"] or change < -TOLERANCE else ""


def compare(baseline, counts):
    """Prints the table; answers the operations that are worse or gone."""
    bad = []
    print(f"{'operation':32}{'instructions: before':>21}{'now':>8}{'change':>9}{'allocations: before':>21}{'now':>6}")
    for name in sorted(baseline.keys() | counts.keys()):
        before, now = baseline.get(name), counts.get(name)
        change = f"{100 * (now['instructions'] / before['instructions'] - 1):+.1f} %" if before and now else ""
        said = verdict(before, now)
        if said.isupper():
            bad.append(name)
        cells = [str(side[key]) if side else "-" for key in ("instructions", "allocations") for side in (before, now)]
        print(f"{name:32}{cells[0]:>21}{cells[1]:>8}{change:>9}{cells[2]:>21}{cells[3]:>6}  {said}".rstrip())
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path, help="where the programs are: build/release/bin")
    parser.add_argument("--write", action="store_true", help="make these counts the baseline")
    parser.add_argument("--baseline", type=pathlib.Path, default=pathlib.Path(__file__).parent / "baseline.json")
    options = parser.parse_args()
    counts = count_all(options.directory)
    with_what = toolchain(options.directory)
    if options.write:
        text = json.dumps({"measured_with": with_what, "operations": counts}, indent=2, sort_keys=True)
        options.baseline.write_text(text + "\n", encoding="utf-8")
        print(f"{options.baseline}: {len(counts)} operations")
        return 0
    baseline = json.loads(options.baseline.read_text(encoding="utf-8"))
    bad = compare(baseline["operations"], counts)
    if baseline["measured_with"] != with_what:
        print(f"no verdict: the baseline is of {baseline['measured_with']}, this is {with_what}")
        return 0
    if bad:
        print(f"error: worse than the baseline: {', '.join(bad)}")
        print("hint: find out why, with valgrind --tool=callgrind; './dev bench --baseline' accepts what was meant")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
