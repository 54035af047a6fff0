#!/usr/bin/env python3
"""`sluice policy presets` and `sluice policy schema` print what the tree ships.

usage: commands_test.py SLUICE
"""
import json
import pathlib
import subprocess
import sys
import unittest

ALLOWLISTS = pathlib.Path(__file__).resolve().parent.parent.parent / "allowlists"
SLUICE = None


def policy(*words):
    return subprocess.run([SLUICE, "policy", *words], capture_output=True, text=True, timeout=20,
                          check=False)


def read(path):
    return (ALLOWLISTS / path).read_text(encoding="utf-8")


class Commands(unittest.TestCase):
    def assert_printed(self, run, text):
        self.assertEqual((run.returncode, run.stdout, run.stderr), (0, text, ""))

    def assert_refused(self, run, text):
        self.assertEqual((run.returncode, run.stdout, run.stderr), (2, "", text))

    def test_presets_lists_each_with_its_hosts_and_what_it_is_for(self):
        run = policy("presets")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        lines = run.stdout.splitlines()
        names = sorted(path.stem for path in (ALLOWLISTS / "presets").glob("*.yaml"))
        self.assertEqual([line.split()[0] for line in lines], names)
        self.assertIn("github                 8 hosts  GitHub: clone, push and API over HTTPS, releases and "
                      "large files; strangers can read what is pushed.", lines)
        self.assertIn("gitlab                 1 host   GitLab.com: clone, push and API over HTTPS; strangers "
                      "can read what is pushed.", lines)

    def test_presets_lists_the_same_as_json(self):
        run = policy("presets", "--json")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(json.loads(run.stdout)[-1], {
            "name": "opencode", "hosts": 2,
            "summary": "OpenCode: its own model gateway and its list of models; each provider is a "
                       "preset of its own."})

    def test_presets_NAME_prints_its_file(self):
        for path in sorted((ALLOWLISTS / "presets").glob("*.yaml")):
            self.assert_printed(policy("presets", path.stem), path.read_text(encoding="utf-8"))

    def test_presets_NAME_prints_its_rules_as_json(self):
        run = policy("presets", "gitlab", "--json")
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.assertEqual(json.loads(run.stdout), {
            "name": "gitlab",
            "summary": "GitLab.com: clone, push and API over HTTPS; strangers can read what is pushed.",
            "rules": [{"host": "gitlab.com", "ports": [443],
                       "why": "clone, fetch, push and API; strangers can read what is pushed here"}]})

    def test_presets_of_an_unknown_name_suggests_the_nearest(self):
        self.assert_refused(policy("presets", "gitub"),
                            "sluice: error: there is no preset 'gitub'\nhint: did you mean 'github'?\n")
        self.assert_refused(policy("presets", "--json", "something-else"),
                            "sluice: error: there is no preset 'something-else'\n"
                            "hint: 'sluice policy presets' lists them\n")
        self.assert_refused(policy("presets", "a\x1b[2J"),
                            "sluice: error: there is no preset 'a\\x1b[2J'\n"
                            "hint: 'sluice policy presets' lists them\n")
        self.assertEqual(policy("presets", "").returncode, 2)

    def test_schema_prints_the_shipped_schema(self):
        self.assert_printed(policy("schema"), read("schema.json"))


if __name__ == "__main__":
    SLUICE = sys.argv.pop(1)
    unittest.main()
