"""`sluice policy suggest` and `replay` on what sluiced wrote of a real run."""

import os
import subprocess
import unittest

from agent import Case, curl

EMPTY = "version: 1\nagents: {coder-1: {allow: []}}\n"


class PolicyAudit(Case):
    def setUp(self):
        super().setUp()
        self.audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"

    def go_out(self):
        """An agent that reaches one host, and is refused others in several ways."""
        fetch = " ".join(curl("-o", "/dev/null"))
        self.shell(
            f"{fetch} https://allowed.test/; "
            f"{fetch} http://allowed.test/; "
            f"{fetch} https://other.test/; "
            f"{fetch} --noproxy '*' https://asked.test/; "
            f"{fetch} http://25.10.0.11:8080/; "
            f"{fetch} --noproxy '' http://127.0.0.1:9/; "
            f"{fetch} --request-target http://127.1/ http://other.test/; true",
            options=("--audit", self.audit),
        )

    def policy_tool(self, *arguments, status=0, stdin=None):
        process = self.start(
            self.command("policy", *arguments),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        )
        run = self.finish(process, stdin=stdin)
        self.assertEqual(run.status, status, run)
        return run

    def test_a_suggested_policy_loads_and_changes_nothing_that_was_allowed(self):
        self.go_out()
        suggested = self.policy_tool("suggest", self.audit)
        self.assertEqual(suggested.err, "")
        self.assertRegex(suggested.out, r"\n      - host: allowed.test  # 2 requests, \d")
        self.assertIn(
            "- host: other.test  # 1 request, all refused\n        ports: [443]\n", suggested.out
        )
        self.assertRegex(
            suggested.out, r"- host: asked.test  # asked for in DNS only \(\d questions?\)"
        )
        self.assertIn('- cidr: "25.10.0.11/32"', suggested.out)
        self.assertIn(
            "# coder-1: address_private: 127.0.0.1:9 (1 time); if it is meant:", suggested.out
        )
        self.assertIn("# coder-1: bad_host: 127.1 (1 time)", suggested.out)

        path = self.write(f"{os.path.dirname(self.policy_file)}/suggested.yaml", suggested.out)
        self.policy_tool("check", path)
        replayed = self.policy_tool("replay", path, self.audit, "--json", status=1).json()
        self.assertEqual(replayed["newly_blocked"], [])
        opened = {row["host"] for row in replayed["newly_allowed"]}
        self.assertEqual(opened, {"other.test", "asked.test", "25.10.0.11"})
        self.assertEqual(replayed["unchanged"], {"allowed": 2, "denied": 1})
        self.assertEqual(replayed["not_judged"], {"bad_host": 1})

    def test_the_policy_of_a_run_decides_its_audit_log_as_it_did(self):
        self.go_out()
        run = self.policy_tool("replay", self.policy_file, self.audit)
        self.assertTrue(run.out.startswith("newly blocked: 0 targets, 0 decisions\n"), run)

    def test_replay_tells_what_a_narrower_policy_would_block(self):
        self.go_out()
        path = self.write(f"{os.path.dirname(self.policy_file)}/empty.yaml", EMPTY)
        run = self.policy_tool("replay", path, self.audit, status=1)
        self.assertIn("newly blocked: 2 targets, 2 decisions\n", run.out)
        self.assertIn(
            "       1  coder-1  allowed.test:443: was listed by my.yaml:6, "
            "now not_listed by default\n",
            run.out,
        )

    def test_logs_come_from_files_and_standard_input_and_for_one_agent(self):
        line = (
            '{"agent":"%s","via":"http","host":"%s.test","port":80,"verdict":"deny",'
            '"reason":"not_listed"}\n'
        )
        first = self.write(f"{self.home}/first.jsonl", line % ("coder-1", "a"))
        log = (line % ("coder-2", "b") + "{cut off").encode()
        run = self.policy_tool("suggest", first, "-", stdin=log)
        self.assertIn("host: a.test", run.out)
        self.assertIn("host: b.test", run.out)
        self.assertEqual(run.err, "sluice: 1 line was not understood, at stdin:2\n")
        run = self.policy_tool("suggest", first, "-", "--agent", "coder-2", "--json", stdin=log)
        self.assertEqual([agent["pattern"] for agent in run.json()["agents"]], ["coder-2"])

    def test_what_cannot_be_read_is_exit_status_2(self):
        binary = self.write(f"{self.home}/binary.jsonl", "\x00\x01\n" * 10)
        for arguments in (
            ("suggest", "nowhere.jsonl"),
            ("suggest", self.home),
            ("suggest", binary),
            ("suggest",),
            ("replay", self.policy_file),
            ("replay", self.policy_file, binary),
            ("replay", "nowhere.yaml", binary),
        ):
            run = self.policy_tool(*arguments, status=2)
            self.assertEqual(run.out, "", run)
            self.assertNotEqual(run.err, "", run)


if __name__ == "__main__":
    unittest.main()
