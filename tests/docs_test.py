#!/usr/bin/env python3
"""Every link of the documentation leads somewhere, and every block of commands is typed by a test or says why not.

Typed are ```console fences below docs/ (tests/e2e/test_walkthrough.py) and files that they use (```sh NAME). Any other
block that begins with a command is a fence whose first line ends in `untested: WHY`, or in `typed by TEST`.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^```(\w*) ?(.*)$")
COMMANDS = re.compile(r"\s*(\$ )?(sudo |)(sluiced?|sluice-netns|\./dev|podman|docker|buildah|systemctl|systemd-run|jq|curl|git|ip|apt(-get)?|dpkg|promtool|journalctl)\s")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(path, text):
    for target in LINK.findall(text):
        file, _, anchor = target.partition("#")
        if ":" in file:
            continue
        found = (path.parent / file).resolve() if file else path
        if not found.exists():
            yield f"{path.relative_to(ROOT)}: the link '{target}' leads to no file"
        elif anchor and found.suffix == ".md" and anchor not in anchors(found.read_text()):
            yield f"{path.relative_to(ROOT)}: the link '{target}' leads to no heading"


def is_typed(path, kind, rest):
    if rest.startswith("untested: ") and len(rest) > len("untested: x"):
        return True
    if rest.startswith("typed by "):
        return path.name in (ROOT / rest.removeprefix("typed by ")).read_text()
    return path.is_relative_to(ROOT / "docs") and (kind == "console" and not rest or kind == "sh" and bool(rest))


def unmarked_commands(path, text):
    fence, before = None, ""
    for number, line in enumerate(text.splitlines(), 1):
        here = f"{path.relative_to(ROOT)}:{number}"
        if opened := FENCE.match(line):
            if fence is not None:
                fence = None
            else:
                fence = opened.groups()
                if fence[0] in ("sh", "bash", "console") and not is_typed(path, *fence):
                    yield f"{here}: no test types this block, and it does not say why ('untested: …')"
        elif fence is None and line.startswith("    ") and not before.startswith("    ") and COMMANDS.match(line):
            yield f"{here}: a block of commands that is no fence: '{line.strip()}'"
        before = line


def main():
    pages = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
    wrong = [fault for path in pages for find in (broken_links, unmarked_commands) for fault in find(path, path.read_text())]
    print("\n".join(wrong))
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main())
