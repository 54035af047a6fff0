"""`sluice policy diff`: what a change of policy opens and closes, and its exit status."""

from agent import Case

OLD = """\
version: 1
agents:
  coder-1:
    allow:
      - host: a.example.com
      - host: "*.example.org"
"""
CLOSES = OLD.replace('      - host: "*.example.org"\n', "")
OPENS = OLD.replace("a.example.com", "b.example.com")


class PolicyDiff(Case):
    def diff(self, new, *options, old=OLD):
        before = self.write(f"{self.workspace}/old.yaml", old)
        after = self.write(f"{self.workspace}/new.yaml", new)
        return self.sluice("policy", "diff", before, after, *options)

    def test_nothing_changes_is_said_and_is_status_0(self):
        run = self.diff(OLD)
        self.assertEqual((run.status, run.out, run.err), (0, "nothing changes\n", ""), run)
        run = self.diff(OLD, "--json")
        self.assertEqual((run.status, run.json()), (0, []), run)

    def test_what_only_closes_is_status_0(self):
        run = self.diff(CLOSES)
        self.assertEqual(run.status, 0, run)
        self.assertEqual(
            run.out, "agent coder-1\n  - *.example.org ports 80, 443, was (old.yaml:6)\n", run
        )

    def test_what_opens_is_status_1(self):
        run = self.diff(OPENS)
        self.assertEqual(run.status, 1, run)
        self.assertEqual(
            run.out,
            "agent coder-1\n"
            "  + b.example.com ports 80, 443 (new.yaml:5)\n"
            "  - a.example.com ports 80, 443, was (old.yaml:5)\n",
            run,
        )
        told = self.diff(OPENS, "--json").json()
        self.assertEqual([entry["change"] for entry in told], ["opens", "closes"])
        self.assertEqual(
            told[0],
            {
                "agent": "coder-1",
                "old_entry": "coder-1",
                "new_entry": "coder-1",
                "example": "coder-1",
                "change": "opens",
                "kind": "host",
                "subject": "b.example.com",
                "ports": ["80", "443"],
                "old": {"verdict": "deny", "reason": "not_listed", "rule": "default"},
                "new": {"verdict": "allow", "reason": "listed", "rule": "new.yaml:5"},
            },
        )

    def test_a_larger_budget_and_a_mask_that_is_gone_open(self):
        settings = """\
    limits: {upload: 100MiB/day}
    sandbox: {memory: 2GiB, mask: [~/notes]}
"""
        looser = settings.replace("100MiB", "1GiB").replace("[~/notes]", "[]")
        run = self.diff(OLD + looser, old=OLD + settings)
        self.assertEqual(run.status, 1, run)
        self.assertEqual(
            run.out,
            "agent coder-1\n"
            "  + limits.upload: 1GiB/day, was 100MiB/day\n"
            "  + sandbox.mask ~/notes: not set, was hidden\n",
            run,
        )
        tighter = self.diff(OLD + settings, "--json", old=OLD + looser)
        self.assertEqual(tighter.status, 0, tighter)
        self.assertEqual(
            tighter.json()[0],
            {
                "agent": "coder-1",
                "old_entry": "coder-1",
                "new_entry": "coder-1",
                "example": "coder-1",
                "change": "closes",
                "kind": "setting",
                "setting": "limits.upload",
                "old": "1GiB/day",
                "new": "100MiB/day",
            },
        )

    def test_one_agent_alone(self):
        run = self.diff(OPENS, "--agent", "coder-2")
        self.assertEqual((run.status, run.out), (0, "nothing changes\n"), run)
        self.assertEqual(self.diff(OPENS, "--agent", "coder-1").status, 1)

    def test_errors_and_bad_usage_are_status_2(self):
        run = self.diff("version: 1\nagents: {coder-1: {alow: []}}\n")
        self.assertEqual((run.status, run.out), (2, ""), run)
        self.assertIn("new.yaml:2:", run.err)
        self.assertIn("hint: ", run.err)
        for line in (
            [],
            ["/does/not/exist.yaml"],
            ["/does/not/exist.yaml", self.policy_file],
            [self.policy_file, self.policy_file, "--agent", "a/b"],
            [self.policy_file, self.policy_file, "--agent", ""],
        ):
            with self.subTest(line):
                run = self.sluice("policy", "diff", *line)
                self.assertEqual((run.status, run.out), (2, ""), run)
                self.assertTrue(run.err.strip(), run)
