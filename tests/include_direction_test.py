#!/usr/bin/env python3
"""Folders include only the folders they may know (the table of the README's architecture section)."""
import pathlib
import re
import sys

MAY_INCLUDE = {
    "base": set(),
    "allowlists": {"base"},
    "metrics": {"base"},
    "netns": {"base"},
    "proxy": {"base", "allowlists", "metrics"},  # and netns/handover.h, netns/take_over.h
    "launcher": {"base", "allowlists", "netns"},
}
EXCEPTIONS = {("proxy", "netns/handover.h"), ("proxy", "netns/take_over.h")}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def violations(root):
    for folder, allowed in MAY_INCLUDE.items():
        for source in sorted((root / folder).rglob("*")):
            if source.suffix not in (".h", ".cc"):
                continue
            for included in INCLUDE.findall(source.read_text(encoding="utf-8")):
                other = included.split("/")[0]
                known = other == folder or other in allowed or (folder, included) in EXCEPTIONS
                if not known:
                    yield f"{source.relative_to(root)} includes {included}"
                if folder == "allowlists" and "asio" in included:
                    yield f"{source.relative_to(root)} sees Asio"


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = list(violations(root))
    for line in found:
        print(line)
    checked = sum(1 for folder in MAY_INCLUDE for _ in (root / folder).rglob("*.cc"))
    print(f"{checked} files, {len(found)} violations")
    return 1 if found or checked == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
