"""`sluice run --root-mode overlay`: who may write to '/', and what is left of it."""

import hashlib
import os
import shutil
import stat
import subprocess

import small_root
import world
from agent import ORDINARY_UID, is_root
from roots import OverlayCase, fill_with_packaging, made


class OverlayRoot(OverlayCase):
    def test_the_agent_is_root_and_what_it_writes_is_gone_at_the_end(self):
        root = self.small()
        before = self.snapshot(root)
        run = self.overlay(root, """
            id -u; echo new >/etc/new; echo changed >/etc/os-release; rm -r /usr/bin/dd /etc/group
            mkdir -p /srv/a/b; mv /usr/bin/head /usr/bin/tail; mkdir /home/x; chmod 0 /etc/new
            cat /etc/os-release /etc/new; [ -e /usr/bin/dd ] || echo gone""")
        self.assertEqual(run.out.split(), ["0", "changed", "new", "gone"], run)
        self.assertEqual(self.snapshot(root), before)
        self.assertIn("the agent is root in an overlay", run.err, run)
        self.assertIn("NAME=small", self.overlay(root, "cat /etc/os-release; ls /etc").out)

    def test_the_overlay_has_a_cap(self):
        script = "dd if=/dev/zero of=/big bs=1M count=40"
        run = self.overlay(self.small(), script, "--tmpfs", "/:8MiB", status=1)
        self.assertIn("No space left on device", run.err, run)
        self.assertIn("at most 8 MiB", run.err, run)
        self.assertIn("; '/' is full: 8 MiB (--tmpfs /:SIZE allows more)\n", run.err)
        run = self.shell("true", options=["--root", f"{self.workspace}-root", "--root-mode",
                                          "overlay", "--dry-run"])  # fmt: skip
        self.assertIn("below a writable tmpfs of at most 2147483648 bytes", run.out, run)

    def test_files_that_it_makes_in_the_workspace_belong_to_the_workspaces_owner(self):
        if is_root():
            os.chown(self.workspace, ORDINARY_UID, ORDINARY_UID)
        self.overlay(self.small(), "echo text >made; mkdir dir; stat -c %u made")
        owner = os.stat(self.workspace)
        for name in ("made", "dir"):
            made_here = os.lstat(f"{self.workspace}/{name}")
            self.assertEqual((made_here.st_uid, made_here.st_gid), (owner.st_uid, owner.st_gid))

    def test_it_cannot_leave_a_set_id_file_or_file_capabilities_in_the_workspace(self):
        """A root-owned 4755 file there, or one with cap_setuid, would be the machine's end. dpkg and
        tar want to hear that the mode is set, and inside no set-id bit has a meaning."""
        run = self.overlay(self.small(), """
            cp /usr/bin/id left; cp left group; chmod 4755 left; chmod 2755 group
            chmod 6755 /usr/bin/id && stat -c %a /usr/bin/id; cd /; ln -s "$OLDPWD/left" link
            chmod 4711 link && stat -L -c %a link; chmod 4755 nothing; chmod 4711 /run/sluice/denials
            cd /tmp; ln -s /proc/self/exe broker; chmod 4777 broker; cd /proc; chmod 4777 self/exe
            while read -r name value; do
                case $name in CapEff: | CapPrm: | CapBnd:) echo $name $value ;; esac
            done </proc/self/status""")
        for name in ("left", "group"):
            mode = os.stat(f"{self.workspace}/{name}").st_mode
            wanted = 0o711 if name == "left" else 0o755
            self.assertEqual(stat.S_IMODE(mode), wanted, stat.filemode(mode))
        self.assertEqual(run.out.split()[:2], ["755", "711"], run)
        self.assertIn("'nothing': No such file or directory", run.err, run)
        # Else it would be the program of whoever sets the mode: the host's own sluice.
        for link in ("broker", "self/exe"):
            self.assertIn(f"'{link}': Too many levels of symbolic links", run.err, run)
        self.assertIn("'/run/sluice/denials': Read-only file system", run.err, run)
        # chown dac_override fowner kill setgid setuid sys_chroot: no setfcap, whose v3 capabilities
        # would be those of the workspace's owner on the host.
        wanted = 1 << 0 | 1 << 1 | 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 | 1 << 18
        capabilities = [line.split() for line in run.out.splitlines() if line.startswith("Cap")]
        self.assertEqual([int(value, 16) for _, value in capabilities], [wanted] * 3, run)

    def test_being_root_there_is_being_nobody_on_the_machine(self):
        script = """
            try() { eval "$1" 2>/dev/null && echo "done: $1"; }
            try 'echo x >/proc/sys/kernel/core_pattern'
            try 'echo 3 >/proc/sys/vm/drop_caches'
            try 'echo h >/proc/sysrq-trigger'
            try 'cat /proc/1/environ'
            try 'ls /proc/1/root/'
            try 'read x </proc/kcore'
            try 'touch /proc/sys/x /sys/x /dev/x /run/sluice/x'
            try 'chmod 777 /run/sluice/denials'
            try 'cat /mnt/tls/ca.key'
            try 'echo >/run/sluice/denials'
            true
        """
        run = self.overlay(self.small(), script)
        self.assertEqual(run.out, "", run)

    def test_owners_are_kept_where_there_are_ids_and_answered_where_there_is_one(self):
        run = self.overlay(self.small(), "touch /f && chown 33:44 /f && stat -c %u:%g /f")
        self.assertEqual(run.out.strip(), "33:44" if is_root() else "0:0", run)
        if not is_root():
            self.assertIn("changes of owner are answered and not made", run.err, run)

    def test_a_root_callers_agent_owns_no_id_of_the_machine(self):
        if not is_root():
            self.skipTest("an ordinary user's agent has his own id alone")
        process = self.start(self.command(*self.run_line(
            "bash", "-c", "echo on; read line",
            options=["--root", self.small(), "--root-mode", "overlay"])),
            stdin=subprocess.PIPE)  # fmt: skip
        self.assertEqual(process.stdout.readline(), b"on\n")
        owners = set()
        for pid, line in world.processes().items():
            if "echo on" in line and "sluice" not in line:
                owners.add(os.stat(f"/proc/{pid}").st_uid)
        self.finish(process, stdin=b"\n")
        self.assertEqual(len(owners), 1, owners)
        self.assertTrue(0x72000000 <= owners.pop() < 0x73000000)

    def test_an_ordinary_user_has_no_overlay_of_the_machines_root_or_a_strangers(self):
        if is_root():
            self.skipTest("root's agents can have one of the machine's root")
        run = self.overlay("host", "true", status=125)
        self.assertIn("only root's agents", run.err, run)
        self.assertIn("sluice root import NAME", run.err, run)
        other = f"{self.workspace}-root"
        shutil.copytree(made("small", small_root.make), other, symlinks=True)
        self.addCleanup(shutil.rmtree, other, True)
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            return  # there is nobody else here whose it could be
        run = self.overlay(other, "true", status=125)
        self.assertIn("belongs to somebody else", run.err, run)
        self.assertIn("sluice root import NAME", run.err, run)
        self.assertIn("NAME=small", self.inside(other, "cat /etc/os-release; pwd").out)

    def test_keep_changes_keeps_what_was_written_and_names_what_was_deleted(self):
        kept = f"{self.home}/kept-{os.path.basename(self.workspace)}"
        self.addCleanup(shutil.rmtree, kept, True)
        run = self.overlay(self.small(), """
            dd of=/sparse bs=1 count=0 seek=1T; echo end >>/sparse
            echo new >/etc/new; chmod 0 /etc/new; rm /usr/bin/dd; mkfifo /pipe; ln -s /etc/shadow /l
            mkdir /srv; echo x >/srv/x; chmod 0 /srv;
            ln /srv/x /srv/y; ln /srv/x /z; rm -r /etc/group; : >$'/odd\\e[2J'""",
            "--keep-changes", kept)  # fmt: skip
        self.assertIn("kept the changes: 4 files", run.err, run)
        with open(f"{kept}/files/etc/new") as file:
            self.assertEqual(file.read(), "new\n")
        with open(f"{kept}/files/srv/x") as file:
            self.assertEqual(file.read(), "x\n")
        sparse = os.stat(f"{kept}/files/sparse")
        self.assertEqual(sparse.st_size, (1 << 40) + 4)
        self.assertLess(sparse.st_blocks, 1000)
        self.assertTrue(os.path.samefile(f"{kept}/files/z", f"{kept}/files/srv/x"))
        self.assertEqual(os.readlink(f"{kept}/files/l"), "/etc/shadow")
        with open(f"{kept}/changes.txt") as file:
            lines = [" ".join(line.split()) for line in file]
        for line in ("deleted /usr/bin/dd", "deleted /etc/group", "4 bytes /etc/new",
                     "left out /pipe (a socket, FIFO or device)", "link /l -> /etc/shadow"):  # fmt: skip
            self.assertIn(line, lines)
        self.assertNotIn("\x1b", "".join(lines))
        # What sluice itself put there is no change of the agent's.
        self.assertFalse([line for line in lines if "hosts" in line or "/home" in line], lines)
        for folder, folders, names in os.walk(kept):
            for name in folders + names:
                status = os.lstat(f"{folder}/{name}")
                self.assertEqual(status.st_uid, 0 if self.is_kept_by_root() else ORDINARY_UID)
                self.assertFalse(stat.S_IMODE(status.st_mode) & 0o6000)
        run = self.overlay(f"{self.workspace}-root", "true", "--keep-changes", kept, status=125)
        self.assertIn("is not empty", run.err, run)

    def is_kept_by_root(self):
        return is_root() or os.environ["SLUICE_E2E_WORLD"] != "root"

    def test_changes_are_not_kept_where_the_agent_can_write(self):
        run = self.overlay(self.small(), "true", "--keep-changes", f"{self.workspace}/kept",
                           status=125)  # fmt: skip
        self.assertIn("the place for changes", run.err, run)


