"""What `sluice run --report` and `--allow` change of a policy, and what they never do."""

import os

import world
from agent import Case, curl, decisions

POLICY = """
version: 1
never:
  - host: never.other.test
agents:
  coder-1:
    allow:
      - host: allowed.test
"""


def fetches(*urls):
    """A script that prints each URL's HTTP status and body's first line."""
    line = " ".join(curl("-w", "'%{http_code}\\n'", "-o", "/dev/null"))
    return "; ".join(f"{line} {url} || true" for url in urls)


class ReportAndAllow(Case):
    policy = POLICY

    def audited(self, script, *options, status=0):
        """The run of `script`, and what its audit file says."""
        audit = f"{self.home}/audit-{os.path.basename(self.workspace)}.jsonl"
        run = self.shell(script, options=("--audit", audit, *options), status=status)
        return run, decisions(audit)

    def lines_of(self, audit, host):
        return [
            (line["verdict"], line["reason"], line["would_deny"], line["rule"])
            for line in audit
            if line["host"] == host and line["via"] != "dns"
        ]

    # -- --report ---------------------------------------------------------------------------------

    def test_report_lets_pass_what_is_not_listed_and_says_what_it_would_have_said(self):
        run, audit = self.audited(
            fetches("https://allowed.test/", "https://other.test/"),
            "--report",
        )
        self.assertEqual(run.out.split()[:2], ["200", "200"], run)
        self.assertEqual(
            self.lines_of(audit, "allowed.test")[0][:3], ("allow", "listed", ""), audit
        )
        self.assertEqual(
            self.lines_of(audit, "other.test")[0],
            ("report", "reported", "not_listed", "default"),
            audit,
        )
        self.assertIn("report mode: what the policy would block passes and is logged", run.err)
        self.assertRegex(run.err, r"coder-1: allowed 1, reported \d+ \(not_listed \d+\), blocked")

    def test_report_never_opens_the_floor_or_the_machine(self):
        trap = world.Trap(world.MACHINE4, 8088)
        self.addCleanup(trap.close)
        run, audit = self.audited(
            fetches(
                "https://never.other.test/",
                f"http://{world.MACHINE4}:8088/",
                "http://169.254.169.254/",
                "http://127.0.0.1:1/",
            ),
            "--report",
        )
        self.assertNotIn("200", run.out, run)
        self.assertEqual(trap.visitors(), 0)
        self.assertEqual(self.lines_of(audit, "never.other.test")[0][:2], ("deny", "never"), audit)
        self.assertEqual(self.lines_of(audit, world.MACHINE4)[0][0], "deny", audit)
        self.assertEqual(
            self.lines_of(audit, "169.254.169.254")[0][:2], ("deny", "address_forbidden"), audit
        )
        self.assertEqual([line for line in audit if line["verdict"] == "report"], [])

    def test_report_does_not_pass_what_is_malformed(self):
        head = "CONNECT other.test:99999 HTTP/1.1\r\nHost: x\r\n\r\n"
        jobs = {"bad": {"to": ["127.0.0.1", 3128], "steps": [head]}}
        answers = self.wire(jobs, options=("--report",))
        self.assert_refused_by_http(answers["bad"], 400, "bad_host")

    def test_report_without_an_audit_file_says_that_it_only_counts(self):
        run = self.run_agent("true", options=("--report",))
        self.assertIn("passes and is counted; --audit FILE logs it", run.err)
        run = self.run_agent("true", options=("--report", "--quiet"))
        self.assertEqual(run.err, "", run)

    # -- --allow ----------------------------------------------------------------------------------

    def test_allow_opens_exactly_what_it_names(self):
        run, audit = self.audited(
            fetches(
                "https://other.test/",
                "https://allowed.test/",
                "https://a.wild.test/",
                "https://never.other.test/",
            ),
            "--allow", "a.wild.test:80", "--allow", "other.test", "--allow", "never.other.test",
        )  # fmt: skip
        self.assertEqual(run.out.split()[:2], ["200", "200"], run)
        self.assertEqual(run.out.count("200"), 2, run)
        self.assertEqual(
            self.lines_of(audit, "other.test"), [("allow", "listed", "", "flag:2")], audit
        )
        self.assertEqual(
            self.lines_of(audit, "a.wild.test")[0],
            ("deny", "port_not_allowed", "", "flag:1"),
            audit,
        )
        self.assertEqual(self.lines_of(audit, "never.other.test")[0][:2], ("deny", "never"), audit)
        self.assertIn("--allow does not open never.other.test:443: never by", run.err)

    def test_allow_opens_a_private_address_only_with_its_port(self):
        trap = world.Trap("127.0.0.1")
        self.addCleanup(trap.close)
        script = (
            "unset NO_PROXY no_proxy; "
            f"curl -sS -m 60 --proxytunnel -x $HTTP_PROXY http://127.0.0.1:{trap.port}/ || true"
        )
        self.shell(script)
        self.assertEqual(trap.visitors(), 0)
        options = ("--allow", f"127.0.0.1:{trap.port}")
        process = self.start(self.command(*self.run_line("bash", "-c", script, options=options)))
        came = trap.wait()
        process.terminate()
        run = self.finish(process)
        self.assertEqual((came, trap.visitors()), (True, 1), run)

    def test_allow_works_without_any_policy_and_opens_nothing_else(self):
        script = fetches("https://other.test/", "https://allowed.test/")
        run = self.sluice(
            "run", "--agent", "coder-1", "--allow", "other.test", "--", "bash", "-c", script
        )
        self.assertEqual(run.status, 0, run)
        self.assertEqual(run.out.split()[0], "200", run)
        self.assertEqual(run.out.count("200"), 1, run)
        self.assertIn("no policy: nothing but what --allow names is allowed", run.err)

    def test_allow_and_report_hold_after_sluiced_was_replaced(self):
        read, write = os.pipe()
        self.addCleanup(os.close, write)
        line = " ".join(curl("https://other.test/"))
        process = self.start(
            self.command(
                *self.run_line(
                    "bash", "-c", f"{line}; echo; read line; {line}",
                    options=("--allow", "other.test"),
                )  # fmt: skip
            ),
            read,
        )
        os.close(read)
        self.assertIn(b'"origin": "other.test"', process.stdout.readline())
        for pid, command in world.processes().items():
            if f"{world.BIN}/sluiced --embedded" in command and pid not in self._before:
                self.assertIn("--agent=coder-1 --allow=other.test", command)
                os.kill(pid, 9)
        os.write(write, b"\n")
        run = self.finish(process)
        self.assertIn('"origin": "other.test"', run.out, run)

    # -- refused before anything starts -----------------------------------------------------------

    def test_what_is_no_host_is_125_in_the_words_of_the_policy(self):
        for allow, sentence in (
            ("*.com", "--allow: '*.com' allows a whole top-level domain"),
            ("https://other.test/", "--allow: 'https://other.test/' is a URL, not a host"),
            ("other.test:0", "--allow: port '0' is not a number from 1 to 65535"),
            ("10.0.0.1/8", "--allow: '10.0.0.1/8' has bits set behind its first 8"),
            ('x", ports: [22]}, {any: true', "is not a number from 1 to 65535"),
            ('x"}, {any', "--allow: 'x\"}, {any' is no host: "),
        ):
            with self.subTest(allow=allow):
                mark = f"{self.workspace}/started"
                run = self.run_agent("touch", mark, options=("--allow", allow), status=125)
                self.assertIn(sentence, run.err, run)
                self.assertIn("hint: ", run.err, run)
                self.assertFalse(os.path.exists(mark))

    def test_flags_make_no_entry_in_somebodys_policy(self):
        run = self.sluice(
            "run", "--policy", self.policy_file, "--agent", "stranger", "--report",
            "--allow", "other.test", "--", "true",
        )  # fmt: skip
        self.assertEqual(run.status, 125, run)
        self.assertIn("matches the agent 'stranger'", run.err)

    def test_a_dry_run_tells_what_they_change(self):
        run = self.run_agent("true", options=("--dry-run", "--allow", "other.test", "--report"))
        self.assertIn("policy: allow other.test as well (flag:1)\n", run.out)
        self.assertIn("policy: report instead of blocking\n", run.out)
