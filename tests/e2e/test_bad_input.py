"""Whatever is wrong is said at once, with its place and the next step, before anything starts."""

import os

import world
from agent import Case, is_root

MARK = "started"


class BadInput(Case):
    def assert_refused(self, run, *words):
        """125, nothing started, and a sentence with a hint."""
        self.assertEqual(run.status, 125, run)
        self.assertFalse(os.path.exists(f"{self.workspace}/{MARK}"), run)
        self.assertIn("hint: ", run.err, run)
        for word in words:
            self.assertIn(word, run.err, run)
        self.assert_nothing_left()

    def attempt(self, *options, policy=None, agent="coder-1"):
        """`sluice run` with one more option; CMD leaves a mark if it starts."""
        named = ["--policy", policy or self.policy_file, "--agent", agent]
        return self.sluice("run", *named, *options, "--", "touch", f"{self.workspace}/{MARK}")

    def test_an_unreadable_policy(self):
        self.assert_refused(self.attempt(policy=f"{self.home}/none.yaml"), f"{self.home}/none.yaml")
        self.assert_refused(self.attempt(policy="/dev/null"))
        self.assert_refused(self.attempt(policy="/dev/zero"))
        self.assert_refused(self.attempt(policy=self.workspace))
        fifo = f"{os.path.dirname(self.policy_file)}/fifo.yaml"
        os.mkfifo(fifo)
        self.own(fifo)
        self.assert_refused(self.attempt(policy=fifo))
        if not is_root():
            os.chmod(self.policy_file, 0)
            self.assert_refused(self.attempt(), "Permission denied")

    def test_all_errors_of_a_policy_at_once_each_with_its_place_and_a_hint(self):
        """An unknown key, a host that is no host, port 70000: FILE:LINE:COL, sentence, hint."""
        text = (
            "version: 1\n"
            "agents:\n"
            "  coder-1:\n"
            "    alow: []\n"
            "    allow:\n"
            '      - host: "not a host"\n'
            "      - host: allowed.test\n"
            "        ports: [70000]\n"
            '      - host: "*"\n'
            '      - host: "127.0.0.1"\n'
        )
        self.write(self.policy_file, text)
        run = self.attempt()
        self.assert_refused(run, "alow", "allow", "not a host", "70000")
        for place in ("4:5: error: ", "6:", "8:17: error: ", "9:", "10:"):
            self.assertIn(f"my.yaml:{place}", run.err, run)
        self.assertGreaterEqual(run.err.count("hint: "), 5, run)

    def test_a_broken_yaml_file_a_duplicate_key_and_a_reserved_key(self):
        rule = "{host: a.test, tls: inspect}"
        reserved = f"version: 1\nagents:\n  coder-1:\n    allow:\n      - {rule}\n"
        for text, place in (
            ("version: 1\nagents: [\n", "my.yaml:"),
            ("version: 1\nagents: {coder-1: {allow: [], allow: []}}\n", "my.yaml:2:"),
            (reserved, "my.yaml:5:"),
            ("version: 2\nagents: {coder-1: {allow: []}}\n", "my.yaml:1:"),
            ("", "my.yaml"),
        ):
            with self.subTest(text):
                self.write(self.policy_file, text)
                self.assert_refused(self.attempt(), place)

    def test_an_agent_that_no_entry_matches_or_whose_name_is_no_name(self):
        self.assert_refused(self.attempt(agent="stranger"), "stranger")
        for name in ("", "-x", "a/b", "a" * 64, "a b", "../x"):
            with self.subTest(name):
                self.assert_refused(self.attempt(agent=name))

    def test_options_that_make_no_sense(self):
        for options in (
            ["--tmpfs", "/tmp:lots"],
            ["--tmpfs", "tmp"],
            ["--timeout", "soon"],
            ["--bind", "/does/not/exist"],
            ["--env", "NOVALUE"],
            ["--workspace", "/does/not/exist"],
            ["--polcy", "x"],
            ["--proxy", "/does/not/exist.sock"],
        ):
            with self.subTest(options):
                run = self.attempt(*options)
                self.assertEqual(run.status, 125, run)
                self.assertFalse(os.path.exists(f"{self.workspace}/{MARK}"), run)
                self.assertTrue(run.err.strip(), run)

    def test_a_policy_on_or_below_a_writable_bind(self):
        """The agent would write its own policy; a link below it counts as well."""
        inside = self.write(f"{self.workspace}/policy.yaml", open(self.policy_file).read())
        self.assert_refused(self.attempt(policy=inside), "policy")
        link = f"{self.workspace}/link.yaml"
        os.symlink(self.policy_file, link)
        self.assert_refused(self.attempt(policy=link), "policy")
        folder = os.path.dirname(self.policy_file)
        self.assert_refused(self.attempt("--bind", f"{folder}:{folder}:rw"), "policy")
        self.assert_refused(self.attempt("--bind", f"{self.policy_file}:/opt/p:rw"), "policy")

    def test_an_audit_file_on_or_below_a_writable_bind(self):
        self.assert_refused(self.attempt("--audit", f"{self.workspace}/audit.jsonl"), "audit")

    def test_a_writable_bind_that_holds_the_running_programs(self):
        self.assert_refused(self.attempt("--bind", f"{world.BIN}:{world.BIN}:rw"), world.BIN)
        self.assert_refused(self.attempt("--bind", f"{world.BIN}:/opt:rw"), world.BIN)
        self.assert_refused(self.attempt("--bind", "/home:/home:rw"))

    def test_a_workspace_that_is_the_root_or_the_home_directory(self):
        for folder in ("/", self.home, self.home + "/.", self.home + "/../"):
            with self.subTest(folder):
                self.assert_refused(self.attempt("--workspace", folder))
        link = f"{os.path.dirname(self.policy_file)}/link"
        os.symlink(self.home, link)
        self.assert_refused(self.attempt("--workspace", link))
        self.assert_refused(self.attempt("--bind", f"{link}:/opt:rw"))
        self.assert_refused(self.attempt("--bind", f"{self.home}:/opt:rw"))
        self.assert_refused(self.attempt("--bind", "/:/opt:rw"))

    def test_a_workspace_or_bind_that_belongs_to_the_system(self):
        """/etc, /usr, /var, the host's /proc: also where a default workspace would be one of them."""
        for options in (
            ("--workspace", "/etc"),
            ("--workspace", "/usr/lib"),
            ("--workspace", "/var"),
            ("--bind", "/etc:/etc:rw"),
            ("--bind", "/proc:/opt"),
            ("--bind", "/sys/fs:/opt"),
        ):
            with self.subTest(options=options):
                run = self.run_agent("true", options=options, status=125)
                self.assertIn("hint: ", run.err)

    def test_a_mask_that_would_hide_nothing(self):
        """An agent may have moved it away in an earlier run."""
        run = self.run_agent("true", options=("--mask", f"{self.workspace}/gone"), status=125)
        self.assertIn("there is nothing to hide at", run.err)

    def test_a_sluice_yaml_in_the_workspace_that_nobody_has_trusted(self):
        """It is named and not obeyed."""
        text = "version: 1\nagents: {'*': {allow: [{any: true}]}}\n"
        self.write(f"{self.workspace}/.sluice.yaml", text)
        run = self.sluice("run", "--agent", "coder-1", "--", "touch", f"{self.workspace}/{MARK}")
        self.assert_refused(run, ".sluice.yaml")

    def test_a_run_without_a_command(self):
        run = self.sluice("run", "--policy", self.policy_file, "--agent", "coder-1")
        self.assertEqual(run.status, 125, run)
        self.assertTrue(run.err.strip(), run)

    def test_a_dry_run_prints_the_steps_and_starts_nothing(self):
        run = self.attempt("--dry-run")
        self.assertEqual(run.status, 0, run)
        self.assertFalse(os.path.exists(f"{self.workspace}/{MARK}"))
        self.assertIn(self.workspace, run.out)
