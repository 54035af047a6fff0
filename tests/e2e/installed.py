"""A machine of the test's own to install packages on: the host's root, and a layer in memory above it."""

import os
import subprocess
import tempfile

import world

FOLDER = "/home/machine"  # upper: what was changed
ENTER = "cd {root} && pivot_root . . && umount -l . && cd / && echo ready && exec sleep 600"


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise world.Impossible(f"mount {' '.join(arguments)}: {done.stderr.strip()}")


class Machine:
    """Its /home, /root and /run are the world's; everything else that it writes goes with it."""

    def __init__(self):
        os.makedirs(FOLDER, exist_ok=True)
        self.folder = tempfile.mkdtemp(dir=FOLDER)
        mount("-t", "tmpfs", "-o", "mode=0755", "tmpfs", self.folder)
        for name in ("upper", "work", "root"):
            os.mkdir(f"{self.folder}/{name}")
        layers = f"lowerdir=/,upperdir={self.folder}/upper,workdir={self.folder}/work"
        root = f"{self.folder}/root"
        mount("-t", "overlay", "-o", layers, "overlay", root)
        for name in ("proc", "sys", "dev"):
            mount("--rbind", f"/{name}", f"{root}/{name}")
        for name in ("home", "root", "run", "etc/resolv.conf", "etc/hosts"):
            mount("--bind", f"/{name}", f"{root}/{name}")
        mount("-t", "tmpfs", "-o", "mode=1777", "tmpfs", f"{root}/tmp")
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER.format(root=root)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self._holder.stdout.readline() != "ready\n":
            raise world.Impossible("no root of its own for the machine")

    def end(self):
        self._holder.kill()
        self._holder.communicate()
        subprocess.run(["umount", "-R", "-l", f"{self.folder}/root"], check=True, timeout=60)
        subprocess.run(["umount", "-l", self.folder], check=True, timeout=60)
        os.rmdir(self.folder)

    def command(self, *command):
        return ["nsenter", "-t", str(self._holder.pid), "-m", "-r", "-w", "--", *command]

    def changed(self):
        """Every path that is not as the host has it, directories that hold nothing but such apart."""
        found = set()
        upper = f"{self.folder}/upper"
        for folder, _, names in os.walk(upper):
            here = folder[len(upper) :]
            found.update(f"{here}/{name}" for name in names)
            if not os.path.lexists(here or "/"):
                found.add(here)
        return found
