"""`sluice run --root DIR`: what '/' is, and that nobody can write to it."""

import os
import shutil
import socket

import small_root
from roots import RootCase, made


class ReadOnlyRoot(RootCase):
    def test_a_directory_is_the_root_and_cannot_be_written(self):
        root = self.small()
        before = self.snapshot(root)
        run = self.inside(root, "cat /etc/os-release; touch /x /etc/x /usr/bin/x; ls -d /*")
        self.assertIn("NAME=small", run.out, run)
        self.assertEqual(run.err.count("Read-only file system"), 3, run)
        self.assertNotIn("/mnt", run.out, run)
        self.assertEqual(self.snapshot(root), before)

    def test_what_the_root_lacks_is_there_all_the_same(self):
        """No /home, /run, /proc, /sys, /dev, /tmp, no place for the workspace and the binds."""
        root = self.small()
        shown = f"{self.workspace}-shown"
        os.makedirs(shown)
        self.write(f"{shown}/file", "shown\n")
        self.own(shown)
        script = """
            read first </proc/self/status && echo $first
            echo text >/dev/null && ls /sys >/dev/null && echo devices
            echo a >/tmp/a && echo a >/var/tmp/a && echo a >"$HOME/a" && echo temporary
            echo mine >made && pwd
            cat /opt/deep/er/file /etc/single /run/sluice/denials
            touch /opt/deep/er/x
        """
        binds = [f"{shown}:/opt/deep/er", f"{shown}/file:/etc/single"]
        options = [word for bind in binds for word in ("--bind", bind)]
        run = self.inside(root, script, *options, status=1)
        self.assertEqual(run.out.split(), ["Name:", "bash", "devices", "temporary", self.workspace,
                                           "shown", "shown"], run)  # fmt: skip
        self.assertIn("Read-only file system", run.err, run)
        with open(f"{self.workspace}/made") as file:
            self.assertEqual(file.read(), "mine\n")

    def test_the_name_service_and_the_users_are_the_sandboxes_own(self):
        root = self.small()
        os.symlink("../run/systemd/resolve/stub-resolv.conf", f"{root}/etc/resolv.conf")
        run = self.inside(root, "cat /etc/resolv.conf /etc/hosts /etc/passwd /etc/hostname; id -un")
        self.assertIn("nameserver 127.0.0.1", run.out, run)
        self.assertIn("127.0.0.1 localhost coder-1", run.out, run)
        self.assertNotIn("somebody", run.out, run)
        self.assertNotIn("root", run.out.split()[-1], run)

    def test_the_policy_is_the_only_way_out_of_another_root(self):
        script = """
            ask() {
                exec 3<>/dev/tcp/127.0.0.1/3128
                printf 'GET http://%s/ HTTP/1.1\\r\\nHost: %s\\r\\nConnection: close\\r\\n\\r\\n' $1 $1 >&3
                read -r _ status _ <&3; echo "$1 $status"
            }
            ask allowed.test; ask other.test
        """
        run = self.inside(self.small(), script)
        self.assertEqual(run.out.split(), ["allowed.test", "200", "other.test", "403"], run)

    def test_a_servers_socket_below_the_root_is_hidden(self):
        root = self.small()
        os.makedirs(f"{root}/var/lib")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(f"{root}/var/lib/open.sock")
        server.listen(1)
        self.addCleanup(server.close)
        run = self.inside(root, "[ -S /var/lib/open.sock ] && echo reachable; ls /var/lib")
        self.assertNotIn("reachable", run.out, run)
        self.assertIn("open.sock", run.out, run)

    def test_a_mask_names_a_path_of_that_root(self):
        run = self.inside(self.small(), "cat /etc/os-release", "--mask", "/etc/os-release")
        self.assertEqual(run.out, "", run)
        run = self.inside(self.small_again(), "true", "--mask", "/etc/adduser.conf.no", status=125)
        self.assertIn("there is nothing to hide", run.err)

    def small_again(self):
        shutil.rmtree(f"{self.workspace}-root")
        return self.small()

    def test_symbolic_links_of_the_root_lead_nowhere_out_of_it(self):
        """/home leads up and out; /proc and /etc/hosts lead elsewhere."""
        root = self.small()
        os.symlink("../../../../srv", f"{root}/home")
        os.symlink("/etc", f"{root}/proc")
        os.symlink("/etc/os-release", f"{root}/etc/hosts")
        run = self.inside(root, "echo mine >made; ls -d /srv/work-*; cat /etc/hosts; "
                                "read line </proc/self/status && echo $line")  # fmt: skip
        self.assertIn("localhost", run.out, run)
        self.assertIn("Name:", run.out, run)
        self.assertIn("/srv/work-", run.out, run)
        self.assertFalse([name for name in os.listdir("/srv") if name.startswith("work-")])
        self.assertTrue(os.path.exists(f"{self.workspace}/made"))

    def test_programs_of_the_root_are_not_setuid_and_its_devices_are_none(self):
        run = self.inside(self.small(), "while read -r line; do set -- $line; "
                          '[ "$5" = / ] && echo $6; done </proc/self/mountinfo; true')  # fmt: skip
        for word in ("ro", "nosuid", "nodev"):
            self.assertIn(word, run.out.strip().split(","), run)

    def test_a_root_that_an_agent_could_write_is_refused(self):
        root = f"{self.workspace}/root"
        shutil.copytree(made("small", small_root.make), root, symlinks=True)
        self.give(root)
        run = self.inside(root, "true", status=125)
        self.assertIn("lies where the agent can write: the workspace", run.err, run)
        run = self.inside(self.small(), "true", "--bind", f"{self.workspace}-root/etc:/mnt:rw",
                          status=125)  # fmt: skip
        self.assertIn("lies where the agent can write: the writable bind", run.err, run)

    def test_what_is_no_root_is_refused_with_what_to_do(self):
        os.symlink("/", f"{self.workspace}/machine")
        cases = {"/": "write --root host", "./machine": "write --root host",
                 "./my.yaml": "sluice root import NAME TAR",
                 "/nowhere": "cannot find '/nowhere'", "/proc/sys": "the machine's own /proc",
                 "nosuch": "there is no root 'nosuch'"}  # fmt: skip
        self.write(f"{self.workspace}/my.yaml", "")
        for value, sentence in cases.items():
            with self.subTest(value):
                self.assertIn(sentence, self.inside(value, "true", status=125).err)
        run = self.shell("true", options=["--root-mode", "writable"], status=125)
        self.assertIn("'writable' is not a root mode", run.err, run)
        run = self.shell("true", options=["--keep-changes", "/tmp/kept"], status=125)
        self.assertIn("a read-only root has no changes to keep", run.err, run)
        run = self.shell("true", options=["--tmpfs", "/:1GiB"], status=125)
        self.assertIn("would replace a part of the sandbox", run.err, run)

    def test_host_is_the_machines_root_as_without_the_option(self):
        run = self.inside("host", "ls -d /usr/lib/apt; touch /x", status=1)
        self.assertIn("Read-only file system", run.err, run)
        self.assertIn("/usr/lib/apt", run.out, run)
