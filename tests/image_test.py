#!/usr/bin/env python3
"""The image of deploy/docker is built from the folders and packages that the project is built from."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOT_IN_THE_IMAGE = {"ccache"}  # nothing is built there twice
ONLY_IN_THE_IMAGE = {"ca-certificates"}  # whose bundle the image takes


def packages(text):
    return set(re.findall(r"[a-z0-9][a-z0-9.+-]+", text))


def failures():
    wanted = re.search(r"# build\n(.*?)\n  # tests", (ROOT / "dev").read_text(), re.S)[1]
    dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text().replace("\\\n", " ")
    installed = re.search(r"--no-install-recommends ([^;]*);", dockerfile)[1]
    for name in sorted((packages(wanted) - NOT_IN_THE_IMAGE) ^ (packages(installed) - ONLY_IN_THE_IMAGE)):
        yield f"the package '{name}' stands in one of ./dev and deploy/docker/Dockerfile, not in both"
    folders = re.search(r"set\(SLUICE_FOLDERS ([a-z ]*) CACHE", (ROOT / "CMakeLists.txt").read_text())[1].split()
    kept = set(re.findall(r"^!([^/\n]+)$", (ROOT / ".dockerignore").read_text(), re.M))
    for name in sorted(set(folders) | {"CMakeLists.txt", "deploy"}):
        if name not in kept:
            yield f"'{name}' is needed to build and left out by .dockerignore"


if __name__ == "__main__":
    found = list(failures())
    print("\n".join(found) or "both agree")
    sys.exit(1 if found else 0)
