#!/usr/bin/env python3
"""No coroutine awaits within a condition: GCC 12 then reads its frame wrongly (proxy/net.h)."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("proxy", "tests/loopback", "tests/unit")
# Up to the bracket that closes the condition, with one pair of brackets within it.
CONDITION = re.compile(r"\b(?:if|while|for|switch) (?:constexpr )?\((?:[^()]|\([^()]*\))*?\bco_await\b")
OPERAND = re.compile(r"(?:&&|\|\||\?)\s*co_await\b")


def places(text):
    for pattern in (CONDITION, OPERAND):
        for found in pattern.finditer(text):
            yield text.count("\n", 0, found.end()) + 1


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def main():
    for wrong in ("if (!co_await f()) {", "while (a(b) > co_await f())", "x = a && co_await f();",
                  "if (const auto [e] = co_await f(); e)"):  # fmt: skip
        assert list(places(wrong)), wrong
    assert not list(places("if (a(b)) co_await f();")) and not list(places("if (a) co_return co_await f();"))
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".cc", ".h")]
    bad = [
        f"{path.relative_to(ROOT)}:{line}: co_await within a condition: give it a statement of its own"
        for path in files
        for line in places(without_comments(path.read_text()))
    ]
    print("\n".join(bad) or f"{len(files)} files, no co_await within a condition")
    return 1 if bad or len(files) < 100 else 0


if __name__ == "__main__":
    sys.exit(main())