if is_root():

    class OverlayOfTheMachine(OverlayCase):
        def setUp(self):
            super().setUp()
            with open("/proc/self/mounts") as file:
                kinds = [line.split()[2] for line in file if line.split()[1] == "/"]
            if kinds[-1] == "overlay":
                self.skipTest("the machine's root is an overlay, which cannot map owners")

        def test_its_root_can_be_written_and_stays_as_it_was(self):
            script = """
                id -u; echo x >/etc/sluice-test-new && echo x >/usr/bin/sluice-test-new && rm -r /usr/lib/apt
                useradd=$(command -v useradd) && $useradd -r sluice-test-user && id -u sluice-test-user
                mkdir -p /srv/x /var/log/x && echo made
            """
            run = self.overlay("host", script)
            self.assertEqual(run.out.split()[0], "0", run)
            self.assertEqual(run.out.split()[-1], "made", run)
            self.assertIn("the agent is root in an overlay of the machine's root", run.err, run)
            self.assertTrue(os.path.isdir("/usr/lib/apt"))
            for path in ("/etc/sluice-test-new", "/usr/bin/sluice-test-new", "/srv/x", "/var/log/x"):
                self.assertFalse(os.path.exists(path), path)
            with open("/etc/passwd") as file:
                self.assertNotIn("sluice-test-user", file.read())

        def test_root_becomes_any_user_of_the_machine_as_install_scripts_do(self):
            script = "su -s /bin/sh daemon -c 'id -un'; pwck -qr; grpck -r"
            run = self.overlay("host", script, status=None)
            self.assertEqual(run.out.splitlines()[0], "daemon", run)
            self.assertNotIn("no matching", run.out + run.err)

        def test_root_makes_a_user_with_a_home_of_its_own(self):
            script = "useradd -m sluice-bob && su sluice-bob -c 'cd && pwd && echo x >file && cat file'"
            run = self.overlay("host", f"PATH=/usr/sbin:$PATH\n{script}")
            self.assertEqual(run.out.split(), ["/home/sluice-bob", "x"], run)

        def test_what_the_machine_keeps_from_other_users_is_kept_from_it(self):
            """Being root there must not read /etc/shadow, host keys, logs or databases."""
            run = self.overlay("host", """
                find /etc /opt /usr/local /var/lib /var/cache -xdev -type f ! -perm -o=r -size +0
                find /etc /opt /usr/local /var/lib /var/cache -xdev -mindepth 1 -type d \
                    ! -perm -o=rx ! -empty
                ls -A /var/log /mnt /root /srv; echo; cat /etc/shadow""", status=None)
            listed, _, shadow = run.out.rpartition("\n\n")
            self.assertEqual(sorted(listed.split()), ["/mnt:", "/root:", "/srv:", "/var/log:"], run)
            self.assertEqual({line.partition(":")[2] for line in shadow.split()}, {"*:19000:0:99999:7:::"}, run)
            with open("/etc/shadow") as file:
                self.assertNotEqual(file.read().strip(), shadow.strip())
            run = self.overlay("host", f"cat {self.policy_file} {world.BASE}/tls/ca.key", status=1)
            self.assertEqual(run.out, "", run)


