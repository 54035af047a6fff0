"""Runs end-to-end tests under a stock Debian kernel with cgroup v2, in QEMU.

    SLUICE_BIN=DIR run.py KERNEL root|rootless MODULE...        KERNEL: 6.1 or 6.12

The guest's root is this machine's, read-only over 9p beneath a tmpfs; the tests' own files lie on an
ext4 in memory, for what a tmpfs of an older kernel lacks. It has no network but its own loopback. `./dev stock` fetches the kernels. Without KVM, which not every machine can nest, a process starts some twenty times slower
than outside, so this runs what only another kernel can show. Exit status 77: nothing was run.
"""

import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parents[2]
KERNELS = pathlib.Path(os.environ.get("SLUICE_STOCK_KERNELS", PROJECT / "build/stock"))
QEMU = "qemu-system-x86_64"
SECONDS = 1800

GUEST = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mkdir -p /dev/pts /dev/shm /lib/modules /srv
mount -t devpts -o newinstance,ptmxmode=0666 devpts /dev/pts
ln -sf pts/ptmx /dev/ptmx
mount -t tmpfs tmpfs /dev/shm
mount --bind {modules} /lib/modules
mount --bind {project} /srv
mount -t tmpfs tmpfs /var/tmp
mount -t tmpfs tmpfs /tmp
chmod 1777 /tmp /var/tmp
modprobe -a loop ext4
truncate -s 1500M /tmp/disk
mkfs.ext4 -q /tmp/disk
mkdir /disk
mount -o loop /tmp/disk /disk
hostname stock
ip link set lo up
group=/sys/fs/cgroup/delegated
mkdir "$group"
for parent in /sys/fs/cgroup "$group"; do echo "+memory +pids +cpu" >"$parent/cgroup.subtree_control"; done
export SLUICE_E2E_DELEGATED=$group
export SLUICE_E2E_PATIENCE=8
cd /srv/tests/e2e
status=0
for module in {modules_asked}; do
  echo "== $(uname -r) $module"
  TMPDIR=/disk SLUICE_BIN=/srv/{binaries} setsid python3 -B run.py {identity} "$module" </dev/null || status=1
done >/run/stock/output 2>&1
echo $status >/run/stock/status
sync
echo o >/proc/sysrq-trigger
sleep 60
"""


def lacking(kernel):
    """Why no guest can be started here; empty if one can."""
    if platform.machine() != "x86_64":
        return f"stock kernels are tried on x86_64, not on {platform.machine()}"
    if not shutil.which(QEMU):
        return f"{QEMU} is not installed: './dev stock' installs it"
    if not (KERNELS / kernel / "initrd.gz").exists():
        return f"there is no kernel {kernel} in build/stock: './dev stock' fetches it"
    return ""


def boot(kernel, share):
    """Starts the guest and waits for its end; the console's last lines if it ended otherwise."""
    files = KERNELS / kernel
    console = share / "console"
    call = [
        QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "2048",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
        "-serial", f"file:{console}", "-kernel", files / "vmlinuz", "-initrd", files / "initrd.gz",
        "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
        "-fsdev", "local,id=machine,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=machine,mount_tag=machine",
        "-fsdev", f"local,id=share,path={share},security_model=none",
        "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
    ]  # fmt: skip
    try:
        subprocess.run(call, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        print(f"the guest was ended after {SECONDS} seconds")
    if not (share / "status").exists():
        print(console.read_text(errors="replace")[-4000:] if console.exists() else "no console")


def main():
    kernel, identity, modules = sys.argv[1], sys.argv[2], sys.argv[3:]
    reason = lacking(kernel)
    if reason:
        print(f"skipped: {reason}")
        return 77
    binaries = pathlib.Path(os.environ["SLUICE_BIN"]).resolve().relative_to(PROJECT)
    with tempfile.TemporaryDirectory(prefix="sluice-stock-") as made:
        share = pathlib.Path(made)
        script = GUEST.format(
            modules=shlex.quote(str((KERNELS / kernel / "modules").resolve())),
            project=shlex.quote(str(PROJECT)),
            modules_asked=shlex.join(modules),
            binaries=shlex.quote(str(binaries)),
            identity=shlex.quote(identity),
        )
        (share / "guest.sh").write_text(script)
        boot(kernel, share)
        if (share / "output").exists():
            print((share / "output").read_text(errors="replace"))
        status = share / "status"
        return int(status.read_text()) if status.exists() else 1


if __name__ == "__main__":
    sys.exit(main())
