"""podman and buildah for one run of tests: a store, a configuration and, for an ordinary user, ids of their own.

Everything lies in the world's temporary directories and ends with it.
"""

import os
import shutil
import subprocess

import small_root
import world
from agent import ORDINARY_UID, is_root

FOLDER = "/var/tmp/engine"
USER = "sluice-engine"
IMAGE = "localhost/sluice"
AGENT = "localhost/agent"
BUILDER = "localhost/builder"
FOLDERS_OF_SOURCES = ("allowlists", "base", "launcher", "metrics", "netns", "proxy")

# Root's engine here takes neither a machine's cgroup namespace nor limits above its own.
CONFIGURATION = """
[containers]
cgroupns = "private"
default_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]
[engine]
runtime = "{runtime}"
cgroup_manager = "cgroupfs"
events_logger = "none"
lock_type = "file"
pull_policy = "never"
hooks_dir = ["{folder}/hooks"]
[network]
network_config_dir = "{folder}/networks"
"""
STORAGE = """
[storage]
driver = "vfs"
graphroot = "{folder}/store"
runroot = "{folder}/run"
"""


def lacking():
    """Why no container can be tried here; empty if one can."""
    for program in ("podman", "buildah", "runc"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin"):
            return f"{program} is not installed"
    if not is_root():
        if os.environ["SLUICE_E2E_WORLD"] != "root":
            return "a user namespace of one id has no subordinate ids to give"
        if not shutil.which("newuidmap", path="/usr/bin"):
            return "newuidmap is not installed"
    return ""


def environment(home):
    folder = FOLDER if is_root() else f"{FOLDER}-user"
    return folder, {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": home,
        "TERM": "dumb",
        "XDG_RUNTIME_DIR": "/run" if is_root() else f"/run/user/{ORDINARY_UID}",
        "CONTAINERS_CONF": f"{folder}/containers.conf",
        "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
        "DISABLE_HC_SYSTEMD": "true",  # no timers: nobody runs systemd here
    }


def runtime():
    """crun where it can: it knows no mixture of cgroups v1 and v2, and runc knows both."""
    return "runc" if os.path.exists("/sys/fs/cgroup/unified") else "crun"


def prepare(folder, hooks):
    """The configuration; `hooks` has the content of hooks.d files by name."""
    if is_root():
        for kept in ("/var/lib/containers", "/var/lib/cni"):  # what no configuration moves: caches and given addresses
            os.makedirs(kept, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", kept], check=True, timeout=60)
    os.makedirs(f"{folder}/hooks", exist_ok=True)
    files = {"containers.conf": CONFIGURATION.format(folder=folder, runtime=runtime()),
             "storage.conf": STORAGE.format(folder=folder)}  # fmt: skip
    files |= {f"hooks/{name}": text for name, text in hooks.items()}
    for name, text in files.items():
        with open(f"{folder}/{name}", "w") as file:
            file.write(text)


def give_ids_to_the_user():
    """A name and 65536 subordinate ids for ORDINARY_UID, in this world alone."""
    home = "/home/agent"
    lines = {
        "passwd": f"{USER}:x:{ORDINARY_UID}:{ORDINARY_UID}::{home}:/bin/sh\n",
        "group": f"{USER}:x:{ORDINARY_UID}:\n",
        "subuid": f"{USER}:700000:65536\n",
        "subgid": f"{USER}:700000:65536\n",
    }
    for name, line in lines.items():
        made = f"{world.BASE}/etc-{name}"
        if os.path.exists(made):
            return
        with open(f"/etc/{name}") as file:
            text = file.read()
        with open(made, "w") as file:
            file.write(text + line)
        os.chmod(made, 0o644)
        subprocess.run(["mount", "--bind", made, f"/etc/{name}"], check=True, timeout=60)


def take_back_the_ids():
    for name in ("passwd", "group", "subuid", "subgid"):
        made = f"{world.BASE}/etc-{name}"
        if os.path.exists(made):
            subprocess.run(["umount", f"/etc/{name}"], check=True, timeout=60)
            os.unlink(made)


def make_builder(root):
    """A system that can run deploy/docker/root.sh for programs that are ready: as BUILD."""
    small_root.make(root)
    for name in ("sh", "dirname", "ldd"):
        small_root.add_program(root, name)
    for name in ("sluice", "sluiced", "sluice-netns"):
        for library in small_root.libraries(f"{world.BIN}/{name}"):
            small_root.copy_into(root, library)
    os.makedirs(f"{root}/etc/ssl/certs")
    shutil.copy(world.CA, f"{root}/etc/ssl/certs/ca-certificates.crt")
    os.makedirs(f"{root}/tmp")
    os.chmod(f"{root}/tmp", 0o1777)


def make_agent(root):
    """A system with a shell and curl."""
    small_root.make(root)
    for name in ("sh", "curl", "grep"):
        small_root.add_program(root, name)
    shutil.copy(world.CA, f"{root}/etc/ca.pem")
    os.chmod(f"{root}/etc/ca.pem", 0o644)
    for name in ("tmp", "workspace"):
        os.makedirs(f"{root}/{name}")
        os.chmod(f"{root}/{name}", 0o1777)  # runc gives a tmpfs the mode of what it covers


def make_context(folder):
    """The project as `podman build` sees it, with programs that are ready instead of sources."""
    shutil.copytree(world.DEPLOY, f"{folder}/deploy")
    os.rename(f"{folder}/deploy/.dockerignore", f"{folder}/.dockerignore")
    with open(f"{folder}/CMakeLists.txt", "w") as file:
        file.write("# no sources\n")
    for name in FOLDERS_OF_SOURCES:
        os.makedirs(f"{folder}/{name}")
    programs = f"{folder}/build/release/bin"
    os.makedirs(programs)
    for name in ("sluice", "sluiced", "sluice-netns"):
        shutil.copy(f"{world.BIN}/{name}", f"{programs}/{name}")
