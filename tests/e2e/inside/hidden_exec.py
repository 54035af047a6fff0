"""Makes execve(2) of a getpid(2): a tracer changes the number of the call at its entry."""

import ctypes
import os
import platform
import sys

if platform.machine() != "x86_64":
    # Registers are another machine's: nothing is changed, the program is started plainly.
    print("started", flush=True)
    os.execv("/bin/true", ["true", "hidden"])

TRACEME, SYSCALL, GETREGS, SETREGS = 0, 24, 12, 13
RAX, RDI, RSI, RDX, ORIG_RAX = 10, 14, 13, 12, 15
GETPID, EXECVE = 39, 59
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
path = ctypes.create_string_buffer(b"/bin/true")
words = [ctypes.create_string_buffer(word) for word in (b"true", b"hidden")]
argv = (ctypes.c_void_p * 3)(*(ctypes.addressof(word) for word in words), None)

child = os.fork()
if child == 0:
    libc.ptrace(TRACEME, 0, None, None)
    os.kill(os.getpid(), 19)
    libc.syscall(GETPID)
    os._exit(1)  # it was no execve

os.waitpid(child, 0)
registers = (ctypes.c_ulonglong * 27)()
while True:
    libc.ptrace(SYSCALL, child, None, None)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSTOPPED(status):
        break
    libc.ptrace(GETREGS, child, None, ctypes.addressof(registers))
    if registers[ORIG_RAX] == GETPID:
        registers[ORIG_RAX] = EXECVE
        registers[RDI] = ctypes.addressof(path)
        registers[RSI] = ctypes.addressof(argv)
        registers[RDX] = 0
        libc.ptrace(SETREGS, child, None, ctypes.addressof(registers))
print("started" if status == 0 else f"status {status}", flush=True)
sys.exit(status != 0)
