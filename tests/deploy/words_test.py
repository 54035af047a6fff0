#!/usr/bin/env python3
"""Man pages and completions tell of every command and option that the programs' --help tells of, and of no other.

    words_test.py BIN
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
BIN = None
PAGES = {"sluice": "sluice.1", "sluiced": "sluiced.8", "sluice-netns": "sluice-netns.8"}
OPTION = re.compile(r"^  (?:-\w,)?(--[a-z-]+)", re.MULTILINE)


def help_of(*path):
    done = subprocess.run([f"{BIN}/{path[0]}", *path[1:], "--help"], capture_output=True, text=True, timeout=60)
    return done.stdout


def commands(text):
    section = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.MULTILINE)
    return re.findall(r"^  ([a-z][a-z-]*)", section[1], re.MULTILINE) if section else []


def tree(*path):
    """(path, options) of a program and all its commands."""
    text = help_of(*path)
    yield path, OPTION.findall(text)
    for command in commands(text):
        yield from tree(*path, command)


def page(name):
    return (DEPLOY / "man" / f"{name}.scd").read_text()


def entries(text):
    """Of each command that has an entry on the page, the options that the entry names; "": all of the page."""
    found = {"": set(re.findall(r"--[a-z][a-z-]*[a-z]", text))}
    command = ""
    for line in text.splitlines():
        if head := re.match(r"\*([a-z][a-z -]*)\*", line):
            command = head[1]
        elif not line.startswith("\t"):
            command = ""
        found.setdefault(command, set()).update(re.findall(r"\*(--[a-z-]+)\*", line))
    return found


COMPLETE = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
compopt() { :; }
_sluice
((${#COMPREPLY[@]})) && printf '%s\n' "${COMPREPLY[@]}"
exit 0
"""


def complete(*words, home="/nonexistent"):
    """What bash would offer in place of the last word."""
    line = [f"{BIN}/{words[0]}", *words[1:]]
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETE, "bash", DEPLOY / "completions/sluice.bash", *line],
        capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], "HOME": home},
    )  # fmt: skip
    if done.stderr:
        raise AssertionError(done.stderr)
    return done.stdout.splitlines()


