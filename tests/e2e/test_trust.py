"""A policy that a workspace brings along is obeyed only as a person has reviewed it."""

import json
import os
import socket
import unittest

import test_shared
from agent import Case, curl, is_root

POLICY = "version: 1\nagents:\n  coder-1:\n    allow:\n      - host: other.test\n"
WIDER = POLICY + "      - any: true\n"


class Trust(Case):
    def setUp(self):
        super().setUp()
        self.brought = f"{self.workspace}/.sluice.yaml"
        self.environment["XDG_STATE_HOME"] = f"{self.home}/state-{os.path.basename(self.workspace)}"
        self.store = f"{self.environment['XDG_STATE_HOME']}/sluice/trust"

    def trust(self, *arguments, status=0):
        run = self.sluice("policy", "trust", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def run_with_it(self, *command, options=(), status=0):
        """`sluice run` without --policy."""
        run = self.sluice("run", *options, "--", *(command or ("true",)))
        self.assertEqual(run.status, status, run)
        return run

    def test_a_reviewed_policy_is_the_policy_of_the_run(self):
        self.write(self.brought, POLICY)
        run = self.run_with_it("touch", "started", status=125)
        self.assertIn("is not trusted: an agent could have written it", run.err)
        self.assertIn(f"sluice policy trust {self.brought}", run.err)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"))
        run = self.trust(self.brought)
        self.assertIn("    5        - host: other.test\n", run.out)
        self.assertIn(f"trusted '{self.brought}' (sha256 ", run.out)
        script = " ".join(curl("https://other.test/")) + "; curl -sS http://allowed.test/"
        run = self.run_with_it("bash", "-c", script)
        self.assertIn(f"the policy is '{self.brought}', as you trusted it", run.err)
        self.assertIn('"origin": "other.test"', run.out, run)
        self.assertIn("not_listed", run.out, run)
        self.assertRegex(run.err, "coder-1: allowed 1, blocked 1 ")

    def test_a_change_ends_the_trust_and_is_shown(self):
        self.write(self.brought, POLICY)
        self.trust(self.brought)
        # What it would write while it runs is not read either: the policy was read before.
        script = "echo '      - any: true' >> .sluice.yaml; curl -sS http://allowed.test/"
        run = self.run_with_it("bash", "-c", script)
        self.assertIn(".sluice.yaml: Read-only file system", run.err, run)
        self.assertIn("not_listed", run.out, run)
        with open(self.brought, "a") as file:
            file.write("      - any: true\n")
        run = self.run_with_it("touch", "started", status=125)
        self.assertIn("changed since it was trusted, and is not obeyed:\n", run.err)
        self.assertIn("\n+      - any: true\nhint: review it, then: sluice policy trust", run.err)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"))
        run = self.trust(self.brought)
        self.assertIn("+      - any: true\n", run.out)
        run = self.run_with_it(*curl("https://allowed.test/"))
        self.assertIn('"origin": "allowed.test"', run.out, run)

    def test_a_difference_cannot_steer_a_terminal(self):
        self.write(self.brought, POLICY)
        self.trust(self.brought)
        self.write(self.brought, POLICY + "# \x1b[2J\x1b[H\u202e trusted\n")
        run = self.run_with_it(status=125)
        self.assertIn("+# \\x1b[2J\\x1b[H\\u{202e} trusted\n", run.err)
        self.assertNotIn("\x1b", run.err)

    def test_what_is_no_plain_file_is_125_at_once(self):
        def link():
            os.symlink(self.write(f"{self.workspace}/real.yaml", POLICY), self.brought)

        def large():
            with open(self.brought, "w") as file:
                file.truncate(60_000_000)

        def bound():
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(self.brought)

        for make, what in (
            (link, "is a symbolic link"),
            (lambda: os.mkfifo(self.brought), "is no regular file"),
            (lambda: os.mkdir(self.brought), "is no regular file"),
            (bound, "is no regular file"),
            (large, "is larger than 1 MiB"),
        ):
            with self.subTest(what=what):
                make()
                run = self.run_with_it("touch", "started", status=125)
                self.assertIn(what, run.err, run)
                self.assertLess(run.seconds, 60)
                self.assertIn(what, self.trust(self.brought, status=2).err)
                self.assertFalse(os.path.exists(f"{self.workspace}/started"))
                (os.rmdir if os.path.isdir(self.brought) else os.unlink)(self.brought)

    def test_a_policy_that_does_not_load_is_not_trusted(self):
        self.write(self.brought, "version: 1\nagents:\n  coder-1: {alow: []}\n")
        run = self.trust(self.brought, status=2)
        self.assertIn(".sluice.yaml:3:13: error: ", run.err)
        self.assertIn("is not trusted", self.run_with_it(status=125).err)
        self.assertFalse(os.path.exists(self.store))

    def test_another_policy_is_obeyed_when_it_is_named(self):
        self.write(self.brought, WIDER)
        run = self.run_agent("bash", "-c", "curl -sS http://other.test/")
        self.assertIn("not_listed", run.out, run)
        self.assertIn(f"'{self.brought}' is not obeyed: --policy names another", run.err)

    def test_a_shared_sluiced_decides_by_its_own_policy(self):
        shared = test_shared.SharedProxy()
        shared.setUp()
        self.addCleanup(shared.doCleanups)
        shared.start_sluiced()
        self.write(self.brought, WIDER)
        options = ("--agent", "coder-1")
        run = self.run_with_it("bash", "-c", "curl -sS http://other.test/", options=options)
        self.assertIn("not_listed", run.out, run)
        self.assertIn(f"'{self.brought}' is not obeyed: the sluiced at '", run.err)
        for flag in (["--allow", "other.test"], ["--report"]):
            run = self.run_with_it(options=(*options, *flag), status=125)
            self.assertIn(f"{flag[0]} would mean nothing\nhint: add --proxy embedded", run.err)

    def test_nor_can_a_path_in_json(self):
        folder = f"{self.workspace}/\u202ea"
        os.mkdir(folder)
        self.own(folder)
        brought = f"{folder}/.sluice.yaml"
        self.write(brought, POLICY)
        self.trust(brought)
        listed = self.trust("--list", "--json").out
        self.assertTrue(listed.isascii(), listed)
        self.assertEqual([one["path"] for one in json.loads(listed)], [brought])

    def test_only_a_workspaces_policy_can_be_trusted(self):
        run = self.trust(self.policy_file, status=2)
        self.assertIn("is not a workspace's .sluice.yaml", run.err)
        self.assertIn("there is no", self.trust(self.brought, status=2).err)
        self.assertIn("no file is named", self.trust(status=2).err)

    def test_a_workspace_is_known_by_its_real_path(self):
        self.write(self.brought, POLICY)
        link = f"{self.home}/link-{os.path.basename(self.workspace)}"
        os.symlink(self.workspace, link)
        self.assertIn(f"trusted '{self.brought}'", self.trust(f"{link}/.sluice.yaml").out)
        run = self.run_with_it(options=("--workspace", link))
        self.assertIn(f"the policy is '{self.brought}'", run.err)

    # -- the store --------------------------------------------------------------------------------

    def test_the_agent_cannot_reach_the_store(self):
        self.write(self.brought, POLICY)
        self.trust(self.brought)
        run = self.run_with_it("bash", "-c", f"ls -A {self.store} {self.home}; mkdir -p {self.store}")
        self.assertNotIn("state-", run.out, run)
        state = self.environment["XDG_STATE_HOME"]
        for source in (state, f"{state}/sluice", self.store):
            with self.subTest(source=source):
                run = self.run_agent("true", options=("--bind", f"{source}:/mnt/x:rw"), status=125)
                self.assertIn("the store of trust", run.err)
                self.assertIn("lies where the agent can write", run.err)
        self.environment["XDG_STATE_HOME"] = f"{self.workspace}/state"
        self.assertIn("the store of trust", self.run_agent("true", status=125).err)

    def test_the_place_of_the_next_runs_policy_cannot_be_written(self):
        config = f"{self.home}/.config"
        os.makedirs(f"{config}/sluice", exist_ok=True)
        self.own(config)
        run = self.run_agent("true", options=("--bind", f"{config}:/mnt/c:rw"), status=125)
        self.assertIn("the place of the policy", run.err)

    def test_a_store_that_others_can_write_is_refused(self):
        self.write(self.brought, POLICY)
        self.trust(self.brought)
        self.assertEqual(os.stat(self.store).st_mode & 0o777, 0o700)
        os.chmod(self.store, 0o777)
        self.assertIn("can be written by others", self.run_with_it(status=125).err)
        self.assertIn("can be written by others", self.trust(self.brought, status=2).err)

    @unittest.skipUnless(
        os.environ["SLUICE_E2E_WORLD"] == "root", "only root can give files to somebody else"
    )
    def test_a_store_of_somebody_else_is_refused(self):
        self.write(self.brought, POLICY)
        self.trust(self.brought)
        os.chown(self.store, 12345, 12345)
        if not is_root():
            os.chmod(self.store, 0o755)
        self.assertIn("belongs to another user", self.run_with_it(status=125).err)

    def test_trust_can_be_listed_and_taken_back(self):
        self.write(self.brought, POLICY)
        self.assertEqual(self.trust("--list").out, "")
        self.trust(self.brought)
        self.assertEqual(self.trust("--list").out, f"unchanged   {self.brought}\n")
        self.write(self.brought, WIDER)
        listed = json.loads(self.trust("--list", "--json").out)
        self.assertEqual(
            [(one["path"], one["state"]) for one in listed], [(self.brought, "changed")]
        )
        self.assertIn("forgotten", self.trust("--forget", self.brought).out)
        self.assertIn("is not trusted", self.trust("--forget", self.brought, status=2).err)
        self.assertIn("is not trusted", self.run_with_it(status=125).err)
        said = json.loads(self.trust("--json", self.brought).out)
        self.assertEqual((said["state"], said["agents"]), ("new", ["coder-1"]))
