"""Calls what the filter must refuse; prints {NAME: ERRNO or "ok"}.

The arguments are such that a kernel without the filter answers something else (mostly EFAULT or
EINVAL, found before any permission is looked at), so that the same program outside is the control.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import socket
import struct
import sys
import termios

HIGH = 2**32  # an int argument's upper half, which the kernel does not look at
BAD = 8  # no address
NEW_USER = 0x10000000
SIGCHLD = 17
TIOCLINUX = 0x541C

NUMBERS = {
    "socket": 41, "ptrace": 101, "mount": 165, "umount2": 166, "add_key": 248, "request_key": 249,
    "keyctl": 250, "unshare": 272, "perf_event_open": 298, "setns": 308, "bpf": 321, "clone": 56,
    "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
    "open_tree": 428, "fsconfig": 431, "clone3": 435, "mount_setattr": 442, "ioctl": 16,
    "open_by_handle_at": 304, "socketpair": 53, "getpid": 39, "quotactl": 179, "kexec_load": 246,
    "init_module": 175, "finit_module": 313, "delete_module": 176, "pivot_root": 155, "reboot": 169,
    "swapon": 167, "acct": 163, "fsopen": 430, "fsmount": 432, "move_mount": 429, "fspick": 433,
    "move_pages": 279, "lookup_dcookie": 212, "sysfs": 139, "ustat": 136, "personality": 135,
    "kcmp": 312, "statmount": 457, "listmount": 458, "vhangup": 153, "process_vm_readv": 310,
    "pidfd_getfd": 438, "pidfd_open": 434, "open_tree_attr": 467, "chroot": 161,
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(name, *arguments):
    result = _libc.syscall(
        ctypes.c_long(NUMBERS[name] if isinstance(name, str) else name),
        *[ctypes.c_long(argument) for argument in arguments],
    )
    if result < 0:
        number = ctypes.get_errno()
        return errno.errorcode.get(number, str(number))
    if name in ("socket", "userfaultfd", "io_uring_setup", "open_tree", "fsopen", "pidfd_getfd"):
        os.close(result)
    return "ok"


def in_child(attempt):
    """The answer of `attempt` in a child, whose namespaces and terminals die with it."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, attempt().encode())
        except OSError as error:
            os.write(writer, errno.errorcode.get(error.errno, "?").encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return answer


def clone_new_user(flag_bits):
    """clone(CLONE_NEWUSER): the child ends at once."""

    def attempt():
        result = _libc.syscall(NUMBERS["clone"], ctypes.c_long(flag_bits), 0, 0, 0, 0)
        if result == 0:
            os._exit(0)
        if result < 0:
            return errno.errorcode[ctypes.get_errno()]
        os.waitpid(result, 0)
        return "ok"

    return in_child(attempt)


def on_own_terminal(request, argument):
    """An ioctl on a controlling terminal of its own, as one would inject into a shared one."""

    def attempt():
        os.setsid()
        _, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        return call("ioctl", terminal, request, ctypes.addressof(argument))

    return in_child(attempt)


def machine_code(code):
    """Runs code that answers a system call's result in eax."""
    area = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    area.write(code)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(area)))
    result = function()
    return "ok" if result >= 0 else errno.errorcode.get(-result, str(result))


def int80_getpid():
    # push rbx; mov eax, 20; int 0x80; pop rbx; ret
    return machine_code(b"\x53\xb8\x14\x00\x00\x00\xcd\x80\x5b\xc3")


def netlink(family):
    try:
        socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family).close()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


