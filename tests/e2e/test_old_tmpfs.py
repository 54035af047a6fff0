"""Overlays where the kernel's tmpfs has no user extended attributes (before Linux 6.6): root's lie in
memory all the same, an ordinary user's on disk, where their cap is watched."""

import json
import os
import shutil
import signal
import subprocess

import kernel
import roots
import test_learn_writes
import test_overlay
import test_sub_ids
import world
from agent import is_root
from leavings import Leavings

CAP_SYS_ADMIN = 21
BYTES = "dd if=/dev/zero of={} bs=1M count={} && echo written"


class OldTmpfs:
    """In front of a case: sluice's trial of the attributes fails, and all else is this kernel's."""

    def command(self, *arguments):
        wrapper = [world.PYTHON, "-B", f"{world.TESTS}/kernel_lacks.py", "user_xattrs", "--"]
        return [*wrapper, *super().command(*arguments)]

    def setUp(self):
        super().setUp()
        self.state = f"{self.home}/.local/state"

    def tearDown(self):
        try:
            self.assertEqual(self.layers(), [])
        finally:
            super().tearDown()

    def kill_sluice(self, process):
        """The process that was started became sluice: the wrappers exec."""
        process.kill()
        self.finish(process)

    def small(self, *arguments):
        """Anew where there is one: what an earlier run could have changed of it would be seen."""
        shutil.rmtree(f"{self.workspace}-root", True)
        return super().small(*arguments)

    def layers(self):
        """What runs have on disk, or left there."""
        folder = f"{self.state}/sluice/overlays"
        return os.listdir(folder) if os.path.exists(folder) else []


# What is true of every overlay is true of these.


class EveryOverlay(OldTmpfs, test_overlay.OverlayRoot):
    if not is_root():
        test_the_overlay_has_a_cap = None  # it is watched: OnDisk


class EveryInstall(OldTmpfs, test_overlay.PackageInstalls):
    pass


class EveryLesson(OldTmpfs, test_learn_writes.LearnWrites):
    pass


if is_root():

    class EveryOverlayOfTheMachine(OldTmpfs, test_overlay.OverlayOfTheMachine):
        pass


class OldCase(OldTmpfs, roots.OverlayCase):
    def options(self, *more):
        return ["--root", self.small(), "--root-mode", "overlay", *more]

    def dry_run(self, *more):
        return self.sluice(*self.run_line("true", options=self.options("--dry-run", *more)))

    def running(self, script, *more):
        """A run that has said its first line."""
        line = self.run_line("bash", "-c", script, options=self.options(*more))
        process = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.assertTrue(process.stdout.readline())
        return process

    def dry_run_again(self, options):
        return self.sluice(*self.run_line("true", options=[*options, "--dry-run", "--json"]))


