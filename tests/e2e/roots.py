"""Roots that tests give their agents: directories of a few programs, and the cases that use them."""

import hashlib
import os
import shutil
import stat

import small_root
import world
from agent import ORDINARY_UID, Case, is_root

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
