"""Which writable binds are refused, what a person must say twice, and what is hidden by custom."""

import os
import socket
import subprocess

import world
from agent import Case, is_root

SECRET = "secret of the project\n"


class MountAudit(Case):
    def setUp(self):
        super().setUp()
        self.folder_of_test = f"/home/audit-{os.path.basename(self.workspace)}"
        self.folder(self.folder_of_test)

    def folder(self, path):
        os.makedirs(path, exist_ok=True)
        self.own(path)
        return path

    def attempt(self, *options, status=125):
        mark = f"{self.workspace}/started"
        if os.path.exists(mark):
            os.unlink(mark)
        run = self.run_agent("touch", mark, options=options, status=status)
        self.assertEqual(os.path.exists(mark), status == 0, run)
        return run

    def assert_said_twice(self, bind, *words):
        """Refused with a hint, and granted to who says its path again."""
        option = ["--bind", f"{bind}:/srv:rw"]
        run = self.attempt(*option)
        for word in (*words, f"--i-know {bind}"):
            self.assertIn(word, run.err, run)
        self.attempt(*option, "--i-know", "/etc")
        run = self.run_agent("touch", "/srv/made", options=[*option, "--i-know", bind + "/."])
        self.assertTrue(os.path.exists(f"{bind}/made"), run)

    def elsewhere(self):
        """Policies, trust and imported roots lie outside of the home directory."""
        place = self.folder(f"/home/state-{os.path.basename(self.workspace)}")
        self.environment.update({f"XDG_{kind}_HOME": f"{place}/{kind.lower()}"
                                 for kind in ("CONFIG", "STATE", "DATA")})  # fmt: skip
        self.policy_file = self.write(f"{place}/my.yaml", open(self.policy_file).read())

    def test_a_directory_with_a_socket_or_a_device_must_be_named_twice(self):
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{self.folder_of_test}/service.sock")
        self.addCleanup(server.close)
        self.assert_said_twice(self.folder_of_test, "holds the socket 'service.sock'")
        self.attempt("--bind", f"{self.folder_of_test}:/srv", status=0)  # read-only
        if is_root():
            devices = self.folder(f"{self.folder_of_test}-devices")
            os.mknod(f"{devices}/null", 0o20666, os.makedev(1, 3))
            self.assert_said_twice(devices, "holds the device 'null'")

    def test_a_directory_above_what_is_hidden_must_be_named_twice(self):
        config = self.folder(f"{self.home}/.config")
        self.elsewhere()
        self.assert_said_twice(config, f"holds '{config}/", "hidden from agents", f"--seed {config}")
        alias = world.BASE + config
        self.assertIn("hidden from agents", self.attempt("--bind", f"{alias}:/srv:rw").err)
        self.folder(f"{config}/gh")
        self.write(f"{config}/gh/hosts.yml", SECRET)
        run = self.shell("cat /srv/gh/hosts.yml; true",
                         options=["--bind", f"{config}:/srv:rw", "--i-know", config])  # fmt: skip
        self.assertNotIn("secret", run.out, run)
        # What was named itself was asked for.
        self.attempt("--bind", f"{config}/gh:/srv:rw", status=0)

    def test_the_home_directory_must_be_named_twice_and_its_secrets_stay_hidden(self):
        self.elsewhere()
        self.folder(f"{self.home}/.ssh")
        self.write(f"{self.home}/.ssh/id", SECRET)
        run = self.attempt("--workspace", self.home)
        self.assertIn(f"--i-know {self.home}", run.err, run)
        run = self.shell("cat .ssh/id; echo text > made-by-agent",
                         options=["--workspace", self.home, "--i-know", self.home])  # fmt: skip
        self.assertNotIn("secret", run.out, run)
        self.assertTrue(os.path.exists(f"{self.home}/made-by-agent"))

    def test_what_encloses_the_agent_stays_out_of_reach_whatever_is_said(self):
        policy = os.path.dirname(self.policy_file)
        for bind, word in (
            ("/", "running sluice programs"),
            (world.BIN, "running sluice programs"),
            (policy, "the policy"),
            (self.home, "lies where the agent can write"),
            ("/etc", "belongs to the system"),
        ):
            with self.subTest(bind):
                run = self.attempt("--bind", f"{bind}:/srv:rw", "--i-know", bind)
                self.assertIn(word, run.err, run)
        audit = f"{self.folder_of_test}/audit.jsonl"
        run = self.attempt("--audit", audit, "--bind", f"{self.folder_of_test}:/srv:rw",
                           "--i-know", self.folder_of_test)  # fmt: skip
        self.assertIn("the audit file", run.err, run)

    def test_an_i_know_that_matches_no_writable_bind_is_an_error(self):
        for options in (
            ["--i-know", self.folder_of_test],
            ["--i-know", "/does/not/exist"],
            ["--bind", f"{self.folder_of_test}:/srv", "--i-know", self.folder_of_test],
            ["--bind", f"{self.folder_of_test}:/srv:rw", "--i-know", "/srv"],
        ):
            run = self.attempt(*options)
            self.assertIn(options[-1], run.err, run)
            self.assertIn("hint: ", run.err, run)
        both = ["--bind", f"{self.folder_of_test}:/srv:rw", "--i-know", self.folder_of_test]
        self.attempt(*both, "--i-know", self.workspace, status=0)

    def test_fifos_in_writable_binds_are_named(self):
        deep = self.folder(f"{self.folder_of_test}/a/b/c/d")
        for path in (f"{self.folder_of_test}/fifo", f"{self.folder_of_test}/a/b/near\x1b",
                     f"{deep}/far", f"{self.workspace}/own"):  # fmt: skip
            os.mkfifo(path)
        run = self.attempt("--bind", f"{self.folder_of_test}:/srv:rw", status=0)
        self.assertIn(f"the writable bind '{self.folder_of_test}' holds FIFOs", run.err, run)
        self.assertIn("'fifo', 'a/b/near\\x1b'", run.err, run)
        self.assertIn(f"the workspace '{self.workspace}' holds FIFOs", run.err, run)
        self.assertIn("'own'", run.err, run)
        self.assertNotIn("far", run.err, run)
        run = self.attempt("--bind", f"{self.folder_of_test}:/srv", "--quiet", status=0)
        self.assertEqual(run.err, "", run)

    def test_env_files_are_empty_for_the_agent_unless_they_are_bound(self):
        self.folder(f"{self.workspace}/services/api")
        hidden = (".env", ".env.local", "services/.env.production", "services/api/.env")
        shown = (".env.example", "services/.env.sample", ".env.local.template", "env", ".envrc")
        for name in hidden + shown:
            self.write(f"{self.workspace}/{name}", SECRET)
        os.symlink("hidden-target", f"{self.workspace}/services/.env")
        self.write(f"{self.workspace}/services/hidden-target", SECRET)
        script = "for f in {}; do echo $f $(wc -c < $f); done; mv .env moved; cat moved"
        run = self.shell(script.format(" ".join((*hidden, "services/.env", *shown))), status=None)
        sizes = dict(line.split() for line in run.out.splitlines() if " " in line)
        for name in (*hidden, "services/.env"):
            self.assertEqual(sizes[name], "0", run)
        for name in shown:
            self.assertNotEqual(sizes[name], "0", run)
        self.assertIn("empty for the agent: ", run.err, run)
        self.assertIn(f"'{self.workspace}/.env'", run.err, run)
        run = self.run_agent("cat", ".env", options=["--bind", f"{self.workspace}/.env"])
        self.assertEqual(run.out, SECRET, run)
        self.assertNotIn(f"'{self.workspace}/.env',", run.err, run)
        with open(f"{self.workspace}/.env") as file:
            self.assertEqual(file.read(), SECRET)

    def test_env_files_above_the_workspace_are_hidden_as_well(self):
        subprocess.run(["mount", "-t", "tmpfs", "none", "/srv"], check=True)
        self.addCleanup(subprocess.run, ["umount", "/srv"], check=True)
        project = self.folder("/srv/app/project")
        for path in ("/srv/.env", "/srv/app/.env.local", "/srv/app/readable"):
            self.write(path, SECRET)
        run = self.shell("cat ../.env.local ../../.env ../readable",
                         options=["--workspace", project])  # fmt: skip
        self.assertEqual(run.out, SECRET, run)

    def test_a_link_of_an_earlier_agents_does_not_choose_what_is_hidden(self):
        os.symlink("/etc/passwd", f"{self.workspace}/.env")
        os.symlink(".env", f"{self.workspace}/.env.loop")
        run = self.shell("wc -l < /etc/passwd; test -s /etc/passwd")
        self.assertNotEqual(run.out.strip(), "0", run)

    def test_histories_browsers_and_tokens_are_hidden_where_a_bind_shows_the_home_directory(self):
        names = [".python_history", ".psql_history", ".mozilla/x", ".config/chromium/Cookies",
                 ".gem/credentials", ".terraform.d/credentials.tfrc.json", ".oci/config",
                 ".config/git/credentials", ".local/share/keyrings/login.keyring",
                 ".password-store/a.gpg"]  # fmt: skip
        for name in names:
            self.folder(os.path.dirname(f"{self.home}/{name}"))
            self.write(f"{self.home}/{name}", SECRET)
        if is_root():
            os.chmod(self.home, 0o755)
            self.addCleanup(os.chmod, self.home, 0o700)
        self.write(f"{self.home}/plain", "plain\n")
        words = " ".join(f"/srv/{name}" for name in (*names, "plain"))
        run = self.shell(f"cat {words}; true", options=["--bind", f"{self.home}:/srv"])
        self.assertEqual(run.out, "plain\n", run)
