"""Makes an agent's seccomp profile out of an engine's own.

    seccomp.py PROFILE.json >seccomp.json

What the engine refuses stays refused. Of sockets only the internet's, Unix and route netlink stay: AF_VSOCK leads past
every network namespace to the hypervisor. io_uring makes sockets that no filter can judge, and so does socketcall(2) of
32-bit programs, which are refused altogether.
"""

import json
import sys

FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6
AF_NETLINK, NETLINK_ROUTE = 16, 0
MAKERS_OF_SOCKETS = {"socket", "socketcall", "io_uring_setup", "io_uring_enter", "io_uring_register"}


def equal(index, value):
    return {"index": index, "value": value, "op": "SCMP_CMP_EQ"}


def allow_socket(*conditions):
    return {"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": list(conditions)}


def strict(profile):
    if not profile.get("defaultAction", "").startswith("SCMP_ACT_ERRNO"):
        sys.exit("error: this profile does not refuse what it does not name\nhint: take the engine's own")
    kept = []
    for entry in profile["syscalls"]:
        names = [name for name in entry.get("names", []) if name not in MAKERS_OF_SOCKETS]
        if names:
            kept.append({**entry, "names": names})
    sockets = [allow_socket(equal(0, family)) for family in FAMILIES]
    sockets.append(allow_socket(equal(0, AF_NETLINK), equal(2, NETLINK_ROUTE)))
    architectures = [{**entry, "subArchitectures": []} for entry in profile.get("archMap", [])]
    return {**profile, "archMap": architectures, "syscalls": kept + sockets}


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        json.dump(strict(json.load(file)), sys.stdout, indent=1)
    print()
