"""Runs a command as on a kernel that lacks something: kernel_lacks.py FEATURE ... -- COMMAND.

FEATURE is nf_tables, ipv6, or user_xattrs: those of tmpfs. A seccomp filter makes socket(2) fail as
it does there, or sluice's own trial of the attribute (launcher/roots/tmpfs_attributes.cc), for the
command and all that it starts. It needs no privilege, but sets no_new_privs; called by root it does
not, so that the command may still start newuidmap.
"""

import ctypes
import errno
import os
import struct
import sys

AUDIT_ARCH_X86_64 = 0xC000003E
SYS_SOCKET = 41
SYS_FSETXATTR = 190
AF_INET6 = 10
AF_NETLINK = 16
NETLINK_NETFILTER = 12
ALLOW = 0x7FFF0000
ERRNO = 0x00050000
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2

SIZE = 40  # of the value that fsetxattr(2) is given, in struct seccomp_data

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
NUMBER, ARCHITECTURE, FAMILY, PROTOCOL = 0, 4, 16, 32  # offsets in struct seccomp_data


def refuse(conditions, error, call=SYS_SOCKET):
    """A filter: `error` for that system call where each (offset, value) holds."""
    checks = [(ARCHITECTURE, AUDIT_ARCH_X86_64), (NUMBER, call), *conditions]
    program = b""
    for index, (offset, value) in enumerate(checks):
        to_allow = 2 * (len(checks) - index - 1) + 1  # past what is left, and past the refusal
        program += struct.pack("HBBI", LOAD, 0, 0, offset)
        program += struct.pack("HBBI", EQUAL, 0, to_allow, value)
    program += struct.pack("HBBI", RETURN, 0, 0, ERRNO | error)
    return program + struct.pack("HBBI", RETURN, 0, 0, ALLOW)


FILTERS = {
    "nf_tables": refuse([(FAMILY, AF_NETLINK), (PROTOCOL, NETLINK_NETFILTER)], errno.EPROTONOSUPPORT),
    "ipv6": refuse([(FAMILY, AF_INET6)], errno.EAFNOSUPPORT),
    "user_xattrs": refuse([(SIZE, len("user.sluice"))], errno.EOPNOTSUPP, call=SYS_FSETXATTR),
}


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def load(program):
    libc = ctypes.CDLL(None, use_errno=True)
    described = Program(len(program) // 8, program)
    may_go_without = os.geteuid() == 0
    if not may_go_without and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(described), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def main():
    end = sys.argv.index("--")
    for lacking in sys.argv[1:end]:
        load(FILTERS[lacking])
    os.execvp(sys.argv[end + 1], sys.argv[end + 1 :])


if __name__ == "__main__":
    main()
