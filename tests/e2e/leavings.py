"""What a run could leave behind in W, counted: processes, mounts, namespaces, files."""

import os
import re
import time

import world


def _namespaces():
    """Every namespace that some process of W is in, as KIND:[INODE]."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for kind in ("user", "mnt", "pid", "ipc", "uts", "net", "cgroup"):
            try:
                found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
            except OSError:
                pass
    return found


def _mounts():
    with open("/proc/self/mountinfo") as file:
        return {" ".join(line.split()[2:]) for line in file}  # without ids: what is mounted where


def _held_ids():
    """The slots of host ids that somebody holds locked."""
    folder = "/run/sluice/uids"
    if not os.path.isdir(folder):
        return set()
    slots = {os.stat(f"{folder}/{name}").st_ino for name in os.listdir(folder)}
    with open("/proc/locks") as file:
        locked = {int(inode) for inode in re.findall(r"FLOCK .*:(\d+) 0 EOF", file.read())}
    return slots & locked


def _files(folders):
    found = set()
    for top in folders:
        for folder, _, files in os.walk(top):
            found |= {f"{folder}/{name}" for name in files}
    return found


class Leavings:
    """The state of W now, to be compared with a later one. `folders`: where no file may stay."""

    def __init__(self, *folders):
        self._folders = folders
        self._before = self._state()

    def _state(self):
        return {
            "processes": set(world.processes().items()),
            "mounts": _mounts(),
            "namespaces": _namespaces(),
            "host ids": _held_ids(),
            "files": _files(self._folders),
        }

    def left(self, but=(), seconds=60):
        """What is there now and was not before: at once when that is nothing, else at the end."""
        end = time.monotonic() + seconds
        while True:
            now = self._state()
            more = {kind: now[kind] - self._before[kind] for kind in now if kind not in but}
            more = {kind: found for kind, found in more.items() if found}
            if not more or time.monotonic() > end:
                return more
            time.sleep(0.02)
