"""Runs a command as on a kernel that says yes and does nothing: kernel_lies.py CALL ... -- COMMAND.

A seccomp filter lets one of the steps of closing an agent in succeed without being taken. It needs no
privilege, but sets no_new_privs.
"""

import os
import sys

from kernel_lacks import load, refuse

YES = 0
ARGUMENTS = [16 + 8 * number for number in range(6)]  # lower halves, in struct seccomp_data
PR_CAPBSET_DROP = 24
RLIMIT_CORE = 4
SETATTR_OF_A_TREE = 0x1000 | 0x8000  # AT_EMPTY_PATH | AT_RECURSIVE

LIES = {
    "bounding set": refuse([(ARGUMENTS[0], PR_CAPBSET_DROP)], YES, call=157),
    # Setting asks for no old value, getting does.
    "core limit": refuse([(ARGUMENTS[1], RLIMIT_CORE), (ARGUMENTS[3], 0)], YES, call=302),
    "filter": refuse([(ARGUMENTS[0], 1), (ARGUMENTS[1], 0)], YES, call=317),
    "close_range": refuse([], YES, call=436),
    "read-only root": refuse([(ARGUMENTS[2], SETATTR_OF_A_TREE)], YES, call=442),
    "landlock": refuse([], YES, call=446),
    "setsid": refuse([], YES, call=112),
    "host id": refuse([], YES, call=117),
}


def main():
    end = sys.argv.index("--")
    for lie in sys.argv[1:end]:
        load(LIES[lie])
    os.execv(sys.argv[end + 1], sys.argv[end + 1 :])


if __name__ == "__main__":
    main()
