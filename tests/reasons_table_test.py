#!/usr/bin/env python3
"""docs/reasons.md is true: every reason has one row, with the answers that tests/unit/proxy_wire/reply_test.cc asks of the code."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ROW = re.compile(r"\{Reason::(\w+), (\d+), \"(\w+)\", (\d+), (\d+), (\d+)\}")


def documented():
    text = (ROOT / "docs/reasons.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| `")]
    return [(row[0].strip("`"), row[1:-1]) for row in rows]


def asked():
    text = (ROOT / "tests/unit/proxy_wire/reply_test.cc").read_text()
    return {name: [http, status, socks, tls if tls != "0" else "-", dns] for name, http, status, socks, tls, dns in ROW.findall(text)}


def main():
    enumeration = re.search(r"enum class Reason[^{]*\{(.*?)\};", (ROOT / "base/reason.h").read_text(), re.DOTALL)[1]
    reasons = re.findall(r"^\s*(\w+),", enumeration, re.MULTILINE)
    rows, answers = documented(), asked()
    wrong = []
    if different := set(reasons) ^ {name for name, _ in rows}:
        wrong.append(f"not in both: {sorted(different)}")
    if len(rows) != len(reasons):
        wrong.append(f"{len(rows)} rows for {len(reasons)} reasons")
    wrong += [f"{name}: {cells}, the code answers {answers[name]}" for name, cells in rows if name in answers and cells != answers[name]]
    wrong += [f"{name}: no answer is tested" for name, cells in rows if name not in answers and len(cells) != 1]
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