def attempts():
    letter = ctypes.create_string_buffer(b"x")
    return {
        "socket vsock": lambda: call("socket", 40, 1, 0),
        "socket vsock, high bits": lambda: call("socket", 40 + HIGH, 1, 0),
        "socket vsock datagram": lambda: call("socket", 40, 2, 0),
        "socket alg": lambda: call("socket", 38, 5, 0),
        "socket bluetooth": lambda: call("socket", 31, 3, 1),
        "socket unknown family": lambda: call("socket", 44, 3, 0),
        "netlink netfilter": lambda: netlink(12),
        "netlink audit": lambda: netlink(9),
        "netlink uevent": lambda: netlink(15),
        "netlink generic": lambda: netlink(16),
        "netlink sock_diag": lambda: netlink(4),
        "netlink netfilter, high bits": lambda: call("socket", 16, 3, 12 + HIGH),
        "keyctl": lambda: call("keyctl", 0, -3, 0),
        "keyctl, high bits": lambda: call("keyctl", HIGH, -3, 0),
        "add_key": lambda: call("add_key", BAD, BAD, BAD, 0, 0),
        "request_key": lambda: call("request_key", BAD, BAD, BAD, 0),
        "bpf": lambda: call("bpf", 0, BAD, 4096),
        "perf_event_open": lambda: call("perf_event_open", BAD, 0, -1, -1, 0xFFFF),
        "userfaultfd": lambda: call("userfaultfd", 1),
        "io_uring_setup": lambda: call("io_uring_setup", 1, BAD),
        "io_uring_enter": lambda: call("io_uring_enter", -1, 0, 0, 0, 0, 0),
        "io_uring_register": lambda: call("io_uring_register", -1, 0, 0, 0),
        "unshare user": lambda: in_child(lambda: call("unshare", NEW_USER)),
        "unshare user, high bits": lambda: in_child(lambda: call("unshare", NEW_USER + HIGH)),
        "clone user": lambda: clone_new_user(NEW_USER | SIGCHLD),
        "clone3": lambda: call("clone3", BAD, 64),
        "setns": lambda: call("setns", -1, 0),
        "mount": lambda: call("mount", BAD, BAD, BAD, 0, 0),
        "umount2": lambda: call("umount2", BAD, 0x7FFFFFF0),
        "open_tree": lambda: call("open_tree", -1, BAD, 0x7FFFFFF0),
        "fsconfig": lambda: call("fsconfig", -1, 0, 0, 0, 0),
        "mount_setattr": lambda: call("mount_setattr", -1, BAD, 0x7FFFFFF0, BAD, 32),
        "TIOCSTI": lambda: on_own_terminal(0x5412, letter),
        "TIOCSTI, high bits": lambda: on_own_terminal(0x5412 + HIGH, letter),
        "TIOCLINUX": lambda: on_own_terminal(TIOCLINUX, letter),
        "TIOCLINUX, high bits": lambda: on_own_terminal(TIOCLINUX + HIGH, letter),
        "int80": int80_getpid,
        # Refused to the ordinary by the kernel too: no control, but they must not work.
        "packet": lambda: call("socket", 17, 3, 0),
        "packet, high bits": lambda: call("socket", 17 + HIGH, 3, 0),
        "raw, high bits": lambda: call("socket", 2 + HIGH, 3 + HIGH, 1),
        "x32 getpid": lambda: call(0x40000000 + 39),
        "open_by_handle_at": lambda: call("open_by_handle_at", -1, BAD, 0),
        "pivot_root": lambda: call("pivot_root", BAD, BAD),
        "fsopen": lambda: call("fsopen", BAD, 0),
        "fsmount": lambda: call("fsmount", -1, 0, 0),
        "move_mount": lambda: call("move_mount", -1, BAD, -1, BAD, 0),
        "fspick": lambda: call("fspick", -1, BAD, 0),
        "kexec_load": lambda: call("kexec_load", 0, 0, 0, 0),
        "init_module": lambda: call("init_module", BAD, 0, BAD),
        "finit_module": lambda: call("finit_module", -1, BAD, 0),
        "delete_module": lambda: call("delete_module", BAD, 0),
        "swapon": lambda: call("swapon", BAD, 0),
        "acct": lambda: call("acct", BAD),
        "reboot": lambda: call("reboot", 0, 0, 0, 0),
        "ptrace pid 1": lambda: call("ptrace", 16, 1, 0, 0),
        "pidfd_getfd pid 1": lambda: call("pidfd_getfd", os.pidfd_open(1), 0, 0),
    }


def main():
    if platform.machine() != "x86_64" or struct.calcsize("P") != 8:
        sys.exit("the system call numbers here are those of x86_64")
    told = {}
    for name, attempt in attempts().items():
        try:
            told[name] = attempt()
        except OSError as error:
            told[name] = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
