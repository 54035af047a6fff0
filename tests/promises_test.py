#!/usr/bin/env python3
"""Every promise that the README prints in bold is quoted, word by word, by a test."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## What it promises")[1].split("What it does not promise")[0]
    promises = [" ".join(words.split()).rstrip(".") for words in re.findall(r"^- \*\*(.+?)\*\*", section, re.M | re.S)]
    tests = " ".join(
        " ".join(path.read_text(encoding="utf-8").split())
        for path in (ROOT / "tests").rglob("*")
        if path.suffix in (".cc", ".py") and path != pathlib.Path(__file__).resolve()
    ).lower()
    missing = [promise for promise in promises if promise.lower() not in tests]
    for promise in missing:
        print(f"no test quotes: {promise}")
    print(f"{len(promises)} promises, {len(missing)} without a test")
    return 1 if missing or len(promises) < 5 else 0


if __name__ == "__main__":
    sys.exit(main())
