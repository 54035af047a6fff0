"""What the agent can read, write and connect to on the machine's file system."""

import json
import os
import socket
import stat
import subprocess

import world
from agent import ORDINARY_UID, Case, is_root


class Files(Case):
    def try_inside(self, *jobs, **keywords):
        path = self.write(f"{self.workspace}/jobs.json", json.dumps(jobs))
        return self.probe("files", path, **keywords)

    def listener(self, path):
        """A Unix server of somebody outside."""
        if not path.startswith("@"):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind("\0" + path[1:] if path.startswith("@") else path)
        server.listen(4)
        self.addCleanup(server.close)
        if not path.startswith("@"):
            os.chmod(path, 0o777)
            self.addCleanup(os.unlink, path)

    def test_the_machine_is_read_only(self):
        """`touch /etc/x`: Read-only file system."""
        run = self.run_agent("touch", "/etc/x", status=1)
        self.assertIn("Read-only file system", run.err, run)
        folders = ("", "/usr", "/etc", "/var/lib", "/home", "/opt")
        answers = self.try_inside(
            *[["create", f"{folder}/x"] for folder in folders],
            ["create", f"{world.BIN}/x"],
            ["write", "/etc/hosts"],
            ["write", "/etc/resolv.conf"],
            ["write", "/etc/passwd"],
            ["write", f"{world.BIN}/sluiced"],
            ["chmod", "/etc/passwd"],
        )
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIn(answer, ("EROFS", "EACCES", "EPERM", "ENOENT"))

    def test_what_the_agent_writes_into_its_home_directory_ends_with_it(self):
        self.shell('echo text > "$HOME/x"; mkdir "$HOME/.ssh"; echo key > "$HOME/.ssh/id"; true')
        for name in ("x", ".ssh/id"):
            self.assertFalse(os.path.exists(f"{self.home}/{name}"))

    def test_dd_of_tmp_big_stops_at_the_cap_of_the_tmpfs(self):
        options = ["--tmpfs", "/tmp:8MiB"]
        dd = ["dd", "if=/dev/zero", "bs=1M"]
        run = self.run_agent(*dd, "of=/tmp/big", "count=40", options=options, status=1)
        self.assertIn("No space left on device", run.err, run)
        self.assertIn("; '/tmp' is full: 8 MiB (--tmpfs /tmp:SIZE allows more)\n", run.err)
        script = "dd if=/dev/zero of=/tmp/fits bs=1M count=4; stat -c %s /tmp/fits"
        run = self.shell(script, options=options)
        self.assertEqual(run.out.strip(), str(4 << 20), run)
        self.assertNotIn("is full", run.err)

    def test_a_tmpfs_that_holds_no_more_files_is_named_in_the_last_line(self):
        """Programs say "No space left on device" of that as well."""
        options = ["--tmpfs", "/tmp/many:1MiB"]
        run = self.shell("touch /tmp/many/{1..300}", options=options, status=1)
        self.assertIn("No space left on device", run.err, run)
        self.assertIn("; '/tmp/many' is full: 256 files (--tmpfs /tmp/many:SIZE allows more)\n", run.err)

    def test_every_writable_place_outside_the_workspace_has_a_cap(self):
        """/tmp, /var/tmp, /dev/shm and /run: no way to fill the machine's memory."""
        run = self.shell(
            "for d in /tmp /var/tmp /dev/shm /run; do"
            "  test -w $d && stat -f -c \"$d %b %S %c\" $d; done; true"
        )
        for line in run.out.splitlines():
            folder, blocks, size, inodes = line.split()
            with self.subTest(folder):
                self.assertLessEqual(int(blocks) * int(size), 1 << 30)
                self.assertGreater(int(blocks), 0)
                self.assertGreater(int(inodes), 0)
        self.assertIn("/tmp ", run.out)

    def test_the_workspace_is_writable_and_its_files_belong_to_its_owner(self):
        """Whoever starts it: outside, what the agent made looks as if the owner had made it."""
        if is_root():
            os.chown(self.workspace, ORDINARY_UID, ORDINARY_UID)
        self.shell("mkdir made; echo text > made/file; ln -s file made/link; mkfifo made/fifo")
        owner = os.stat(self.workspace)
        for name in ("made", "made/file", "made/link", "made/fifo"):
            with self.subTest(name):
                made = os.lstat(f"{self.workspace}/{name}")
                self.assertEqual((made.st_uid, made.st_gid), (owner.st_uid, owner.st_gid))
        with open(f"{self.workspace}/made/file") as file:
            self.assertEqual(file.read(), "text\n")

    def test_a_setuid_file_cannot_be_left_in_the_workspace_for_somebody_outside(self):
        """A 4755 file that belongs to root would be the machine's end."""
        self.shell("cp /usr/bin/id left; cp left group; chmod 4755 left; chmod 2755 group; true")
        for name in ("left", "group"):
            mode = os.stat(f"{self.workspace}/{name}")
            dangerous = mode.st_mode & (stat.S_ISUID | stat.S_ISGID)
            self.assertFalse(dangerous and is_root(), f"{name}: {stat.filemode(mode.st_mode)}")

    def test_the_agent_of_a_root_caller_is_nobody_on_the_machine(self):
        """/etc/shadow is unreadable, core_pattern not writable."""
        answers = self.try_inside(
            ["read", "/etc/shadow"],
            ["write", "/etc/shadow"],
            ["write", "/proc/sys/kernel/core_pattern"],
            ["write", "/proc/sysrq-trigger"],
            ["write", "/proc/sys/vm/drop_caches"],
            ["read", "/proc/1/environ"],
            ["list", "/proc/1/root"],
            ["read", "/proc/kcore"],
            ["read", "/dev/kmsg"],
            ["write", "/sys/fs/cgroup/memory/release_agent"],
            ["write", "/sys/kernel/uevent_helper"],
        )
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIn(answer, ("EACCES", "EPERM", "EROFS", "ENOENT"), name)

    def test_the_sockets_of_docker_and_of_everybody_else_cannot_be_reached(self):
        """A read-only mount does not stop connect(): each path socket of the machine is masked."""
        paths = [
            "/run/docker.sock",
            "/run/systemd/private",
            "/tmp/.X11-unix/X0",
            "/home/agent-sockets/open.sock",
            f"{self.workspace}/from-outside.sock",
            "@abstract-of-the-machine",
        ]
        for path in paths:
            self.listener(path)
        for path in paths:  # the control: from outside they answer
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.connect("\0" + path[1:] if path.startswith("@") else path)
        paths.append("/var/run/docker.sock")
        answers = self.try_inside(*[["connect", path] for path in paths])
        unreachable = ("ENOENT", "ECONNREFUSED", "EACCES", "EPERM", "ENOTSOCK")
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIn(answer, unreachable, answers)

    def test_secrets_of_the_home_directory_are_hidden(self):
        secrets = [".ssh/id_ed25519", ".aws/credentials", ".netrc", ".git-credentials",
                   ".gnupg/private-keys-v1.d/key", ".docker/config.json", ".kube/config",
                   ".config/gh/hosts.yml", ".bash_history"]  # fmt: skip
        for name in secrets:
            path = f"{self.home}/{name}"
            os.makedirs(os.path.dirname(path), exist_ok=True)
            self.write(path, "secret of the person\n")
        folder = self.home
        answers = self.try_inside(*[["read", f"{folder}/{name}"] for name in secrets])
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertNotIn("secret", answer)

    def test_what_is_hidden_is_hidden_under_every_other_mount_of_the_same_directory(self):
        """The world's /home is a bind of /mnt/home: two paths for one file, as on machines with
        WSL, btrfs subvolumes or a /home that is a bind mount."""
        secret = f"{self.home}/.ssh/id_ed25519"
        os.makedirs(os.path.dirname(secret), exist_ok=True)
        self.write(secret, "secret of the person\n")
        socket_path = f"/home/alias-{os.path.basename(self.workspace)}/open.sock"
        self.listener(socket_path)
        masked = self.write(f"{self.workspace}/secret.env", "secret of the project\n")
        paths = [world.BASE + secret, world.BASE + masked]
        answers = self.try_inside(
            *[["read", path] for path in paths],
            ["connect", world.BASE + socket_path],
            options=["--mask", masked],
        )
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertNotIn("secret", answer)
                self.assertNotEqual(answer, "ok")

    def test_a_path_named_by_mask_is_hidden_by_every_name_it_has_in_the_workspace(self):
        secret = self.write(f"{self.workspace}/secret.env", "the key\n")
        os.makedirs(f"{self.workspace}/private")
        self.write(f"{self.workspace}/private/inner", "the key\n")
        self.own(f"{self.workspace}/private")
        options = ["--mask", secret, "--mask", f"{self.workspace}/private"]
        run = self.shell(
            "cat secret.env private/inner; mv secret.env other; cat other;"
            "cat /proc/self/cwd/secret.env; mv private moved; cat moved/inner; true",
            options=options,
        )
        self.assertNotIn("the key", run.out + run.err, run)
        with open(secret) as file:
            self.assertEqual(file.read(), "the key\n")

    def test_a_bind_is_read_only_unless_rw_is_said(self):
        readable, writable = f"{self.workspace}-ro", f"{self.workspace}-rw"
        for folder in (readable, writable):
            os.makedirs(folder)
            self.own(folder)
        options = ["--bind", f"{readable}:/opt", "--bind", f"{writable}:/srv:rw"]
        run = self.shell("touch /opt/x; touch /srv/y; ls /srv", options=options)
        self.assertIn("Read-only file system", run.err, run)
        self.assertEqual(os.listdir(writable), ["y"], run)

    def test_dev_has_the_few_devices_that_programs_need_and_nothing_of_the_machine(self):
        run = self.shell("find /dev -type b -o -type c | sort; ls /sys/class/net 2>/dev/null")
        extra = {line for line in run.out.split() if not line.startswith(("/dev/pts/", "/dev/tty"))}
        self.assertLessEqual(
            extra,
            {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/ptmx",
             "/dev/console", "lo"},
        )  # fmt: skip
        self.assertNotIn("w0", run.out)

    def test_the_agent_sees_its_own_processes_only(self):
        run = self.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; ls -d /proc/[0-9]* | wc -l")
        self.assertNotIn("origins.py", run.out)
        self.assertNotIn("sluiced", run.out)
        self.assertLess(int(run.out.split()[-1]), 12)

    def test_a_setuid_program_is_not_given_to_a_root_callers_agent(self):
        """Through a shared mapping it could be rewritten, and the bit would stay."""
        if not is_root():
            self.skipTest("an ordinary user's agent can give away no more than its own id")
        path = self.write(f"{self.workspace}/tool", "#!/bin/sh\n")
        os.chmod(path, 0o4755)
        run = self.run_agent("true", status=125)
        self.assertIn("'", run.err)
        self.assertIn("tool' is setuid or setgid", run.err)
        os.chmod(path, 0o755)
        self.run_agent("true")

    def test_without_home_the_home_directory_of_the_password_file_is_hidden(self):
        """cron, services and CI have no $HOME."""
        if not is_root():
            self.skipTest("the ordinary user of these tests has no line in /etc/passwd")
        os.makedirs("/root/.ssh", exist_ok=True)
        self.write("/root/.ssh/id_test", "secret of the person")
        del self.environment["HOME"]
        run = self.run_agent("cat", "/root/.ssh/id_test", status=1)
        self.assertNotIn("secret", run.out)

    def test_how_the_agent_was_started_stands_in_no_command_line_it_can_read(self):
        run = self.run_agent("cat", "/proc/1/cmdline", options=("--env", "TOKEN=of-the-person"))
        self.assertNotIn("of-the-person", run.out)
        self.assertNotIn("my.yaml", run.out)

    def test_no_descriptor_of_the_caller_is_inherited(self):
        secret = os.open(self.policy_file, os.O_RDONLY)
        os.set_inheritable(secret, True)
        self.addCleanup(os.close, secret)
        process = self.start_with(secret)
        run = self.finish(process)
        self.assertEqual(run.status, 0, run)
        self.assertEqual(run.out.split(), ["0", "1", "2"], run)

    def start_with(self, fd):
        # os.listdir's own descriptor is the one closed again by the time it is printed.
        script = (
            "import os; folder = '/proc/self/fd/'; "
            "print(*[name for name in os.listdir(folder) if os.path.exists(folder + name)])"
        )
        command = self.command(*self.run_line(world.PYTHON, "-c", script))
        return subprocess.Popen(command, cwd=self.workspace, env=self.environment, pass_fds=[fd],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, start_new_session=True)  # fmt: skip

    def test_another_agents_policy_and_the_proxys_socket_are_not_in_the_sandbox(self):
        run = self.shell("ls -R /run 2>/dev/null; ls /proc/self/net/unix && cat /proc/net/unix")
        self.assertNotIn("handover", run.out, run)
        self.assertNotIn("admin.sock", run.out, run)
        self.assertNotIn("coder-1.sock", run.out, run)

    def test_a_mount_point_is_not_moved_by_a_symbolic_link_that_an_earlier_run_left(self):
        source = f"{self.workspace}-source"
        alias = f"/mnt/alias-{os.path.basename(self.workspace)}"
        os.makedirs(source)
        self.own(source)
        os.symlink(self.workspace, alias)
        self.addCleanup(os.unlink, alias)
        os.symlink("/etc", f"{self.workspace}/data")
        options = [["--tmpfs", f"{self.workspace}/data:1MiB"]]
        for place in (f"{self.workspace}/data", f"{self.workspace}/data/new", f"{alias}/data"):
            options.append(["--bind", f"{source}:{place}:rw"])
        for option in options:
            with self.subTest(option[1]):
                run = self.run_agent("ls", "/etc", options=option, status=125)
                self.assertIn("' leads through a symbolic link", run.err, run)
                self.assertIn("name the real path", run.err, run)
        options = ["--bind", f"{source}:{alias}/made/here:rw"]  # a link of the machine's own
        self.shell("echo text > made/here/file", options=options)
        self.assertEqual(os.listdir(source), ["file"])

    def test_what_lies_in_a_closed_directory_stays_hidden_when_the_agent_opens_it(self):
        folder = f"{self.workspace}/closed"
        os.makedirs(folder)
        secret = self.write(f"{folder}/key", "the key\n")
        self.own(folder)
        if os.environ["SLUICE_E2E_WORLD"] == "root":
            os.chown(folder, -1, 7)  # by a group of the caller's that the sandbox does not have
        os.chmod(folder, 0)
        self.addCleanup(os.chmod, folder, 0o700)
        script = "chmod 700 closed; ls closed; cat closed/key; true"
        run = self.shell(script, options=["--mask", secret])
        self.assertNotIn("the key", run.out, run)


if is_root():

    class RootCaller(Case):
        def test_a_root_owned_workspace_gets_root_owned_files_from_an_agent_that_is_not_root(self):
            run = self.shell("id -u; echo text > mine; stat -c %u mine")
            self.assertNotEqual(run.out.splitlines()[0], "0", run)
            self.assertEqual(os.stat(f"{self.workspace}/mine").st_uid, 0)
