"""Starts programs while another thread overwrites, unmaps and maps their arguments."""

import ctypes
import mmap
import os
import threading

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.execve.argtypes = [ctypes.c_void_p] * 3
SIZE, FIXED = 1 << 16, 0x10
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE


def place(address=None):
    return libc.mmap(address, SIZE, READ_WRITE, PRIVATE | (FIXED if address else 0), -1, 0)


def fill(at):
    words = [b"/bin/true\0", b"true\0", b"x" * 5000 + b"\0"]
    addresses, next_at = [], at + 4096
    for word in words:
        ctypes.memmove(next_at, word, len(word))
        addresses.append(next_at)
        next_at += len(word)
    ctypes.memmove(at, (ctypes.c_void_p * 3)(addresses[1], addresses[2], None), 24)
    return addresses[0]


for turn in range(200):
    pid = os.fork()
    if pid == 0:
        at = place()
        path = fill(at)

        def spoil():
            while True:
                if turn % 2:
                    ctypes.memset(at + 4200, 0x1B, 4000)
                else:
                    libc.munmap(at, SIZE)
                    place(at)
                    fill(at)

        threading.Thread(target=spoil, daemon=True).start()
        for _ in range(20):
            libc.execve(path, at, None)
        os._exit(0)
    os.waitpid(pid, 0)
print("done")