class OnEitherLayer(OldCase):
    def test_nothing_on_the_layers_file_system_is_a_device_or_set_id(self):
        run = self.overlay(self.small(), "while read -r line; do set -- $line; "
                           '[ "$5" = / ] && echo $6; done </proc/self/mountinfo; true')  # fmt: skip
        for word in ("nosuid", "nodev", "rw"):
            self.assertIn(word, run.out.strip().split(","), run)

    def test_a_directory_in_the_place_of_one_that_was_removed_is_empty(self):
        """Where nothing remembers it, overlayfs cannot make one."""
        root = self.small()
        os.makedirs(f"{root}/srv/inner")
        self.give(f"{root}/srv")
        run = self.overlay(root, "rm -r /srv; mkdir /srv; ls -A /srv; touch /srv/x; mv /srv /moved; ls /moved")
        self.assertEqual(run.out, "x\n", run)

    def test_a_directory_that_was_replaced_is_told_as_replaced(self):
        root = self.small()
        os.makedirs(f"{root}/srv/inner")
        self.give(f"{root}/srv")
        kept = f"{self.home}/kept-{os.path.basename(self.workspace)}"
        self.addCleanup(shutil.rmtree, kept, True)
        self.overlay(root, "rm -r /srv; mkdir /srv; touch /srv/x", "--keep-changes", kept)
        with open(f"{kept}/changes.txt") as file:
            self.assertIn("replaced /srv", [" ".join(line.split()) for line in file])

    def test_a_step_that_fails_leaves_nothing(self):
        own = self.environment.get("XDG_RUNTIME_DIR")
        leavings = Leavings(f"{own}/sluice" if own else "/run/sluice/agents")
        marker = f"{self.workspace}/started"
        options = self.options()
        steps = json.loads(self.dry_run_again(options).out)["steps"]
        for step in ("descriptors", "host id", "namespaces", "root", "handover", "go", "capabilities"):
            self.assertIn(step, [one["name"] for one in steps])
            command = self.command(*self.run_line("touch", marker, options=options))
            command[command.index(f"{world.BIN}/sluice")] = f"{world.BIN}/failing_sluice"
            for manner in ("fail", "die"):
                self.environment |= {"SLUICE_TEST_STEP": step, "SLUICE_TEST_MANNER": manner}
                with self.subTest(f"{manner} at {step}"):
                    run = self.finish(self.start(command))
                    self.assertEqual(run.status, 125, run)
                    if manner == "fail":
                        self.assertIn(f"the sandbox failed at '{step}': a test made it fail", run.err)
                    self.assertFalse(os.path.exists(marker), run)
                    self.assertEqual(self.layers(), [], run)
                    self.assertEqual(leavings.left(), {}, run)


if is_root():

    class InMemory(OldCase):
        def test_it_is_said_who_mounts_it_and_that_its_cap_is_enforced(self):
            run = self.dry_run()
            self.assertIn("below a writable tmpfs of at most 2147483648 bytes, without setuid and "
                          "devices, by root of the machine", run.out)  # fmt: skip
            run = self.dry_run_again(["--root", f"{self.workspace}-root", "--root-mode", "overlay"])
            self.assertEqual(run.json()["root"], {
                "source": f"{self.workspace}-root", "mode": "overlay", "bytes": 2147483648,
                "cap": "enforced", "directory": None})  # fmt: skip
            self.assertNotIn("watched", run.err)

        def test_the_process_that_mounts_is_gone_before_the_agent_runs(self):
            process = self.running("echo on; read line")
            mighty = {}
            for pid in set(world.processes()) - self._before:
                try:
                    with open(f"/proc/{pid}/status") as file:
                        fields = dict(line.split(":", 1) for line in file)
                    is_ours = os.readlink(f"/proc/{pid}/ns/user") == os.readlink("/proc/self/ns/user")
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has ended
                may_mount = int(fields["CapEff"], 16) & 1 << CAP_SYS_ADMIN
                if is_ours and may_mount and fields["Uid"].split()[0] != "0":
                    mighty[pid] = fields
            self.assertEqual(self.finish(process, stdin=b"\n").status, 0)
            self.assertEqual(mighty, {})


