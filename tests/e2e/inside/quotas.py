"""Uses up what the kernel counts per user, as far as it goes, and runs a command while holding it.

    quotas.py pipes|epoll|inotify|pending COMMAND...      Prints what was used up, as JSON, first.
"""

import ctypes
import errno
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time

F_SETPIPE_SZ = 1031
BUDGET = 20  # seconds; and MEMORY bounds what the kernel holds for us
MEMORY = 256 << 20

_libc = ctypes.CDLL(None, use_errno=True)


def pipes():
    """pipe-user-pages-soft: 1 MiB pipes until the kernel refuses, then small ones."""
    held, grown = [], 0
    while len(held) < 400:
        held.append(os.pipe())
        try:
            fcntl.fcntl(held[-1][1], F_SETPIPE_SZ, 1 << 20)
            os.set_blocking(held[-1][1], False)
            grown += 1
        except PermissionError:
            return held, {"pipes": len(held), "grown": grown, "stopped": "EPERM"}
    return held, {"pipes": len(held), "grown": grown, "stopped": "bound"}


def epoll():
    """max_user_watches: 160 bytes each, so MEMORY bounds it where the quota is in the millions."""
    limit = MEMORY // 160
    reader, writer = os.pipe()
    held, count = [(reader, writer)], 0
    end = time.monotonic() + BUDGET
    copies = [os.dup(reader) for _ in range(400)]
    while count < limit and time.monotonic() < end:
        try:
            watcher = select.epoll()
            held.append(watcher)
            for copy in copies:
                watcher.register(copy, select.EPOLLIN)
                count += 1
        except OSError as error:
            return held, {"watches": count, "stopped": errno.errorcode[error.errno]}
    return held, {"watches": count, "stopped": "bound"}


def inotify():
    """max_user_instances: nobody else of this user may open one then."""
    held = []
    while len(held) < 2000:
        fd = _libc.inotify_init1(0)
        if fd < 0:
            return held, {"instances": len(held), "stopped": errno.errorcode[ctypes.get_errno()]}
        held.append(fd)
    return held, {"instances": len(held), "stopped": "bound"}


def pending():
    """RLIMIT_SIGPENDING: queued real-time signals."""
    number = signal.SIGRTMIN + 3
    signal.pthread_sigmask(signal.SIG_BLOCK, [number])
    count = 0
    while count < 200000:
        if _libc.sigqueue(os.getpid(), number, None) != 0:
            return None, {"signals": count, "stopped": errno.errorcode[ctypes.get_errno()]}
        count += 1
    return None, {"signals": count, "stopped": "bound"}


def main():
    quotas = {"pipes": pipes, "epoll": epoll, "inotify": inotify, "pending": pending}
    held, told = quotas[sys.argv[1]]()
    print(json.dumps(told), flush=True)
    status = subprocess.run(sys.argv[2:], check=False).returncode
    del held
    sys.exit(status)


if __name__ == "__main__":
    main()
