"""The documents that show commands, typed as they stand there: what the commands print is what they show.

In each document of docs/ a fence ```yaml NAME or ```sh NAME is a file; a fence ```console holds commands behind `$ `
and what they print, both streams together, in order. Numbers of bytes and times differ from run to run; everything
else must be the same. `SLUICE_WALKTHROUGH=NAME` prints the document with the output of this run instead.
"""

import os
import pathlib
import re
import shutil
import subprocess
import time

import agent
import world

FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SIZE = re.compile(r"\b\d+(\.\d+)? (B|KiB|MiB)\b")
# What an editor of the document may not have to care about.
CHANGING = [
    (SIZE, "N B"),
    (re.compile(r"\b\d{4}-\d\d-\d\dT[0-9:.]+Z"), "TIME"),
    (re.compile(r'"session":"[0-9a-f]+"'), '"session":"S"'),
    (re.compile(r'"(ms|bytes_up|bytes_down)":\d+'), r'"\1":N'),
    (re.compile(r"\b\d+ ms\b"), "N ms"),
]


def steady(text):
    for pattern, stand_in in CHANGING:
        text = pattern.sub(stand_in, text)
    return text.replace("\r", "").rstrip("\n")


def in_order(command, text):
    """What is said of a run comes from several processes, whichever is first; its lines are whole."""
    lines = steady(text).split("\n")
    return sorted(lines) if command.startswith("sluice run") else lines


def commands(block):
    """(command, output) of each `$ ` line of a console block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command}\n{more}"
        yield command, output


class Walkthrough(agent.Case):
    def setUp(self):
        super().setUp()
        self.desk = f"{self.home}/desk"
        os.makedirs(self.desk)
        self.addCleanup(shutil.rmtree, self.desk)
        self.own(self.desk)
        self.environment["PATH"] = f"{world.BIN}:{self.environment['PATH']}"
        os.makedirs(f"{self.desk}/project")
        self.own(f"{self.desk}/project")
        with open(world.CA) as file:
            self.write(f"{self.desk}/project/ca.pem", file.read())

    def type(self, command):
        line = ["sh", "-c", command]
        line = line if agent.is_root() else agent.as_ordinary(*line)
        typed = subprocess.run(
            line,
            cwd=self.desk,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=agent.PATIENT,
            check=False,
        )
        return typed.stdout.decode(errors="replace")

    def type_all(self, document):
        text = pathlib.Path(world.DOCS, document).read_text(encoding="utf-8")
        ran = 0

        def play(fence):
            nonlocal ran
            kind, name, body = fence.groups()
            if name:
                # The document's hosts have certificates of this world's own authority.
                trust = "export CURL_CA_BUNDLE=ca.pem GIT_SSL_CAINFO=$PWD/ca.pem\n"
                self.write(f"{self.desk}/{name}", trust + body if kind == "sh" else body)
                return fence.group()
            if kind != "console":
                return fence.group()
            said = ""
            for command, shown in commands(body):
                got = self.type(command)
                end = time.monotonic() + 60
                while command.startswith("sluice logs") and got.count("\n") < shown.count("\n") and time.monotonic() < end:
                    got = self.type(command)  # of a run in the background, which writes when it comes to it
                ran += 1
                said += f"$ {command}\n{got}"
                if not writing:
                    with self.subTest(command=command):
                        self.assertEqual(*(in_order(command, text) for text in (got, shown)))
            return f"```{kind}\n{said}```"

        writing = os.environ.get("SLUICE_WALKTHROUGH") == document
        written = FENCE.sub(play, text)
        self.assertGreater(ran, 0)
        if writing:
            print("-- document\n" + written + "-- end")


def typed(document):
    return lambda self: self.type_all(document)


TYPED_ELSEWHERE = {"agent-networks.md", "incident.md"}  # test_netns.py, test_incident.py

for path in sorted(pathlib.Path(world.DOCS).rglob("*.md")):
    name = str(path.relative_to(world.DOCS))
    if name not in TYPED_ELSEWHERE and "\n```console\n" in path.read_text(encoding="utf-8"):
        words = re.sub(r"\W+", "_", name.removesuffix(".md"))
        setattr(Walkthrough, f"test_{words}_prints_what_it_shows", typed(name))