def keys_of(schema):
    """Every key that a JSON Schema names, at whatever depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from keys_of(part)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            yield from schema["properties"]
        for part in schema.values():
            yield from keys_of(part)


class ManPages(unittest.TestCase):
    def test_name_every_command_and_every_option_of_it(self):
        for program, name in PAGES.items():
            described = entries(page(name))
            for path, options in tree(program):
                command = " ".join(path[1:])
                if command and commands(help_of(*path)):
                    continue  # its commands have the entries
                self.assertIn(command, described, name)
                # The options of 'run' and 'prove' have entries of their own.
                told = described["" if command in ("run", "prove") else command]
                told = told | ({"--help", "--version"} & described[""])
                self.assertEqual(set(options) - told, set(), f"{name}.scd at '{command or program}'")

    def test_name_no_option_that_is_not_there(self):
        known = {option for program in PAGES for _, options in tree(program) for option in options}
        for path in (DEPLOY / "man").iterdir():
            text = re.sub(r"(?s)```.*?```", "", path.read_text())
            named = set(re.findall(r"(?<![a-z-])--[a-z][a-z-]*[a-z]", text))
            self.assertEqual(named - known, set(), path.name)

    def test_are_what_scdoc_takes(self):
        if shutil.which("scdoc") is None:
            self.skipTest("scdoc is not installed")
        for path in sorted((DEPLOY / "man").iterdir()):
            done = subprocess.run(["scdoc"], input=path.read_bytes(), capture_output=True, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (0, b""), path.name)
            self.assertTrue(done.stdout.startswith(b'.\\"'), path.name)

    def test_of_the_configuration_name_each_of_its_keys(self):
        # The shipped file has all of them, some behind '#'.
        text = re.sub(r"(?m)^( *)# (?=[ a-z-]+:|  )", r"\1", (DEPLOY / "sluiced.yaml").read_text())
        keys = set(re.findall(r"(?m)^ *(?:- \{)?([a-z_]+):(?: |$)", text)) - {"sluiced"}
        self.assertGreater(len(keys), 25, keys)
        told = set(re.findall(r"\*([a-z_]+):", page("sluiced.yaml.5")))
        told |= set(re.findall(r"\*([a-z_]+)\*", page("sluiced.yaml.5")))
        self.assertEqual({key for key in keys if key not in told and not key.startswith("coder")}, set())

    def test_of_the_configuration_name_every_place_where_audit_lines_go(self):
        reader = (DEPLOY.parent / "proxy/daemon/config.cc").read_text()
        places = re.search(r'scalar\(node, "(stdout[^"]*) or a path"\)', reader)[1].split(", ")
        self.assertEqual(places, ["stdout", "journald", "unix:PATH"])
        for text in (page("sluiced.yaml.5"), (DEPLOY / "sluiced.yaml").read_text()):
            told = re.search(r"(?ms)^\*?audit:.*?\n\n", text)[0]
            self.assertEqual([place for place in places if place not in told], [])

    def test_of_the_policy_name_each_of_its_keys(self):
        schema = yaml.safe_load((DEPLOY.parent / "allowlists/schema.json").read_text())
        keys = set(keys_of(schema))
        self.assertGreater(len(keys), 25, keys)
        told = set(re.findall(r"\*(?:\\?\")?([a-z_]+):", page("sluice-policy.5")))
        self.assertEqual(keys - told, set())


class BashCompletion(unittest.TestCase):
    def test_offers_every_command_and_every_option(self):
        for program in PAGES:
            for path, options in tree(program):
                with self.subTest(path):
                    self.assertEqual(sorted(complete(*path, "--")), sorted(options))
                    if commands(help_of(*path)):
                        self.assertEqual(sorted(complete(*path, "")), sorted(commands(help_of(*path))))

    def test_completes_what_is_begun(self):
        self.assertEqual(complete("sluice", "pol"), ["policy"])
        self.assertEqual(complete("sluice", "run", "--quiet", "--root-m"), ["--root-mode"])
        self.assertEqual(complete("sluice", "policy", "ex"), ["explain"])
        self.assertEqual(complete("sluice-netns", "su"), ["supervise"])

    def test_offers_values_behind_an_option_that_takes_one(self):
        self.assertEqual(complete("sluice", "run", "--root-mode", ""), ["readonly", "overlay"])
        self.assertEqual(complete("sluice-netns", "attach", "--despite", "v"), ["vsock"])
        self.assertIn("/etc/passwd", complete("sluice", "run", "--policy", "/etc/passw"))
        self.assertIn("claude-code", complete("sluice", "policy", "presets", "claude"))

    def test_leaves_the_agents_command_line_to_the_command(self):
        self.assertIn("bash", complete("sluice", "run", "--", "bas"))
        self.assertNotIn("--policy", complete("sluice", "run", "--", "bash", "--"))


class OtherShells(unittest.TestCase):
    def check(self, shell, name):
        if shutil.which(shell) is None:
            self.skipTest(f"{shell} is not installed")
        done = subprocess.run([shell, "-n", DEPLOY / "completions" / name], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_zsh_reads_its_completion(self):
        self.check("zsh", "_sluice")

    def test_fish_reads_its_completion_and_offers_every_command(self):
        self.check("fish", "sluice.fish")
        script = f"source {DEPLOY}/completions/sluice.fish; complete -C 'sluice '; complete -C 'sluice policy explain --'"
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nonexistent"}
        done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, timeout=60,
                              env=environment)  # fmt: skip
        offered = {line.split("\t")[0] for line in done.stdout.splitlines()}
        self.assertLessEqual({*commands(help_of("sluice")), *OPTION.findall(help_of("sluice", "policy", "explain"))}, offered)


if __name__ == "__main__":
    BIN = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
