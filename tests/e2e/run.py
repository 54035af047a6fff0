"""Runs end-to-end tests in a world of their own.

    SLUICE_BIN=DIR run.py root|rootless MODULE[.CLASS[.TEST]]...

`root` calls sluice as root, `rootless` as an ordinary user; both work from a root shell. From an
ordinary user's shell `root` is skipped (exit status 77) and `rootless` runs in a user namespace.
"""

import os
import sys
import unittest

import world


def main():
    identity, names = sys.argv[1], sys.argv[2:]
    if "SLUICE_E2E_WORLD" not in os.environ:
        if identity == "root" and os.geteuid() != 0:
            print("skipped: only uid 0 can show what a root caller's agent cannot do")
            return 77
        return world.enter(sys.argv[1:])
    demo_asked = identity == "demo"
    if demo_asked:
        identity = os.environ["SLUICE_E2E_WORLD"]
    os.environ["SLUICE_E2E_IDENTITY"] = identity
    try:
        world.outside()
    except world.Impossible as error:
        print(f"skipped: {error}")
        return 77
    if demo_asked:
        import demo

        return demo.narrate()
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    if result.testsRun and len(result.skipped) == result.testsRun:
        return 77
    if not result.testsRun:
        print("no test ran")
        return 1
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