class PackageInstalls(OverlayCase):
    def setUp(self):
        super().setUp()
        if not all(shutil.which(name) for name in ("dpkg-deb", "apt-get")):
            self.skipTest("dpkg and apt are not installed")

    def archive(self):
        """An archive of one package at http://allowed.test/site/apt, which O serves."""
        folder = f"{world.BASE}/site/apt"
        if os.path.exists(folder):
            return
        package = f"{world.BASE}/package"
        os.makedirs(f"{package}/DEBIAN")
        os.makedirs(f"{package}/usr/bin")
        os.makedirs(folder)
        with open(f"{package}/DEBIAN/control", "w") as file:
            file.write("Package: greeter\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@a.test>\n"
                       "Description: greets\n")  # fmt: skip
        with open(f"{package}/DEBIAN/postinst", "w") as file:
            file.write("#!/bin/sh\nset -e\necho configured >/etc/greeter\n"
                       "chown 33:33 /etc/greeter\n")  # fmt: skip
        with open(f"{package}/usr/bin/greeter", "w") as file:
            file.write("#!/bin/sh\necho greetings\n")
        for name in ("DEBIAN/postinst", "usr/bin/greeter"):
            os.chmod(f"{package}/{name}", 0o755)
        deb = f"{folder}/greeter_1.0_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", package, deb], check=True,
                       capture_output=True, timeout=60)  # fmt: skip
        with open(deb, "rb") as file:
            content = file.read()
        entry = (f"Package: greeter\nVersion: 1.0\nArchitecture: all\nMaintainer: a <a@a.test>\n"
                 f"Filename: ./greeter_1.0_all.deb\nSize: {len(content)}\n"
                 f"SHA256: {hashlib.sha256(content).hexdigest()}\nDescription: greets\n\n")  # fmt: skip
        with open(f"{folder}/Packages", "w") as file:
            file.write(entry)

    def test_apt_get_install_works_through_the_policy(self):
        self.archive()
        root = self.small("packaging", fill_with_packaging)
        for host, works in (("allowed.test", True), ("other.test", False)):
            with open(f"{root}/etc/apt/sources.list", "w") as file:
                file.write(f"deb [trusted=yes] http://{host}/site/apt ./\n")
            script = """
                apt-get -q -o Acquire::Languages=none update && apt-get -q -y install greeter &&
                greeter && stat -c %u:%g /etc/greeter
            """
            run = self.overlay(root, script, status=None)
            with self.subTest(host):
                self.assertEqual(run.status == 0, works, run)
                self.assertEqual("greetings" in run.out, works, run)
                if works:
                    owner = "33:33" if is_root() else "0:0"
                    self.assertEqual(run.out.split()[-1], owner, run)
        self.assertFalse(os.path.exists(f"{root}/usr/bin/greeter"))
