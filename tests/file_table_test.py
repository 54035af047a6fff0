#!/usr/bin/env python3
"""The README's file table names every unit with the duty that its first comment states.

A unit is a header, or a source without one that begins with a comment. `--write` brings the table up to date; a folder
that is new needs its bold row by hand first.
"""
import pathlib
import re
import sys

FOLDERS = ["base", "allowlists", "metrics", "netns", "proxy", "launcher"]
ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER_ROW = re.compile(r"^\| \*\*([a-z_/]+)/\*\* \|")
UNIT_ROW = re.compile(r"^\| `(?:" + "|".join(FOLDERS) + r")/[a-z_0-9/]+` \|")


def duty(source):
    """The first sentence of the comment a file begins with, or None."""
    words = []
    for line in source.read_text(encoding="utf-8").splitlines():
        if not line.startswith("//"):
            break
        words.append(line[2:].strip())
    text = " ".join(words)
    return re.split(r"(?<=[.?!])\s", text, maxsplit=1)[0] if text else None


def units(folder):
    """(name, duty) of each unit directly in a folder."""
    stems = sorted({path.stem for path in (ROOT / folder).iterdir() if path.suffix in (".h", ".cc")})
    for stem in stems:
        header = ROOT / folder / f"{stem}.h"
        said = duty(header if header.exists() else ROOT / folder / f"{stem}.cc")
        if said:
            yield f"{folder}/{stem}", said
        elif header.exists():
            yield f"{folder}/{stem}", "(its first comment does not say what it is for)"


def folders():
    for top in FOLDERS:
        for path in [ROOT / top, *sorted(p for p in (ROOT / top).rglob("*") if p.is_dir())]:
            if any(child.suffix in (".h", ".cc") for child in path.iterdir()):
                yield str(path.relative_to(ROOT))


def table(readme):
    """The README's lines with every folder's rows written anew, and the folders that have no row."""
    missing = set(folders())
    lines = []
    for line in readme:
        if UNIT_ROW.match(line):
            continue
        lines.append(line)
        folder = FOLDER_ROW.match(line)
        if folder and folder.group(1) in missing:
            missing.discard(folder.group(1))
            lines += [f"| `{name}` | {said} |" for name, said in units(folder.group(1))]
    return lines, missing


def main():
    path = ROOT / "README.md"
    written = path.read_text(encoding="utf-8").splitlines()
    lines, missing = table(written)
    for folder in sorted(missing):
        print(f"README.md has no row for the folder {folder}/")
    if "--write" in sys.argv:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return 1 if missing else 0
    for line in sorted(set(lines) ^ set(written)):
        print(("missing: " if line in lines else "stale:   ") + line)
    changed = lines != written
    if changed:
        print("run: python3 tests/file_table_test.py --write")
    return 1 if changed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
