"""What `sandbox:` of a policy makes of a run, and that options may tighten it and never loosen it."""

import os

from agent import Case
from shared import SharedCase

POLICY = """
version: 1
agents:
  coder-1:
    allow:
      - host: allowed.test
    sandbox:
      timeout: 1h
      tmpfs: {/tmp: 1MiB, "~/cache": 64KiB}
      mask: [~/secret-notes, /usr/share/common-licenses]
"""

CAP_OF = "df --output=size -B1 %s | tail -1 | tr -d ' '"


class PolicySandbox(Case):
    policy = POLICY

    def refused(self, *options):
        run = self.shell("true", options=options, status=125)
        self.assertEqual(run.out, "")
        return run.err

    def test_gives_every_run_its_caps_and_masks(self):
        self.write(f"{self.home}/secret-notes", "told to nobody")
        run = self.shell(
            f"{CAP_OF % '/tmp'}; {CAP_OF % '~/cache'}; echo x > ~/cache/x && cat ~/cache/x; "
            "ls /usr/share/common-licenses; cat ~/secret-notes 2>&1; true"
        )
        self.assertEqual(run.out.split("\n")[:3], [str(1 << 20), str(1 << 16), "x"], run)
        self.assertNotIn("GPL", run.out)
        self.assertNotIn("told to nobody", run.out)

    def test_may_be_tightened(self):
        run = self.shell(CAP_OF % "/tmp", options=("--tmpfs", "/tmp:64KiB", "--timeout", "59m"))
        self.assertEqual(run.out.strip(), str(1 << 16))

    def test_is_never_loosened(self):
        self.assertIn(
            "--tmpfs /tmp is more than the policy gives the agent: 1048576 bytes",
            self.refused("--tmpfs", "/tmp:2MiB"),
        )
        self.assertIn("--timeout is more than the policy gives", self.refused("--timeout", "2h"))
        os.makedirs(f"{self.home}/wide", exist_ok=True)
        self.own(f"{self.home}/wide")
        self.assertIn(
            "--bind on '/tmp' is more than the policy gives",
            self.refused("--bind", f"{self.home}/wide:/tmp:rw"),
        )

    def test_hides_also_what_a_bind_would_show(self):
        self.write(f"{self.home}/secret-notes", "told to nobody")
        self.assertIn(
            "shows what the policy hides", self.refused("--bind", f"{self.home}/secret-notes:/tmp/x")
        )
        self.assertIn(
            "shows what the policy hides",
            self.refused("--bind", "/usr/share/common-licenses/GPL-2:/tmp/x"),
        )

    def test_stops_a_run_that_lasts_too_long(self):
        self.write(self.policy_file, POLICY.replace("1h", "1s"))
        run = self.shell("sleep 300", status=124)
        self.assertIn("ended by its --timeout", run.err)

    def test_shows_in_a_dry_run(self):
        run = self.shell("true", options=("--dry-run",))
        self.assertIn("tmpfs of at most 1048576 bytes on /tmp\n", run.out)
        self.assertIn("hide /usr/share/common-licenses where it exists\n", run.out)


class Shares(Case):
    policy = POLICY.replace("timeout: 1h", "memory: 64MiB\n      swap: 1MiB\n      io_weight: 50")

    def test_of_swap_and_of_the_disk_are_made_or_said_not_to_be_and_never_loosened(self):
        run = self.shell("true", options=("--dry-run",))
        self.assertRegex(run.out + run.err, "1 MiB of swap|--swap 1 MiB is not kept")
        self.assertRegex(run.out + run.err, "an I/O weight of 50|--io-weight 50 is not kept")
        for options, most in ((("--swap", "2MiB"), "1 MiB"), (("--io-weight", "51"), "50")):
            run = self.shell("true", options=options, status=125)
            self.assertIn(f"{options[0]} is more than the policy gives the agent: {most}", run.err)
        run = self.shell("true", options=("--swap", "0", "--io-weight", "1", "--dry-run"))
        self.assertRegex(run.out + run.err, "an I/O weight of 1|--io-weight 1 is not kept")


class SharedPolicySandbox(SharedCase):
    policy = POLICY

    def test_is_that_of_the_shared_sluiced(self):
        self.start_sluiced()
        line = ("run", "--agent", "coder-1", "--workspace", self.workspace)
        run = self.sluice(*line, "--", "sh", "-c", CAP_OF % "/tmp")
        self.assertEqual(run.out.strip(), str(1 << 20), run)
        run = self.sluice(*line, "--tmpfs", "/tmp:2MiB", "--", "true")
        self.assertEqual(run.status, 125, run)
        self.assertIn("--tmpfs /tmp is more than the policy gives the agent", run.err)
