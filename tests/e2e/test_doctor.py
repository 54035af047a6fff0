"""What `sluice doctor` says of a machine, and that `sluice run` keeps its word."""

import os
import shutil
import tempfile

import world
from agent import ORDINARY_UID, Case, as_ordinary, is_root

NAMES = [
    "kernel",
    "user namespaces",
    "sandbox",
    "network",
    "seccomp",
    "sluiced",
    "IPv6",
    "idmapped mounts",
    "Landlock",
    "seccomp notices",
    "cgroups",
    "subordinate ids",
    "overlays",
    "vsock",
]
AT_MOST = 60  # seconds; it takes 0.1


class DoctorCase(Case):
    def diagnose(self, status=0, command=None):
        """The findings by name."""
        line = [*(command or self.command("doctor")), "--json"]
        run = self.finish(self.start(line))
        self.assertEqual(run.status, status, run)
        self.assertEqual(run.err, "")
        self.assertLess(run.seconds, AT_MOST)
        found = run.json()
        self.assertEqual([finding["name"] for finding in found], NAMES)
        for finding in found:
            self.assertEqual(list(finding), ["name", "state", "means", "mend"])
            self.assertIn(finding["state"], ("ok", "limited", "missing", "unknown"))
            self.assertNotEqual(finding["means"], "")
        return {finding["name"]: finding for finding in found}

    def assert_missing(self, name, mend):
        """Doctor says that `name` is missing and what mends it, and a run ends with this stderr."""
        found = self.diagnose(1)
        self.assertEqual(found[name]["state"], "missing", found)
        self.assertIn(mend, found[name]["mend"])
        last = self.sluice("doctor").out.splitlines()[-1]
        self.assertEqual(last, f"'sluice run' does not work here: {name}")
        return self.run_agent("true", status=125).err


class Doctor(DoctorCase):
    def test_where_sluice_run_works_it_says_so_with_status_0(self):
        found = self.diagnose()
        required = ("kernel", "user namespaces", "sandbox", "network", "seccomp", "sluiced")
        self.assertEqual({found[name]["state"] for name in required}, {"ok"}, found)
        self.run_agent("true")

    def test_the_table_has_a_line_for_each_finding_and_its_mend_below(self):
        found = self.diagnose()
        lines = self.sluice("doctor").out.splitlines()
        self.assertEqual(lines[-2:], ["", "'sluice run' works here"])
        expected = []
        for finding in found.values():
            expected.append(f"{finding['name']:<15}  {finding['state']:<7}  {finding['means']}")
            if finding["mend"]:
                expected.append(f"{'':26}mend: {finding['mend']}")
        self.assertEqual(lines[:-2], expected)

    def test_it_leaves_nothing_behind(self):
        before = set(world.processes())
        mounts = open("/proc/self/mounts").read()
        self.diagnose()
        self.assertEqual(set(world.processes()) - before, set())
        self.assertEqual(open("/proc/self/mounts").read(), mounts)
        self.assert_nothing_left()

    def test_a_usage_error_is_2(self):
        self.assertEqual(self.sluice("doctor", "--jsn").status, 2)

    def test_without_a_sluiced_neither_works(self):
        with tempfile.TemporaryDirectory(dir="/home") as alone:
            os.chmod(alone, 0o755)
            program = shutil.copy(f"{world.BIN}/sluice", alone)
            line = [program, "doctor"] if is_root() else as_ordinary(program, "doctor")
            found = self.diagnose(1, line)
        self.assertEqual(found["sluiced"]["state"], "missing")
        self.assertEqual(found["sluiced"]["mend"], "install sluiced beside sluice")


class Lacking(DoctorCase):
    """A kernel that lacks something that `sluice run` can do without."""

    lacking = ""

    def command(self, *arguments):
        wrapper = [world.PYTHON, "-B", f"{world.TESTS}/kernel_lacks.py", self.lacking, "--"]
        line = [*wrapper, f"{world.BIN}/sluice", *arguments]
        return line if is_root() else as_ordinary(*line)


class WithoutNfTables(Lacking):
    lacking = "nf_tables"

    def test_the_policys_ports_work_and_the_modules_to_load_are_named(self):
        found = self.diagnose()
        self.assertEqual(found["network"]["state"], "limited")
        self.assertIn("works with the ports that the policy names", found["network"]["means"])
        self.assertTrue(found["network"]["mend"].startswith("modprobe -a nf_tables "), found)
        self.run_agent("true")


class WithoutIpv6(Lacking):
    lacking = "ipv6"

    def test_agents_have_ipv4_alone(self):
        self.assertEqual(self.diagnose()["IPv6"]["state"], "limited")
        self.run_agent("true")


class Container(DoctorCase):
    """A /proc as container engines leave it: what doctor foretells is what befalls `sluice run`."""

    change = ""
    mend = "--security-opt systempaths=unconfined"

    def command(self, *arguments):
        line = super().command(*arguments)
        return ["unshare", "--mount", "sh", "-c", f'{self.change} && exec "$@"', "sh", *line]


class WithAReadOnlyProc(Container):
    change = "mount -o remount,bind,ro /proc"

    def test_no_user_namespace_can_be_given_an_id(self):
        said = self.assert_missing("user namespaces", self.mend)
        self.assertIn("Read-only file system", said)


class WithACoveredPartOfProc(Container):
    change = "mount -t tmpfs none /proc/irq"

    def test_no_agent_can_have_a_proc_of_its_own(self):
        self.assertIn(self.mend, self.assert_missing("sandbox", self.mend))


class WithoutSys(Container):
    change = "mount -t tmpfs none /sys"

    def test_it_works_all_the_same(self):
        self.diagnose()
        self.run_agent("true")


class InAUserNamespace(DoctorCase):
    """Root of one has no other ids to give; for an ordinary user its settings forbid another."""

    def command(self, *arguments):
        program = [f"{world.BIN}/sluice", *arguments]
        if is_root():
            return ["unshare", "--user", "--map-root-user", *program]
        ids = [f"--map-user={ORDINARY_UID}", f"--map-group={ORDINARY_UID}", "--keep-caps"]
        without_rights = "exec setpriv --inh-caps=-all --ambient-caps=-all"
        script = f'echo 0 > /proc/sys/user/max_user_namespaces && {without_rights} "$@"'
        return as_ordinary("unshare", "--user", *ids, "sh", "-c", script, "sh", *program)

    def test_the_reason_and_its_mend_are_named(self):
        mend = "sysctl -w user.max_user_namespaces=15000"
        if is_root():
            mend = "run sluice as an ordinary user there"
        self.assert_missing("user namespaces", mend)
