"""An ordinary user with a range in /etc/subuid: his overlay's agent is root of 65536 real ids."""

import io
import os
import shutil
import stat
import subprocess
import tarfile

import kernel
import small_root
import test_overlay
import world
from agent import ORDINARY_UID, is_root
from roots import OverlayCase, fill_with_packaging, made
from test_exec_log import read_lines
from test_overlay_log import fill_with_python

FIRST_UID = 300000
FIRST_GID = 400000
PROGRAMS = ("/usr/bin/newuidmap", "/usr/bin/newgidmap")
COVERED = {
    "/etc/passwd": f"root:x:0:0::/root:/bin/bash\nordinary:x:{ORDINARY_UID}:{ORDINARY_UID}::/home/agent:/bin/bash\n",
    "/etc/subuid": f"other:100000:65536\nordinary:{FIRST_UID}:65536\n",
    "/etc/subgid": f"other:100000:65536\n{ORDINARY_UID}:{FIRST_GID}:65536\n",
}  # fmt: skip


def cover(path, text, mode=0o644):
    """In the world only: nothing of the machine's own is changed. Undone by uncover()."""
    own = f"{world.BASE}/covers-{os.path.basename(path)}"
    with open(own, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    os.chmod(own, mode)
    kernel.mount(own, path, "", kernel.MS_BIND)


def uncover(path):
    subprocess.run(["umount", path], check=True, timeout=60)


def host_id(first, inside):
    return ORDINARY_UID if inside == 0 else first + inside - 1


class SubIdsCase(OverlayCase):
    def setUp(self):
        super().setUp()
        if is_root():
            self.skipTest("root's agents have a range of their own")
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            self.skipTest("only root can give an ordinary user a range of ids")
        if not all(os.path.exists(path) for path in (*PROGRAMS, *COVERED)):
            self.skipTest("newuidmap and newgidmap are not installed (package uidmap)")
        for path, text in COVERED.items():
            cover(path, text)
            self.addCleanup(uncover, path)

    def with_python(self):
        return self.small("python", fill_with_python)

    def root_command(self, *arguments, status=0):
        run = self.sluice("root", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def archive(self, *members, name="owned"):
        """The small root with `members`: (name, uid, mode)."""
        path = f"{self.workspace}-{name}.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(made("small", small_root.make), ".", filter=self.of_root)
            for name, uid, mode in members:
                info = tarfile.TarInfo(name)
                info.uid, info.gid, info.mode = uid, uid, mode
                info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
                archive.addfile(info, io.BytesIO())
        self.own(path)
        self.addCleanup(os.unlink, path)
        return path

    def of_root(self, info):
        info.uid = info.gid = 0
        return info

    def stored(self, *names):
        return "/".join([f"{self.data}/sluice/roots", *names])

    def owner(self, path):
        status = os.lstat(path)
        return (status.st_uid, status.st_gid)


class Ids(SubIdsCase):
    def test_chown_setgroups_and_setuid_are_made_and_not_only_answered(self):
        script = """
import os
open('/f', 'w').close(); os.chown('/f', 33, 44)
print(os.stat('/f').st_uid, os.stat('/f').st_gid)
print(open('/proc/self/uid_map').read().split())
os.setgroups([5, 6]); os.setresgid(44, 44, 44); os.setresuid(65535, 65535, 65535)
print(os.getresuid(), os.getgroups())
try: os.setuid(0)
except PermissionError: print('no way back')
"""
        run = self.run_agent("python3", "-c", script, options=["--root", self.with_python(),
                                                               "--root-mode", "overlay"])  # fmt: skip
        self.assertEqual(run.out.splitlines(), [
            "33 44", "['0', '0', '1', '1', '1', '65535']", "(65535, 65535, 65535) [5, 6]",
            "no way back"], run)  # fmt: skip
        self.assertNotIn("single id", run.err)

    def test_the_workspace_stays_the_callers_and_no_file_in_it_is_root_s_of_the_machine(self):
        self.write(f"{self.workspace}/mine", "")
        self.overlay(self.small(), """
            [ $(stat -c %u:%g mine) = 0:0 ] || exit 3
            touch made; mkdir dir; touch other; chown 33:44 other; echo changed >mine; chmod 4755 made""")
        for name in ("mine", "made", "dir"):
            self.assertEqual(self.owner(f"{self.workspace}/{name}"), (ORDINARY_UID, ORDINARY_UID))
        self.assertEqual(self.owner(f"{self.workspace}/other"), (host_id(FIRST_UID, 33), host_id(FIRST_GID, 44)))
        self.assertEqual(stat.S_IMODE(os.stat(f"{self.workspace}/made").st_mode), 0o755)

    def test_no_id_of_the_machine_but_the_callers_own_is_mapped(self):
        line = self.run_line("bash", "-c", "echo $$; read line",
                             options=["--root", self.small(), "--root-mode", "overlay"])  # fmt: skip
        process = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"2\n")
        maps = set()
        for pid in set(world.processes()) - self._before:
            with open(f"/proc/{pid}/uid_map") as file:
                maps.add(tuple(file.read().split()))
        self.assertIn(("0", str(ORDINARY_UID), "1", "1", str(FIRST_UID), "65535"), maps)
        self.assertEqual(self.finish(process, stdin=b"\n").status, 0)

    def test_programs_of_other_ids_are_logged_with_their_arguments(self):
        audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"
        script = "import os; os.setresuid(33, 33, 33); os.execv('/usr/bin/true', ['true', 'as 33'])"
        self.run_agent("python3", "-c", script, options=[
            "--root", self.with_python(), "--root-mode", "overlay", "--audit", audit])  # fmt: skip
        lines = [line for line in read_lines(audit) if line["via"] == "exec"]
        self.assertEqual([(line["argv"][-1], line["error"]) for line in lines],
                         [(script, ""), ("as 33", "")])  # fmt: skip

    def test_what_other_ids_wrote_is_kept_for_the_caller(self):
        kept = f"{self.home}/kept-{os.path.basename(self.workspace)}"
        self.addCleanup(shutil.rmtree, kept, True)
        self.overlay(self.small(), "mkdir -m 700 /srv; echo secret >/srv/f; chmod 600 /srv/f; chown 33 /srv/f /srv",
                     "--keep-changes", kept)  # fmt: skip
        with open(f"{kept}/files/srv/f") as file:
            self.assertEqual(file.read(), "secret\n")
        for folder, folders, names in os.walk(kept):
            for name in [".", *folders, *names]:
                self.assertEqual(self.owner(f"{folder}/{name}"), (ORDINARY_UID, ORDINARY_UID))

    def test_where_newuidmap_refuses_nothing_starts(self):
        with open("/bin/false", "rb") as file:
            cover(PROGRAMS[0], file.read(), 0o4755)
        self.addCleanup(uncover, PROGRAMS[0])
        run = self.overlay(self.small(), "true", status=125)
        self.assertIn("cannot map a range of ids", run.err, run)

    def test_where_newuidmap_has_no_rights_there_is_a_single_id_as_before(self):
        with open(PROGRAMS[0], "rb") as file:
            cover(PROGRAMS[0], file.read(), 0o755)
        self.addCleanup(uncover, PROGRAMS[0])
        run = self.overlay(self.small(), "touch /f; chown 33:44 /f && stat -c %u:%g /f")
        self.assertEqual(run.out, "0:0\n")
        self.assertIn("with a single id", run.err)
        found = {one["name"]: one for one in self.sluice("doctor", "--json").json()}
        self.assertIn("chmod u+s", found["subordinate ids"]["mend"])

    def test_doctor_says_that_they_are_there_and_else_what_mends_it(self):
        found = {one["name"]: one for one in self.sluice("doctor", "--json").json()}
        self.assertEqual(found["subordinate ids"]["state"], "ok", found)
        cover("/etc/subgid", f"ordinary:{FIRST_GID}:1000\n")
        self.addCleanup(uncover, "/etc/subgid")
        found = {one["name"]: one for one in self.sluice("doctor", "--json").json()}
        self.assertEqual(found["subordinate ids"]["state"], "limited", found)
        self.assertIn("usermod --add-subuids", found["subordinate ids"]["mend"])


class Imports(SubIdsCase):
    def test_an_import_keeps_owners_and_can_be_deleted_again(self):
        archive = self.archive(("./srv/", 33, 0o700), ("./srv/secret", 33, 0o600),
                               ("./srv/last", 65535, 0o4600))  # fmt: skip
        self.root_command("import", "owned", archive)
        self.assertEqual(self.owner(self.stored("owned", "srv/secret")), (FIRST_UID + 32, FIRST_GID + 32))
        self.assertEqual(self.owner(self.stored("owned", "etc")), (ORDINARY_UID, ORDINARY_UID))
        run = self.overlay("owned", "cd /srv; stat -c %u:%g secret last /etc; cat secret; echo x >secret && echo written")
        self.assertEqual(run.out.split(), ["33:33", "65535:65535", "0:0", "written"], run)
        self.root_command("delete", "owned")
        self.assertEqual(os.listdir(self.stored()), [])

    def test_an_archive_whose_top_is_somebody_elses_can_be_used_all_the_same(self):
        path = f"{self.workspace}-top.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(made("small", small_root.make), ".", filter=self.of_root)
            top = tarfile.TarInfo(".")
            top.type, top.uid, top.gid, top.mode = tarfile.DIRTYPE, 77, 77, 0o700
            archive.addfile(top)
        self.own(path)
        self.addCleanup(os.unlink, path)
        self.root_command("import", "top", path)
        self.assertEqual(self.owner(self.stored("top")), (ORDINARY_UID, ORDINARY_UID))
        self.assertIn("NAME=small", self.overlay("top", "cat /etc/os-release").out)

    def test_what_is_the_callers_in_a_directory_is_roots_in_the_root(self):
        self.root_command("import", "copy", self.small())
        self.assertEqual(self.overlay("copy", "stat -c %u:%g /etc /usr/bin/id").out.split(), ["0:0"] * 2)

    def test_an_owner_beyond_the_range_is_refused_and_a_failure_leaves_nothing(self):
        archive = self.archive(("./srv/", 33, 0o700), ("./srv/x", 33, 0o600), ("./far", 70000, 0o644))
        run = self.root_command("import", "far", archive, status=2)
        self.assertIn("nothing was imported", run.err)
        self.assertEqual(os.listdir(self.stored()), [])

    def test_tar_writes_nowhere_else_as_any_of_the_ids(self):
        """It has the rights of all of them, over what is writable for it: the new root."""
        outside = f"{self.home}/outside-{os.path.basename(self.workspace)}"
        os.makedirs(outside)
        self.own(outside)
        self.addCleanup(shutil.rmtree, outside, True)
        path = f"{self.workspace}-link.tar"
        with tarfile.open(path, "w") as archive:
            archive.add(made("small", small_root.make), ".", filter=self.of_root)
            link = tarfile.TarInfo("out")
            link.type, link.linkname = tarfile.SYMTYPE, outside
            archive.addfile(link)
            archive.addfile(tarfile.TarInfo("out/left"), io.BytesIO())
        self.own(path)
        self.addCleanup(os.unlink, path)
        self.sluice("root", "import", "link", path)
        self.assertEqual(os.listdir(outside), [])


class Packages(SubIdsCase):
    archive = test_overlay.PackageInstalls.archive

    def test_apt_becomes_its_own_user_and_packages_own_their_files(self):
        if not all(shutil.which(name) for name in ("dpkg-deb", "apt-get")):
            self.skipTest("dpkg and apt are not installed")
        self.archive()
        root = self.small("packaging", fill_with_packaging)
        with open(f"{root}/etc/apt/sources.list", "w") as file:
            file.write("deb [trusted=yes] http://allowed.test/site/apt ./\n")
        run = self.overlay(root, """
            echo _apt:x:100:65534::/nonexistent:/bin/false >>/etc/passwd
            chown 100 /var/lib/apt/lists/partial /var/cache/apt/archives/partial
            apt-config dump | grep APT::Sandbox::User
            apt-get -q -o Acquire::Languages=none update && apt-get -q -y install greeter &&
            greeter && stat -c %u:%g /etc/greeter""", status=None)  # fmt: skip
        self.assertEqual(run.out.split()[-2:], ["greetings", "33:33"], run)
        self.assertNotIn('APT::Sandbox::User "root"', run.out)
