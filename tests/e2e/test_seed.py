"""`--seed PATH[:SIZE]`: a writable, capped copy of what the machine has at PATH."""

import os
import shutil
import socket
import stat
import subprocess

import world
from agent import Case, is_root

STRANGER = 61299  # neither the caller nor any agent


class Seed(Case):
    def setUp(self):
        super().setUp()
        self.source = f"/home/seed-{os.path.basename(self.workspace)}"
        self.folder(self.source)

    def folder(self, path, mode=0o755):
        os.makedirs(path)
        self.own(path)
        os.chmod(path, mode)
        return path

    def file(self, name, text="text\n", mode=0o644):
        path = self.write(f"{self.source}/{name}", text)
        os.chmod(path, mode)
        return path

    def assert_refused(self, seed, *words, options=()):
        options = ["--seed", seed, *options]
        run = self.run_agent("touch", "started", options=options, status=125)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"), run)
        self.assertIn("hint: ", run.err, run)
        for word in words:
            self.assertIn(word, run.err, run)
        return run

    def test_the_agent_writes_in_a_copy_and_the_machines_directory_stays_as_it_was(self):
        self.file("kept", "of the machine\n")
        self.folder(f"{self.source}/folder")
        self.file("folder/inner")
        run = self.shell(
            f"cd {self.source}; cat kept folder/inner; echo agent > kept; rm -r folder;"
            "mkdir made; echo new > made/new; cat kept made/new; ls",
            options=["--seed", self.source],
        )
        self.assertEqual(run.out, "of the machine\ntext\nagent\nnew\nkept\nmade\n", run)
        self.assertEqual(sorted(os.listdir(self.source)), ["folder", "kept"])
        with open(f"{self.source}/kept") as file:
            self.assertEqual(file.read(), "of the machine\n")
        self.assertNotIn("leaves out", run.err, run)

    def test_modes_times_and_links_are_those_of_the_source_and_all_belongs_to_the_agent(self):
        self.folder(f"{self.source}/closed", 0o755)
        self.file("closed/script", "#!/bin/sh\necho ran\n", 0o755)
        self.file("large", "0123456789abcdef" * 65536, 0o444)
        with open(self.file("sparse", ""), "r+b") as file:
            file.truncate(1 << 30)
            file.seek(1 << 29)
            file.write(b"middle")
        os.symlink("large", f"{self.source}/link")
        os.symlink("/etc/passwd", f"{self.source}/outward")
        os.symlink("/etc", f"{self.source}/folder")
        for name in ("closed/script", "large", "closed"):
            os.utime(f"{self.source}/{name}", (1_000_000_000, 1_000_000_000))
        os.utime(f"{self.source}/link", (1_100_000_000,) * 2, follow_symlinks=False)
        os.chmod(f"{self.source}/closed", 0o555)
        os.chmod(self.source, 0o750 if not is_root() else 0o711 | 0o044)
        names = "closed closed/script large link outward folder sparse"
        run = self.shell(
            f"cd {self.source}; stat -c '%n %A %Y' closed closed/script large link;"
            "readlink link outward folder; closed/script; sha256sum < large;"
            f"stat -c %u:%g {names} . | sort -u; id -u; id -g;"
            "stat -c %s sparse; dd if=sparse bs=1M skip=512 count=1 status=none | head -c 6;"
            "echo; ls folder/ | head -c 1 > /dev/null; test -L folder && stat -c %a .",
            options=["--seed", f"{self.source}:8MiB"],
        )
        lines = run.out.splitlines()
        self.assertEqual(
            lines[:8],
            ["closed dr-xr-xr-x 1000000000", "closed/script -rwxr-xr-x 1000000000",
             "large -r--r--r-- 1000000000", "link lrwxrwxrwx 1100000000",
             "large", "/etc/passwd", "/etc", "ran"], run)  # fmt: skip
        digest = subprocess.run(["sha256sum"], stdin=open(f"{self.source}/large"),
                                capture_output=True, text=True)  # fmt: skip
        self.assertEqual(lines[8] + "\n", digest.stdout)
        self.assertEqual(lines[9], f"{lines[10]}:{lines[11]}", run)
        mode = stat.S_IMODE(os.stat(self.source).st_mode)
        self.assertEqual(lines[12:], [str(1 << 30), "middle", f"{mode:o}"], run)

    def test_a_directory_below_the_home_directory_is_seeded_though_that_is_new_and_empty(self):
        cargo = f"{self.home}/.cargo-{os.path.basename(self.workspace)}"
        self.folder(cargo)
        self.write(f"{cargo}/config.toml", "[net]\n")
        for option in (cargo, cargo + "/"):
            run = self.shell(f"cat {cargo}/config.toml; touch {cargo}/x; ls ~ -A", options=["--seed", option])
            self.assertEqual(run.out, f"[net]\n{os.path.basename(cargo)}\n", run)
        self.assertEqual(os.listdir(cargo), ["config.toml"])
        # By a link of the home directory's to another place.
        link = cargo + "-link"
        os.symlink(self.source, link)
        self.addCleanup(os.unlink, link)
        self.file("elsewhere")
        run = self.shell(f"cat {link}/elsewhere; test -L {link} || echo directory",
                         options=["--seed", link])  # fmt: skip
        self.assertEqual(run.out, "text\ndirectory\n", run)

    def test_secrets_and_masked_paths_are_not_copied_whatever_leads_to_them(self):
        secrets = [".ssh/id_ed25519", ".cargo/credentials.toml", ".config/gh/hosts.yml",
                   ".git-credentials"]  # fmt: skip
        for name in secrets:
            os.makedirs(os.path.dirname(f"{self.home}/{name}"), exist_ok=True)
            self.write(f"{self.home}/{name}", "secret of the person\n")
        self.write(f"{self.home}/.cargo/config.toml", "plain\n")
        find = 'find ~ -type f -exec cat {} +; ls -A ~ ~/.cargo; true'
        run = self.shell(find, options=["--seed", self.home])
        self.assertIn("plain", run.out, run)
        self.assertNotIn("secret", run.out, run)
        run = self.shell(find, options=["--seed", f"{self.home}/.cargo"])
        self.assertIn("plain", run.out, run)
        self.assertNotIn("credentials", run.out, run)
        # The home directory is a link into the seed, and the seed is named by another mount.
        shutil.move(f"{self.home}/.cargo", f"{self.source}/cargo")
        os.symlink(f"{self.source}/cargo", f"{self.home}/.cargo")
        self.addCleanup(os.unlink, f"{self.home}/.cargo")
        for seed in (f"{self.home}/.cargo", self.source, world.BASE + self.source):
            with self.subTest(seed):
                run = self.shell(f"find {seed} -type f -exec cat {{}} +", options=["--seed", seed])
                self.assertIn("plain", run.out, run)
                self.assertNotIn("secret", run.out, run)
        masked = self.file("key", "secret of the project\n")
        self.folder(f"{self.source}/private")
        self.file("private/key", "secret of the project\n")
        options = ["--seed", self.source, "--mask", masked, "--mask", f"{self.source}/private"]
        run = self.shell(f"cat {self.source}/key {self.source}/private/key; true", options=options)
        self.assertNotIn("secret", run.out, run)

    def test_what_cannot_be_copied_is_left_out_and_named(self):
        self.file("fine")
        os.mkfifo(f"{self.source}/fifo")
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{self.source}/socket")
        self.addCleanup(server.close)
        self.file("unreadable", "secret\n")
        self.folder(f"{self.source}/closed")
        self.file("closed/inner", "secret\n")
        if os.environ["SLUICE_E2E_WORLD"] == "root":
            for name in ("unreadable", "closed"):
                os.chown(f"{self.source}/{name}", STRANGER, STRANGER)
            os.chmod(f"{self.source}/unreadable", 0o600)
            os.chmod(f"{self.source}/closed", 0o700)
        run = self.shell(f"cd {self.source}; find . ! -name . | sort", options=["--seed", self.source])
        self.assertIn(f"the seed '{self.source}' leaves out ", run.err, run)
        self.assertIn("'fifo' (a FIFO)", run.err, run)
        self.assertIn("'socket' (a socket)", run.err, run)
        if os.environ["SLUICE_E2E_WORLD"] == "root":
            self.assertIn("'unreadable' (Permission denied)", run.err, run)
            self.assertIn("'closed' (Permission denied)", run.err, run)
            self.assertEqual(run.out, "./fine\n", run)
        quiet = self.run_agent("true", options=["--quiet", "--seed", self.source])
        self.assertEqual(quiet.err, "", quiet)

    def test_the_list_of_what_was_left_out_is_bounded_and_shows_no_control_characters(self):
        for number in range(40):
            os.mkfifo(f"{self.source}/fifo-{number}\x1b[31m")
        run = self.run_agent("true", options=["--seed", self.source])
        self.assertIn("leaves out 40 entries: ", run.err, run)
        self.assertEqual(run.err.count("fifo-"), 5, run)
        self.assertIn(" and 35 more", run.err, run)
        self.assertNotIn("\x1b", run.err)

    def test_seeds_of_what_sluice_keeps_are_refused(self):
        subprocess.run(["mount", "-t", "tmpfs", "none", "/var/lib"], check=True)
        self.addCleanup(subprocess.run, ["umount", "/var/lib"], check=True)
        os.makedirs("/var/lib/sluice/roots")
        self.write("/var/lib/sluice/key", "secret")
        self.assert_refused("/var/lib/sluice", "what sluice keeps")
        self.assert_refused("/var/lib/sluice/roots", "what sluice keeps")
        run = self.shell("ls -A /var/lib", options=["--seed", "/var/lib"])
        self.assertEqual(run.out, "", run)

    def test_a_root_callers_seed_shows_no_more_than_the_agent_may_read(self):
        if not is_root():
            self.skipTest("an ordinary user's agent has its caller's id")
        self.file("of-root", "secret of root\n", 0o600)
        self.file("for-all")
        run = self.shell(f"cat {self.source}/*", options=["--seed", self.source])
        self.assertEqual(run.out, "text\n", run)
        self.assertIn("'of-root' (Permission denied)", run.err, run)
        os.chmod(self.source, 0o700)
        self.assert_refused(self.source, "the agent may not read")

    def test_more_than_the_cap_holds_ends_the_run_and_says_what_would_hold_it(self):
        for number in range(3):
            self.file(f"mib-{number}", "x" * (1 << 20))
        run = self.assert_refused(f"{self.source}:2MiB", "needs ", f"--seed {self.source}:4MiB")
        self.run_agent("true", options=["--seed", f"{self.source}:4MiB"])
        # Files that have no bytes take inodes.
        for number in range(600):
            self.file(f"empty-{number}", "")
        run = self.assert_refused(f"{self.source}:1MiB", "needs ", f"--seed {self.source}:")
        named = run.err.split(f"--seed {self.source}:")[1].split()[0]
        self.run_agent("true", options=["--seed", f"{self.source}:{named}"])

    def test_the_copy_is_capped_when_the_agent_writes_on(self):
        options = ["--seed", f"{self.source}:1MiB"]
        run = self.shell(f"head -c 4M /dev/zero > {self.source}/big", options=options, status=1)
        self.assertIn("No space left on device", run.err, run)

    def test_seeds_that_make_no_sense_are_refused(self):
        self.assert_refused("/does/not/exist", "/does/not/exist")
        self.assert_refused(self.file("file"), "is not a directory")
        self.assert_refused("relative", "absolute")
        self.assert_refused(f"{self.source}:lots", "lots")
        self.assert_refused(self.workspace, "the workspace")
        inside = self.folder(f"{self.workspace}/inside-it")
        self.assert_refused(inside, "the workspace")
        below = self.folder(f"{self.source}/below")
        self.assert_refused(below, "in the bind", options=["--bind", self.source])
        self.assert_refused(below, "the mask", options=["--mask", self.source])
        self.assert_refused(self.source, "two mounts", options=["--tmpfs", self.source])
        for path in ("/", "/proc", "/proc/sys", "/sys", "/dev", "/run/sluice"):
            self.assert_refused(path)

    def test_another_file_system_below_a_seed_is_left_out_and_named(self):
        mounted = self.folder(f"{self.source}/mounted")
        subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=True)
        self.addCleanup(subprocess.run, ["umount", mounted], check=True)
        self.write(f"{mounted}/file", "of another\n")
        run = self.shell(f"ls {self.source}/mounted; true", options=["--seed", self.source])
        self.assertEqual(run.out, "", run)
        self.assertIn("'mounted' (another mount)", run.err, run)

    def test_what_is_mounted_inside_a_seed_is_there_and_its_source_is_not_copied_in_vain(self):
        self.folder(f"{self.source}/cache")
        self.file("cache/large", "x" * (4 << 20))
        self.file("small")
        options = ["--seed", f"{self.source}:1MiB", "--tmpfs", f"{self.source}/cache:1MiB"]
        run = self.shell(f"cd {self.source}; touch cache/x; ls . cache", options=options)
        self.assertEqual(run.out, ".:\ncache\nsmall\n\ncache:\nx\n", run)

    def test_a_mount_point_inside_a_seed_is_not_moved_by_a_link_that_an_agent_left(self):
        os.symlink("/etc", f"{self.source}/data")
        self.assert_refused(self.source, "leads through a symbolic link",
                            options=["--tmpfs", f"{self.source}/data:1MiB"])  # fmt: skip

    def test_a_link_that_an_agent_left_does_not_turn_a_seed_or_bind_to_secrets(self):
        secrets = f"{self.home}/.ssh"
        os.makedirs(secrets, exist_ok=True)
        self.own(secrets)
        os.symlink(secrets, f"{self.source}/cache")
        self.assert_refused(f"{self.source}/cache", f"leads to '{secrets}'")
        run = self.run_agent("true", options=["--bind", f"{self.source}/cache:/srv"], status=125)
        self.assertIn(f"leads to '{secrets}'", run.err, run)

    def test_a_dry_run_shows_the_seed_and_what_it_leaves_out(self):
        self.folder(f"{self.source}/private")
        options = ["--seed", f"{self.source}:8MiB", "--mask", f"{self.source}/private", "--dry-run"]
        run = self.run_agent("true", options=options)
        self.assertIn(
            f"copy {self.source} into a writable tmpfs of at most 8388608 bytes on {self.source}, "
            f"without {self.source}/private",
            run.out,
        )
