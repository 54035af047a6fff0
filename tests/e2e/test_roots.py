"""`sluice run --root` and `sluice root`: what '/' is, who may write to it, and what is left of it."""

import hashlib
import io
import json
import os
import shutil
import socket
import stat
import subprocess
import tarfile

import small_root
import world
from agent import ORDINARY_UID, Case, as_ordinary, is_root

_made = {}


def made(kind, fill):
    """A directory that `fill` made once a run of this module."""
    if kind not in _made:
        path = f"{world.BASE}/made-{kind}"
        os.makedirs(path)
        fill(path)
        _made[kind] = path
    return _made[kind]


def fill_with_packaging(path):
    small_root.make(path)
    small_root.add_packaging(path)


class RootCase(Case):
    def setUp(self):
        super().setUp()
        self.data = f"{self.home}/data-{os.path.basename(self.workspace)}"
        os.makedirs(self.data)
        self.own(self.data)
        self.environment["XDG_DATA_HOME"] = self.data
        self.addCleanup(shutil.rmtree, self.data, True)

    def small(self, kind="small", fill=small_root.make):
        """A root of the caller's own beside the workspace."""
        path = f"{self.workspace}-root"
        shutil.copytree(made(kind, fill), path, symlinks=True)
        self.addCleanup(shutil.rmtree, path, True)
        self.give(path)
        return path

    def give(self, path):
        if is_root() or os.environ["SLUICE_E2E_WORLD"] != "root":
            return
        for folder, folders, names in os.walk(path):
            for name in [".", *folders, *names]:
                os.lchown(f"{folder}/{name}", ORDINARY_UID, ORDINARY_UID)

    def snapshot(self, path):
        """What find -ls would tell, and every byte."""
        found = {}
        for folder, folders, names in os.walk(path):
            for name in folders + names:
                full = f"{folder}/{name}"
                status = os.lstat(full)
                content = ""
                if stat.S_ISREG(status.st_mode):
                    with open(full, "rb") as file:
                        content = hashlib.sha256(file.read()).hexdigest()
                found[full] = (status.st_mode, status.st_uid, status.st_gid, content)
        return found

    def inside(self, root, script, *options, **keywords):
        return self.shell(script, options=["--root", root, *options], **keywords)

    def overlay(self, root, script, *options, **keywords):
        return self.inside(root, script, "--root-mode", "overlay", *options, **keywords)


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


def has_user_xattrs(folder):
    """Of its file system."""
    path = f"{folder}/xattr"
    with open(path, "w"):
        pass
    try:
        os.setxattr(path, "user.sluice", b"")
        return True
    except OSError:
        return False
    finally:
        os.unlink(path)


class OverlayCase(RootCase):
    def setUp(self):
        super().setUp()
        if not (is_root() or has_user_xattrs("/tmp") or has_user_xattrs(self.home)):
            self.skipTest("neither tmpfs nor the home directory has user extended attributes")


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
            run = self.overlay("host", script, timeout=60)
            self.assertEqual(run.out.split()[0], "0", run)
            self.assertEqual(run.out.split()[-1], "made", run)
            self.assertIn("the agent is root in an overlay of the machine's root", run.err, run)
            self.assertTrue(os.path.isdir("/usr/lib/apt"))
            for path in ("/etc/sluice-test-new", "/usr/bin/sluice-test-new", "/srv/x", "/var/log/x"):
                self.assertFalse(os.path.exists(path), path)
            with open("/etc/passwd") as file:
                self.assertNotIn("sluice-test-user", file.read())

        def test_what_the_machine_keeps_from_other_users_is_kept_from_it(self):
            """Being root there must not read /etc/shadow, host keys, logs or databases."""
            run = self.overlay("host", """
                find /etc /opt /usr/local /var/lib /var/cache -xdev -type f ! -perm -o=r -size +0
                find /etc /opt /usr/local /var/lib /var/cache -xdev -mindepth 1 -type d \
                    ! -perm -o=rx ! -empty
                ls -A /var/log /mnt /root /srv; echo; cat /etc/shadow""", timeout=60, status=None)
            listed, _, shadow = run.out.rpartition("\n\n")
            self.assertEqual(sorted(listed.split()), ["/mnt:", "/root:", "/srv:", "/var/log:"], run)
            self.assertEqual(shadow.strip(), "root:*:19000:0:99999:7:::", run)
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
                       capture_output=True, timeout=30)  # fmt: skip
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
            run = self.overlay(root, script, status=None, timeout=90)
            with self.subTest(host):
                self.assertEqual(run.status == 0, works, run)
                self.assertEqual("greetings" in run.out, works, run)
                if works:
                    owner = "33:33" if is_root() else "0:0"
                    self.assertEqual(run.out.split()[-1], owner, run)
        self.assertFalse(os.path.exists(f"{root}/usr/bin/greeter"))