class OnDisk(OldCase):
    def setUp(self):
        super().setUp()
        if is_root():
            self.skipTest("root's overlays lie in memory")

    def test_that_its_cap_is_watched_is_said_by_the_run_and_by_a_dry_run(self):
        said = "the overlay's cap of 2048 MiB is watched, not enforced"
        place = f"{self.state}/sluice/overlays"
        run = self.overlay(self.small(), "true")
        self.assertIn(f"this kernel has no tmpfs with user extended attributes (Linux 6.6): what "
                      f"it writes lies in '{place}', and {said}", run.err)  # fmt: skip
        options = ["--root", f"{self.workspace}-root", "--root-mode", "overlay", "--dry-run"]
        run = self.sluice(*self.run_line("true", options=options))
        self.assertIn(said, run.err, run)
        self.assertIn(f"below a writable directory in {place}, gone at the end, without setuid and "
                      "devices; its cap of 2147483648 bytes is watched, not enforced", run.out)  # fmt: skip
        run = self.sluice(*self.run_line("true", options=[*options, "--json"]))
        self.assertEqual(run.json()["root"], {
            "source": f"{self.workspace}-root", "mode": "overlay", "bytes": 2147483648,
            "cap": "watched", "directory": place})  # fmt: skip

    def test_an_agent_beyond_the_cap_is_ended_with_a_sentence(self):
        run = self.overlay(self.small(), "dd if=/dev/zero of=/big bs=1M count=40; sleep 1000",
                           "--tmpfs", "/:8MiB", status=137)  # fmt: skip
        self.assertIn("the agent was ended: the overlay holds more than its cap of 8 MiB", run.err)
        self.assertNotIn("No space left", run.err)

    def test_another_agent_that_sees_its_place_cannot_enter_it(self):
        """With another XDG_STATE_HOME the directory is one like any other, and not masked."""
        elsewhere = f"{self.home}/elsewhere-{os.path.basename(self.workspace)}"
        os.makedirs(elsewhere)
        self.own(elsewhere)
        self.addCleanup(shutil.rmtree, elsewhere, True)
        self.environment["XDG_STATE_HOME"] = elsewhere
        process = self.running("echo secret >/secret; echo up; read")
        del self.environment["XDG_STATE_HOME"]
        layer = f"{elsewhere}/sluice/overlays/run-*"
        script = f"for one in {layer}; do echo $one; cat $one/upper/secret; ls $one/upper; done"
        run = self.sluice("run", "--agent", "coder-2", "--bind", f"{elsewhere}:ro", "--", "sh", "-c", script)
        self.assertRegex(run.out, rf"\A{elsewhere}/sluice/overlays/run-\w+\n\Z", run)
        self.assertEqual(run.err.count("Permission denied"), 2, run)
        self.finish(process)  # which closes what it reads
        self.assertEqual(os.listdir(f"{elsewhere}/sluice/overlays"), [])

    def test_what_it_closed_to_its_owner_counts(self):
        run = self.overlay(self.small(), "mkdir /d; exec 3>/d/f; chmod 0 /d /d/f; "
                           "dd if=/dev/zero bs=1M count=40 >&3; sleep 1000",
                           "--tmpfs", "/:8MiB", status=137)  # fmt: skip
        self.assertIn("more than its cap of 8 MiB", run.err)

    def test_it_holds_as_many_files_as_a_memory_of_that_size(self):
        run = self.overlay(self.small(), "mkdir /d; for i in {1..2100}; do >/d/$i; done; sleep 1000",
                           "--tmpfs", "/:8MiB", status=137)  # fmt: skip
        self.assertIn("more than the 2048 files and directories of its cap", run.err)

    def test_directories_too_deep_to_be_watched_end_it_and_are_removed(self):
        run = self.overlay(self.small(), """
            cd /; for i in {1..300}; do mkdir d; cd d; done; chmod 0 /d; sleep 1000""", status=137)
        self.assertIn("directories that cannot be watched, more than 200 deep", run.err, run)

    def test_below_its_cap_it_ends_as_it_would(self):
        run = self.overlay(self.small(), BYTES.format("/big", 5) + "; exit 7", "--tmpfs", "/:8MiB",
                           status=7)  # fmt: skip
        self.assertIn("written", run.out, run)

    def test_a_detached_runs_is_gone_when_it_is_told_as_ended(self):
        run = self.sluice(*self.run_line("bash", "-c", "echo x >/x; chmod 0 /x; mkdir -m 0 /d",
                                         options=self.options("--detach")))  # fmt: skip
        self.assertEqual(run.status, 0, run)
        self.assertEqual(self.sluice("logs", "coder-1", "-f").status, 0)
        self.assertEqual(self.layers(), [])

    def test_what_a_killed_run_left_is_removed_by_the_next(self):
        process = self.running("mkdir -p /d/e; echo x >/d/e/f; chmod 0 /d/e /d; echo on; read line")
        self.assertEqual(len(self.layers()), 1)
        self.kill_sluice(process)
        self.assertEqual(len(self.layers()), 1)
        other = self.running("echo on; read line")
        self.assertEqual(len(self.layers()), 1)  # its own
        self.assertEqual(self.finish(other, stdin=b"\n").status, 0)

    def test_an_agent_that_nobody_watches_any_more_is_ended(self):
        process = self.running("echo on; sleep 1000")
        watches = [pid for pid in set(world.processes()) - self._before if self.is_watch(pid)]
        self.assertEqual(len(watches), 1)
        os.kill(watches[0], signal.SIGKILL)
        run = self.finish(process)
        self.assertEqual(run.status, 137, run)
        self.assertIn("the agent was ended: what watches its overlay died", run.err)

    def is_watch(self, pid):
        """Beside the standard ones it has two descriptors: the layer and the supervisor's pipe."""
        try:
            found = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except (PermissionError, FileNotFoundError, ProcessLookupError):
            return False  # a process of the sandbox, seen by an ordinary user; or it closed one, or ends
        return len(found) == 5 and any(path.endswith("/upper") for path in found)

    def test_no_bind_shows_where_it_lies(self):
        place = f"{self.state}/sluice/overlays"
        os.makedirs(place, 0o700, exist_ok=True)
        for folder in (f"{self.home}/.local", self.state, f"{self.state}/sluice", place):
            self.own(folder)
        run = self.overlay(self.small(), "true", "--bind", f"{place}:rw", status=125)
        self.assertIn("the place of overlays", run.err)

    def cover(self, kind, data=""):
        """Another file system as $XDG_STATE_HOME: only root can make it the ordinary user's."""
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            self.skipTest("the tests run as an ordinary user: only root can give one a file system")
        path = f"{self.home}/state-{kind}"
        os.makedirs(path, exist_ok=True)
        kernel.mount(kind, path, kind, kernel.MS_NOSUID | kernel.MS_NODEV, data)
        self.addCleanup(subprocess.run, ["umount", path], check=True, timeout=60)
        self.own(path)
        self.environment["XDG_STATE_HOME"] = self.state = path
        return path

    def cover_with_attributes(self, data):
        if not roots.has_user_xattrs(self.cover("tmpfs", data)):
            self.skipTest("this kernel has no small file system in memory with user extended attributes")

    def test_a_file_system_without_attributes_is_refused_with_what_to_do(self):
        self.cover("ramfs")
        run = self.overlay(self.small(), "true", status=125)
        self.assertIn("cannot hold an overlay's changes", run.err)
        self.assertIn("XDG_STATE_HOME name a directory on ext4, xfs or btrfs", run.err)

    def test_a_file_system_without_room_is_refused(self):
        self.cover_with_attributes("size=100m")
        run = self.overlay(self.small(), "true", status=125)
        self.assertIn("MiB left, and 256 are kept free", run.err)

    def test_an_agent_that_takes_the_last_room_is_ended_also_by_what_has_no_name(self):
        self.cover_with_attributes("size=300m")
        for script in (BYTES.format("/big", 60), "exec 3>/big; rm /big; dd if=/dev/zero bs=1M count=60 >&3"):
            with self.subTest(script):
                run = self.overlay(self.small(), f"{script}; sleep 1000", status=137)
                self.assertIn("MiB left, and 256 are kept free", run.err)


class WithSubIds(OldTmpfs, test_sub_ids.Ids):
    def test_closed_directories_of_other_ids_are_counted_and_removed(self):
        script = "mkdir -p /d/e; exec 3>/d/e/f; chmod 0 /d/e/f /d/e /d; chown -R 33:44 /d; "
        run = self.overlay(self.small(), script + "true")
        self.assertEqual(self.layers(), [], run)
        run = self.overlay(self.small(), script + "dd if=/dev/zero bs=1M count=40 >&3; sleep 1000",
                           "--tmpfs", "/:8MiB", status=137)  # fmt: skip
        self.assertIn("more than its cap of 8 MiB", run.err)

    def test_what_a_killed_run_of_theirs_left_is_removed_by_the_next(self):
        line = self.run_line("bash", "-c", "mkdir -m 700 /d; touch /d/f; chown -R 33 /d; echo on; read x",
                             options=["--root", self.small(), "--root-mode", "overlay"])  # fmt: skip
        process = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.assertEqual(process.stdout.readline(), b"on\n")
        self.kill_sluice(process)
        self.assertEqual(len(self.layers()), 1)
        self.overlay(self.small(), "true")
