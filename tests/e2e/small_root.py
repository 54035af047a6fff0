"""A root directory of a few host programs with the libraries they need, as somebody might ship one.

It has no /home, no /run, no /proc and no /tmp: what sluice needs and it lacks is sluice's business.
"""

import os
import re
import shutil
import subprocess

PROGRAMS = ("bash", "cat", "chmod", "chown", "cp", "echo", "id", "ls", "mkdir", "mv", "rm", "stat",
            "touch", "true", "chroot", "env", "dd", "ln", "readlink", "head", "mkfifo", "sleep")  # fmt: skip
PACKAGING = ("dpkg", "dpkg-deb", "dpkg-split", "dpkg-query", "tar", "apt-get", "apt-config", "sh",
             "diff", "find", "grep", "sed", "awk", "gzip", "xz", "gpgv", "sort", "tr", "xargs",
             "start-stop-daemon", "ldconfig", "dash", "mktemp", "sync", "date",
             "dpkg-statoverride")  # fmt: skip


def libraries(path):
    """Every file that the dynamic linker opens for the program at `path`."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=60).stdout
    return re.findall(r"(/\S+) \(0x", said)


def copy_into(root, path):
    target = root + path
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if not os.path.exists(target):
        shutil.copy(os.path.realpath(path), target)
        os.chmod(target, 0o755)


def add_program(root, name):
    path = shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin")
    real = os.path.realpath(path)
    place = f"/usr/bin/{name}"
    os.makedirs(f"{root}/usr/bin", exist_ok=True)
    if not os.path.exists(root + place):
        shutil.copy(real, root + place)
        os.chmod(root + place, 0o755)
    for library in libraries(real):
        copy_into(root, library)


def make(root):
    """Answers `root`, which has /usr, /bin -> usr/bin, its libraries, and an /etc of its own."""
    os.makedirs(f"{root}/usr/bin")
    os.makedirs(f"{root}/etc")
    os.symlink("usr/bin", f"{root}/bin")
    # Debian's linker is named by an absolute path.
    os.makedirs(f"{root}/usr/lib64")
    os.symlink("usr/lib64", f"{root}/lib64")
    os.makedirs(f"{root}/usr/lib")
    os.symlink("usr/lib", f"{root}/lib")
    for name in PROGRAMS:
        add_program(root, name)
    with open(f"{root}/etc/os-release", "w") as file:
        file.write("NAME=small\n")
    with open(f"{root}/etc/passwd", "w") as file:
        file.write("root:x:0:0::/root:/bin/bash\nsomebody:x:77:77::/nowhere:/bin/false\n")
    with open(f"{root}/etc/group", "w") as file:
        file.write("root:x:0:\n")
    return root


def add_python(root):
    """python3 with the modules that it comes with."""
    add_program(root, "python3")
    library = f"/usr/lib/{os.path.basename(os.path.realpath('/usr/bin/python3'))}"
    shutil.copytree(library, root + library, symlinks=True,
                    ignore=shutil.ignore_patterns("test", "dist-packages", "*.a"))  # fmt: skip


def add_packaging(root):
    """dpkg and apt, with no package installed and no archive known."""
    for name in PACKAGING:
        add_program(root, name)
    os.makedirs(f"{root}/sbin", exist_ok=True)
    for folder in ("updates", "info", "parts", "triggers", "alternatives"):
        os.makedirs(f"{root}/var/lib/dpkg/{folder}", exist_ok=True)
    for name in ("status", "available", "diversions", "statoverride"):
        with open(f"{root}/var/lib/dpkg/{name}", "w"):
            pass
    for folder in ("var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt",
                   "etc/apt/apt.conf.d", "etc/apt/preferences.d", "etc/apt/sources.list.d",
                   "etc/apt/trusted.gpg.d", "etc/apt/auth.conf.d", "usr/share/dpkg"):  # fmt: skip
        os.makedirs(f"{root}/{folder}", exist_ok=True)
    shutil.copytree("/usr/lib/apt", f"{root}/usr/lib/apt")
    shutil.copytree("/usr/share/dpkg", f"{root}/usr/share/dpkg", dirs_exist_ok=True)
    for folder, _, names in os.walk(f"{root}/usr/lib/apt"):
        for name in names:
            for library in libraries(f"{folder}/{name}"):
                copy_into(root, library)
    # Name service: libc opens these by name, no linker tells of them.
    for name in ("libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"):
        found = [folder for folder in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64")
                 if os.path.exists(f"{folder}/{name}")]  # fmt: skip
        for folder in found:
            copy_into(root, f"{folder}/{name}")