class ImportedRoots(RootCase):
    def root_command(self, *arguments, status=0):
        run = self.sluice("root", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def archive_of(self, root, name="root.tar"):
        path = f"{self.workspace}-{name}"
        with tarfile.open(path, "w") as archive:
            archive.add(root, ".")
        self.own(path)
        self.addCleanup(os.unlink, path)
        return path

    def store(self):
        folder = f"{self.data}/sluice/roots"
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    def test_an_imported_archive_is_a_root_by_its_name(self):
        archive = self.archive_of(made("small", small_root.make))
        self.root_command("import", "mine", archive)
        self.assertEqual(self.root_command("list").out, "mine\n")
        listed = self.root_command("list", "--json").json()
        self.assertEqual([entry["name"] for entry in listed], ["mine"])
        self.assertIn("NAME=small", self.inside("mine", "cat /etc/os-release").out)
        run = self.overlay("mine", "id -u; echo x >/etc/x && cat /etc/x")
        self.assertEqual(run.out.split(), ["0", "x"], run)
        run = self.root_command("import", "mine", archive, status=2)
        self.assertIn("there is a root 'mine' already", run.err)
        run = self.inside("mein", "true", status=125)
        self.assertIn("imported are: mine", run.err, run)
        self.root_command("delete", "mine")
        self.assertEqual(self.root_command("list").out, "")
        self.assertEqual(self.store(), [])
        self.assertIn("there is no root 'mine'", self.root_command("delete", "mine", status=2).err)

    def test_an_imported_directory_is_a_copy(self):
        root = self.small()
        os.chmod(f"{root}/etc/passwd", 0o600)
        self.root_command("import", "copy", root)
        shutil.rmtree(root)
        self.assertIn("NAME=small", self.inside("copy", "cat /etc/os-release").out)

    def test_an_archive_comes_in_on_standard_input_and_compressed(self):
        archive = self.archive_of(made("small", small_root.make))
        with open(archive, "rb") as file:
            process = self.start(self.command("root", "import", "piped", "-"), stdin=file)
            self.assertEqual(self.finish(process).status, 0)
        subprocess.run(["gzip", "-k", archive], check=True, timeout=60)
        self.addCleanup(os.unlink, archive + ".gz")
        self.own(archive + ".gz")
        self.root_command("import", "zipped", archive + ".gz")
        self.assertEqual(self.store(), ["piped", "zipped"])

    def test_a_tar_writes_nowhere_but_into_its_root(self):
        """'..', absolute names, links out of it followed by files through them, TAR_OPTIONS."""
        outside = f"{self.home}/outside"
        os.makedirs(outside, exist_ok=True)
        self.own(outside)
        victim = self.write(f"{outside}/victim", "untouched\n")

        def entry(name, **fields):
            info = tarfile.TarInfo(name)
            for field, value in fields.items():
                setattr(info, field, value)
            return info

        hostile = {
            "dots": [(entry("usr/../../../../../../../.." + outside + "/left"), b"x")],
            "absolute": [(entry(outside + "/left"), b"x")],
            "link": [(entry("out", type=tarfile.SYMTYPE, linkname=outside), b""),
                     (entry("out/left"), b"x"), (entry("out/victim"), b"x")],
            "hardlink": [(entry("h", type=tarfile.LNKTYPE, linkname=victim), b""),
                         (entry("h"), b"overwritten")],
            "device": [(entry("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0), b"")],
        }  # fmt: skip
        self.environment["TAR_OPTIONS"] = "--absolute-names --keep-directory-symlink"
        for name, entries in hostile.items():
            path = f"{self.workspace}-{name}.tar"
            self.addCleanup(os.unlink, path)
            with tarfile.open(path, "w") as archive:
                archive.addfile(entry("usr", type=tarfile.DIRTYPE, mode=0o755))
                for info, content in entries:
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            self.own(path)
            with self.subTest(name):
                run = self.sluice("root", "import", name, path)
                self.assertEqual(os.listdir(outside), ["victim"], run)
                with open(victim) as file:
                    self.assertEqual(file.read(), "untouched\n", run)
                if name in ("dots", "device", "hardlink"):
                    self.assertEqual(run.status, 2, run)
                    self.assertIn("nothing was imported", run.err)
                    self.assertNotIn(name, self.store())

    def test_a_broken_archive_leaves_nothing(self):
        whole = self.archive_of(made("small", small_root.make))
        with open(whole, "rb") as file:
            half = file.read(os.path.getsize(whole) // 2)
        cut = f"{self.workspace}-cut.tar"
        with open(cut, "wb") as file:
            file.write(half)
        self.own(cut)
        self.addCleanup(os.unlink, cut)
        empty = self.archive_of(self.workspace, "no-root.tar")
        for path, sentence in ((cut, "nothing was imported"), (empty, "there is no /usr and no /bin"),
                               ("/nowhere.tar", "cannot find")):  # fmt: skip
            run = self.root_command("import", "broken", path, status=2)
            self.assertIn(sentence, run.err, run)
            self.assertEqual(self.store(), [])

    def test_an_import_that_was_killed_is_cleared_away_by_the_next(self):
        reader, writer = os.pipe()
        process = self.start(self.command("root", "import", "cut", "-"), stdin=reader)
        os.close(reader)
        os.write(writer, b"\0")
        folder = f"{self.data}/sluice/roots"
        while process.poll() is None and not (os.path.exists(folder) and os.listdir(folder)):
            pass
        process.kill()
        self.finish(process)
        os.close(writer)
        self.assertEqual(len(self.store()), 1)
        self.assertEqual(self.root_command("list").out, "")
        self.root_command("import", "whole", self.archive_of(made("small", small_root.make)))
        self.assertEqual(self.store(), ["whole"])

    def test_a_root_in_use_is_not_deleted(self):
        self.root_command("import", "busy", self.archive_of(made("small", small_root.make)))
        line = self.run_line("bash", "-c", "echo on; read line", options=["--root", "busy"])
        process = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"on\n")
        self.assertIn("the root 'busy' is in use", self.root_command("delete", "busy", status=2).err)
        self.assertEqual(self.finish(process, stdin=b"\n").status, 0)
        self.root_command("delete", "busy")

    def test_names_and_places_that_are_none_are_refused(self):
        archive = self.archive_of(made("small", small_root.make))
        for name in ("host", "../up", ".hidden", "a/b", "", "x" * 64):
            with self.subTest(name):
                self.root_command("import", name, archive, status=2)
        os.makedirs(f"{self.data}/sluice/roots")
        for folder in (f"{self.data}/sluice", f"{self.data}/sluice/roots"):
            self.own(folder)
        os.chmod(f"{self.data}/sluice/roots", 0o777)
        run = self.root_command("import", "mine", archive, status=2)
        self.assertIn("can be written by somebody else", run.err, run)
        run = self.run_agent("true", options=["--workspace", f"{self.data}/sluice"], status=125)
        self.assertIn("the place of imported roots", run.err, run)
