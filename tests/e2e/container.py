"""A container as an engine would start it: a network namespace of its own, no privileges, a filter.

    container.py privileges|no-filter|filtered|filtered-by-whole-register

Says "up", then runs each line of stdin as a shell command and answers one JSON line with its exit
status and what it printed. Ends with stdin.

`filtered` has no capability, can get none, and has a seccomp filter that refuses AF_VSOCK by every
way there is; `no-filter` is the same without the filter; `privileges` is root over its namespace.
`filtered-by-whole-register` compares all 64 bits with AF_VSOCK, as libseccomp's SCMP_CMP_EQ does.
"""

import ctypes
import json
import os
import struct
import subprocess
import sys

import kernel

CAPABILITIES = 64
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 24, 38, 22
SECCOMP_MODE_FILTER = 2

LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ERRNO | EPERM
# By architecture (AUDIT_ARCH_*): socket(2), and what else makes sockets.
CALLS = {
    0xC000003E: (41, [425]),  # x86-64: io_uring_setup
    0x40000003: (359, [102, 425]),  # i386: socketcall, io_uring_setup
    0xC00000B7: (198, [425]),  # arm64
    0x40000028: (281, [425]),  # arm
}
X32 = 0x40000000
AF_VSOCK = 40

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(*arguments):
    if _libc.prctl(*(ctypes.c_ulong(argument) for argument in arguments)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {arguments[0]}")


def drop_privileges():
    for capability in range(CAPABILITIES):
        try:
            prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        except OSError:
            break  # past the last one
    os.setgroups([])
    os.setresgid(61235, 61235, 61235)
    os.setresuid(61235, 61235, 61235)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def instruction(code, value, if_true=0, if_false=0):
    return struct.pack("HBBI", code, if_true, if_false, value)


def refuse_vsock(whole_register):
    """Refuses where the first argument is AF_VSOCK, allows any other."""
    upper = [instruction(LOAD, 20), instruction(EQUALS, 0, 0, 3)] if whole_register else []
    low = [instruction(LOAD, 16), instruction(EQUALS, AF_VSOCK, 0, 1), instruction(RETURN, REFUSE)]
    return [*upper, *low, instruction(RETURN, ALLOW)]


def filter_program(whole_register=False):
    """Refuses socket(AF_VSOCK) and all other makers of sockets, in every architecture."""
    program = []
    refusal = refuse_vsock(whole_register)
    for architecture, (make_socket, others) in CALLS.items():
        block = [instruction(LOAD, 0)]
        numbers = [make_socket] + ([X32 | make_socket] if architecture == 0xC000003E else [])
        for number in others:
            block += [instruction(EQUALS, number, 0, 1), instruction(RETURN, REFUSE)]
        for number in numbers:
            block += [instruction(EQUALS, number, 0, len(refusal)), *refusal]
        block.append(instruction(RETURN, ALLOW))
        program += [instruction(LOAD, 4), instruction(EQUALS, architecture, 0, len(block)), *block]
    return program + [instruction(RETURN, REFUSE)]


def install_filter(program):
    code = ctypes.create_string_buffer(b"".join(program))
    whole = struct.pack("HxxxxxxP", len(program), ctypes.addressof(code))
    buffer = ctypes.create_string_buffer(whole)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(buffer), 0, 0)


def main():
    kernel.die_with_parent()
    kernel.unshare(kernel.CLONE_NEWNET)
    if sys.argv[1] != "privileges":
        drop_privileges()
    if sys.argv[1].startswith("filtered"):
        install_filter(filter_program(whole_register=sys.argv[1].endswith("whole-register")))
    print("up", flush=True)
    for line in sys.stdin:
        try:
            run = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=120)
            answer = {"status": run.returncode, "out": run.stdout, "err": run.stderr}
        except subprocess.TimeoutExpired:
            answer = {"status": -1, "out": "", "err": "timeout"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
