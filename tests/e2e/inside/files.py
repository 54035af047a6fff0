"""Tries one operation a path; prints {"OP PATH": "ok", ERRNO, or what was read}.

    files.py JOBS.json      JOBS: [[OP, PATH]...]
"""

import errno
import json
import os
import socket
import stat
import sys


def connect(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        client.connect("\0" + path[1:] if path.startswith("@") else path)
    return "ok"


def write(path):
    with open(path, "r+b", buffering=0):
        return "ok"


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    return "ok"


def read(path):
    with open(path, "rb", buffering=0) as file:
        return file.read(4096).decode("latin1")


def listing(path):
    return sorted(os.listdir(path))


def kind(path):
    mode = os.lstat(path).st_mode
    return f"{stat.filemode(mode)} {os.lstat(path).st_uid}"


def fifo(path):
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    return "ok"


OPERATIONS = {
    "read": read,
    "write": write,
    "create": create,
    "list": listing,
    "connect": connect,
    "kind": kind,
    "fifo": fifo,
    "mkdir": lambda path: os.mkdir(path) or "ok",
    "unlink": lambda path: os.unlink(path) or "ok",
    "rename": lambda path: os.rename(path, path + ".moved") or "ok",
    "chmod": lambda path: os.chmod(path, 0o777) or "ok",
    "readlink": os.readlink,
}


def main():
    with open(sys.argv[1]) as file:
        jobs = json.load(file)
    told = {}
    for operation, path in jobs:
        try:
            told[f"{operation} {path}"] = OPERATIONS[operation](path)
        except OSError as error:
            told[f"{operation} {path}"] = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
