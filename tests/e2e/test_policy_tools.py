"""What `sluice policy check`, `explain` and `test` tell an operator."""

import json
import os
import subprocess
import tempfile
import textwrap
import unittest

import world

POLICY = """\
version: 1
never:
  - host: "*.corp.test"
groups:
  build:
    - host: artifacts.test
agents:
  "coder-*":
    use: [group:build]
    allow:
      - host: api.test
        why: the model answers here
      - host: ".example.com"
        ports: [443, 8443]
      - host: db.test
        ports: [5432]
        tls: "off"
      - cidr: 10.0.0.0/8
        ports: [5432]
    deny:
      - host: gist.example.com
        why: strangers read it
  careful:
    mode: report
    allow: []
"""

CASES = """\
cases:
  - agent: coder-1
    allow: [api.test, "http://artifacts.test/a/b", "https://x.example.com:8443"]
    deny:
      - gist.example.com
      - api.test:22
      - wiki.corp.test
  - agent: careful
    report: [new.test]
  - agent: coder-1
    target: db.test:5432
    address: 10.0.0.1
    verdict: allow
    reason: listed
    rule: policy.yaml:15
  - agent: coder-1
    target: db.test:5432
    address: 192.168.0.1
    verdict: deny
    reason: address_private
"""


class Tools(unittest.TestCase):
    maxDiff = 8000

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.policy = self.write("policy.yaml", POLICY)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(textwrap.dedent(text))
        return path

    def sluice(self, *arguments, status=0, stdin=None):
        """Stdout and stderr of `sluice policy` in the policy's folder."""
        run = subprocess.run(
            [f"{world.BIN}/sluice", "policy", *arguments],
            cwd=self.folder,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stdout, run.stderr

    def explain(self, agent, target, *options, status=0):
        return self.sluice("explain", "policy.yaml", agent, target, *options, status=status)[0]


class Explain(Tools):
    def test_an_allowed_name_is_explained_by_its_rule_its_tls_and_what_the_guard_will_ask(self):
        self.assertEqual(
            self.explain("coder-1", "api.test"),
            "policy.yaml:11: coder-1 may reach api.test:443 (listed)\n"
            "  why: the model answers here\n"
            "  entry: 'coder-*' (policy.yaml:8), mode enforce\n"
            "  tls: require: the bytes must be TLS and name 'api.test' (SNI)\n"
            "  address: whatever the name resolves to is judged when it is dialled: metadata and "
            "link-local addresses are refused, private ones need a cidr rule\n",
        )
        self.assertIn(
            "  address rule: policy.yaml:18 allow 10.0.0.0/8 ports 5432\n",
            self.explain("coder-1", "db.test:5432"),
        )

    def test_a_denial_names_the_runners_up_and_the_line_to_add(self):
        self.assertEqual(
            self.explain("coder-1", "gist.example.com", status=1),
            "policy.yaml:21: coder-1 may not reach gist.example.com:443 (denied)\n"
            "  why: strangers read it\n"
            "  entry: 'coder-*' (policy.yaml:8), mode enforce\n"
            "  also speaks of it: policy.yaml:13 allow .example.com ports 443, 8443 "
            "(less specific)\n"
            "  to open it: remove the deny rule at policy.yaml:21\n",
        )
        self.assertEqual(
            self.explain("coder-1", "api.test:22", status=1),
            "policy.yaml:11: coder-1 may not reach api.test:22 (port_not_allowed)\n"
            "  why: the model answers here\n"
            "  entry: 'coder-*' (policy.yaml:8), mode enforce\n"
            "  to open it: add to 'allow' of 'coder-*' (policy.yaml:8): "
            "- {host: api.test, ports: [22]}\n",
        )
        self.assertEqual(
            self.explain("stranger", "api.test", status=1),
            "default: stranger may not reach api.test:443 (unknown_agent)\n"
            "  entry: none is for 'stranger'\n"
            "  to open it: add under 'agents': stranger: "
            "{allow: [{host: api.test, ports: [443]}]}\n",
        )

    def test_report_mode_says_what_enforcing_would_do(self):
        text = self.explain("careful", "new.test")
        self.assertTrue(
            text.startswith("default: careful may reach new.test:443 (reported)\n"), text
        )
        self.assertIn("  enforce: would deny it (not_listed)\n", text)
        self.assertIn("  to open it: add to 'allow' of 'careful' (policy.yaml:23): - {host", text)

    def test_json_has_the_keys_that_scripts_hold_on_to(self):
        out = self.explain("coder-1", "https://gist.example.com/a?b", "--json", status=1)
        self.assertEqual(
            list(json.loads(out).items()),
            [
                ("verdict", "deny"),
                ("reason", "denied"),
                ("rule", "policy.yaml:21"),
                ("agent", "coder-1"),
                ("host", "gist.example.com"),
                ("port", 443),
                ("method", ""),
                ("path", "/a?b"),
                ("would_deny", ""),
                (
                    "runner_up",
                    [
                        {
                            "rule": "policy.yaml:13",
                            "effect": "allow",
                            "subject": ".example.com",
                            "ports": [443, 8443],
                            "why": "",
                            "match": True,
                        }
                    ],
                ),
            ],
        )

    def test_a_policy_from_standard_input_is_called_stdin(self):
        out, _ = self.sluice("explain", "-", "coder-1", "api.test", stdin=POLICY)
        self.assertTrue(out.startswith("stdin:11: coder-1 may reach api.test:443 (listed)"), out)

    def test_what_cannot_be_asked_is_refused_with_status_2(self):
        for arguments in (
            ("policy.yaml", "coder-*", "api.test"),
            ("policy.yaml", "coder-1", "0x7f.1"),
            ("none.yaml", "coder-1", "api.test"),
            ("policy.yaml", "coder-1"),
        ):
            out, err = self.sluice("explain", *arguments, status=2)
            self.assertEqual(out, "")
            self.assertNotEqual(err, "")

    def test_what_is_shown_to_a_person_moves_no_cursor(self):
        self.write("odd.yaml", 'version: 1\nagents: {a: {allow: [{any: true, why: "x\\e[2J"}]}}\n')
        out, _ = self.sluice("explain", "odd.yaml", "a", "api.test")
        self.assertIn(r"why: x\x1B[2J".lower(), out.lower())
        self.assertNotIn("\x1b", out)


class Check(Tools):
    def test_warnings_are_told_with_their_place_and_change_no_exit_status(self):
        self.write(
            "warn.yaml",
            """\
            version: 1
            agents:
              coder-1:
                allow:
                  - host: api.test
                  - host: api.test
                  - host: gist.github.com
            """,
        )
        out, err = self.sluice("check", "warn.yaml")
        self.assertEqual(out, "")
        self.assertEqual(
            err,
            "warn.yaml:6: warning: this rule changes nothing: warn.yaml:5 says the same of "
            "'api.test'\nhint: remove it\n"
            "warn.yaml:7: warning: strangers can read what is uploaded to 'gist.github.com' "
            "(code snippets)\nhint: keep it only if what the agent can read may be published "
            "there\n",
        )
        out, err = self.sluice("check", "--json", "warn.yaml")
        self.assertEqual(err, "")
        self.assertEqual(
            json.loads(out)[0],
            {
                "severity": "warning",
                "file": "warn.yaml",
                "line": 6,
                "column": 0,
                "message": "this rule changes nothing: warn.yaml:5 says the same of 'api.test'",
                "hint": "remove it",
            },
        )

    def test_errors_of_all_files_are_told_at_once_with_status_1(self):
        self.write("bad.yaml", "version: 1\nagents: {a: {alow: []}}\n")
        self.write("worse.yaml", "version: 2\n")
        _, err = self.sluice("check", "bad.yaml", "policy.yaml", "worse.yaml", status=1)
        self.assertIn("bad.yaml:2:14: error: unknown key 'alow'\nhint: did you mean 'allow'?", err)
        self.assertIn("worse.yaml:1:1: error: ", err)
        out, err = self.sluice("check", "--json", "bad.yaml", "none.yaml", status=1)
        found = json.loads(out)
        self.assertEqual([one["severity"] for one in found], ["error", "error"])
        self.assertEqual((found[0]["line"], found[0]["column"]), (2, 14))
        self.assertEqual((found[1]["file"], found[1]["line"]), ("none.yaml", 0))
        self.assertEqual(err, "")

    def test_a_file_is_named_as_the_person_named_it(self):
        for folder in ("one", "two"):
            os.mkdir(os.path.join(self.folder, folder))
            self.write(f"{folder}/policy.yaml", "version: 2\n")
        _, err = self.sluice("check", "one/policy.yaml", "two", status=1)
        self.assertEqual(
            [line.split(": ")[0] for line in err.splitlines() if "error" in line],
            ["one/policy.yaml:1:1", "two/policy.yaml:1:1"],
        )
        out, _ = self.sluice("check", "--json", "two", status=1)
        self.assertEqual(json.loads(out)[0]["file"], "two/policy.yaml")

    def test_standard_input_is_read_once(self):
        for command in (
            ("check", "-", "-"),
            ("check", "--audit", "-", "-"),
            ("test", "-", "-"),
            ("diff", "-", "-"),
            ("replay", "-", "-"),
        ):
            out, err = self.sluice(*command, status=2)
            self.assertEqual(
                (out, err),
                (
                    "",
                    "sluice: error: standard input is named twice and can be read once\n"
                    "hint: name a file for all but one\n",
                ),
                command,
            )

    def test_rules_that_an_audit_log_does_not_name_are_told(self):
        line = (
            '{"ts":"2026-01-02T03:04:05.678Z","agent":"coder-1","session":"s","via":"connect",'
            '"host":"api.test","port":443,"verdict":"allow","reason":"listed","would_deny":"",'
            '"rule":"policy.yaml:11","bytes_up":1,"bytes_down":1,"ms":1,"error":""}\n'
        )
        self.write("audit.jsonl", line)
        _, err = self.sluice("check", "--audit", "audit.jsonl", "policy.yaml")
        unused = [text.split(":")[1] for text in err.splitlines() if "no decision" in text]
        self.assertEqual(unused, ["6", "13", "15"], err)
        self.sluice("check", "--audit", "none.jsonl", "policy.yaml", status=2)


class Test(Tools):
    def test_a_policy_that_does_what_is_expected_ends_with_status_0(self):
        self.write("cases.yaml", CASES)
        self.assertEqual(
            self.sluice("test", "policy.yaml", "cases.yaml"),
            ("9 cases, 9 as expected, 0 not\n", ""),
        )
        out, _ = self.sluice("test", "-", "cases.yaml", status=1, stdin=POLICY)
        self.assertIn("expected allow listed by policy.yaml:15, got allow listed by stdin:15", out)

    def test_each_difference_is_a_line_with_its_place(self):
        self.write(
            "cases.yaml",
            """\
            cases:
              - agent: coder-1
                allow: [api.test, gist.example.com]
              - agent: careful
                deny: [new.test]
            """,
        )
        out, _ = self.sluice("test", "policy.yaml", "cases.yaml", status=1)
        self.assertEqual(
            out,
            "cases.yaml:3: coder-1 gist.example.com:443: expected allow, "
            "got deny denied by policy.yaml:21\n"
            "cases.yaml:5: careful new.test:443: expected deny, got report reported by default\n"
            "3 cases, 1 as expected, 2 not\n",
        )
        out, _ = self.sluice("test", "policy.yaml", "cases.yaml", "--json", status=1)
        told = json.loads(out)
        self.assertEqual(told["cases"], 3)
        self.assertEqual(
            told["differences"][0],
            {
                "file": "cases.yaml",
                "line": 3,
                "column": 23,
                "agent": "coder-1",
                "host": "gist.example.com",
                "port": 443,
                "address": "",
                "expected": {"verdict": "allow"},
                "got": {"verdict": "deny", "reason": "denied", "rule": "policy.yaml:21"},
            },
        )

    def test_what_cannot_be_read_ends_with_status_2(self):
        self.write("cases.yaml", "cases:\n  - agnt: coder-1\n    allow: [0x7f.1]\n")
        out, err = self.sluice("test", "policy.yaml", "cases.yaml", status=2)
        self.assertEqual(out, "")
        self.assertIn("cases.yaml:2:5: error: unknown key 'agnt'\nhint: did you mean 'agent'?", err)
        self.assertIn("cases.yaml:3:13: error: '0x7f.1'", err)
        self.sluice("test", "policy.yaml", "none.yaml", status=2)
        self.sluice("test", "-", "-", status=2)
        self.sluice("test", "policy.yaml", status=2)


if __name__ == "__main__":
    unittest.main()
