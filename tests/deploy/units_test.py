#!/usr/bin/env python3
"""The systemd units are right, closed to what they do not need, and name the same places as sluiced's configuration.

    units_test.py BIN
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
UNITS = DEPLOY / "systemd"
BIN = None  # the programs that the units start
# systemd-analyze security, tenths: what each may be exposed at most. sluice-agent@ is left out: the sandbox is sluice's.
EXPOSED = {"sluiced.service": 19, "sluice-netns-supervise.service": 45, "sluice-netns@.service": 70}


def settings(name):
    """(key, value) of each line."""
    lines = (UNITS / name).read_text().splitlines()
    return [tuple(line.split("=", 1)) for line in lines if re.match(r"[A-Z]\w*=", line)]


def setting(name, key):
    return [value for found, value in settings(name) if found == key]


class Units(unittest.TestCase):
    def analyze(self, *arguments):
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    def test_systemd_finds_no_fault_in_them(self):
        with tempfile.TemporaryDirectory() as folder:
            for unit in UNITS.iterdir():
                text = unit.read_text().replace("/usr/bin/sluice", f"{BIN}/sluice")
                name = unit.name.replace("@.", "@coder-1.")
                (pathlib.Path(folder) / name).write_text(text)
            for unit in sorted(pathlib.Path(folder).iterdir()):
                status, said = self.analyze("verify", "--man=no", "--recursive-errors=no", str(unit))
                ours = [line for line in said.splitlines() if "sluice" in line]
                self.assertEqual((status, ours), (0, []), unit.name)

    def test_they_are_exposed_no_more_than_this(self):
        for name, most in EXPOSED.items():
            with self.subTest(name):
                status, said = self.analyze("security", "--offline=yes", f"--threshold={most}", str(UNITS / name))
                self.assertEqual(status, 0, said[-2000:])

    def test_sluiced_is_a_user_without_capabilities_who_is_watched(self):
        self.assertEqual(setting("sluiced.service", "User"), ["sluice"])
        self.assertEqual(setting("sluiced.service", "CapabilityBoundingSet"), [""])
        self.assertEqual(setting("sluiced.service", "AmbientCapabilities"), [""])
        self.assertEqual(setting("sluiced.service", "NoNewPrivileges"), ["yes"])
        seconds = int(setting("sluiced.service", "WatchdogSec")[0].removesuffix("s"))
        # A sluiced that takes over is told by this line alone.
        self.assertIn(f"WATCHDOG_USEC={seconds * 1000000}", setting("sluiced.service", "Environment"))

    def test_every_line_of_sluiceds_hardening_has_a_word_on_what_needs_it(self):
        said = (UNITS / "sluiced.service").read_text().split("[Service]")[1].split("[Install]")[0]
        groups = said.strip().split("\n\n")
        self.assertGreater(len(groups), 3)
        self.assertEqual([group for group in groups if not group.startswith(("#", "Type="))], [])

    def test_the_sockets_are_where_sluiceds_configuration_has_them(self):
        configuration = yaml.safe_load((DEPLOY / "sluiced.yaml").read_text())
        handover = setting("sluiced.socket", "ListenSequentialPacket")
        self.assertEqual(handover, [configuration["handover"]["socket"]])
        admin = setting("sluiced-admin.socket", "ListenStream")
        self.assertEqual(admin, [configuration["admin"]["socket"]])
        self.assertEqual(setting("sluiced-admin.socket", "SocketMode"), [configuration["admin"]["mode"]])
        sockets = setting("sluiced.service", "Sockets")[0].split()
        self.assertEqual(sorted(sockets), sorted(unit.name for unit in UNITS.glob("*.socket")))

    def test_stopping_takes_longer_than_draining(self):
        configuration = yaml.safe_load((DEPLOY / "sluiced.yaml").read_text())
        drain = int(configuration["timeouts"]["drain"].removesuffix("s"))
        stop = int(setting("sluiced.service", "TimeoutStopSec")[0].removesuffix("s"))
        self.assertGreater(stop, drain)

    def test_every_unit_is_installed_by_the_package(self):
        listed = (DEPLOY / "CMakeLists.txt").read_text()
        self.assertEqual([unit.name for unit in UNITS.iterdir() if f"systemd/{unit.name}" not in listed], [])

    def test_nobody_but_root_writes_beside_what_root_keeps(self):
        lines = (DEPLOY / "tmpfiles.d/sluice.conf").read_text().splitlines()
        owners = {line.split()[1]: line.split()[2:5] for line in lines if line.startswith("d ")}
        for path in ("/run/sluice", "/var/lib/sluice"):
            self.assertEqual(owners[path], ["0755", "root", "root"])
        self.assertEqual(setting("sluiced.service", "RuntimeDirectory"), [])
        self.assertEqual(setting("sluiced.service", "StateDirectory"), ["sluice/sluiced"])


if __name__ == "__main__":
    if shutil.which("systemd-analyze") is None:
        print("skipped: systemd-analyze(1) is not installed")
        sys.exit(77)
    BIN = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
