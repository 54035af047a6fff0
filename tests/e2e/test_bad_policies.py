"""Hostile and broken policy files: an error with its place, in bounded time and memory, never a crash."""

import resource
import subprocess

import agent

SECONDS = 20  # far above what any of them takes; a bound, not a measure
BYTES = 2 * 1024**3


def head(rule):
    return b"version: 1\nagents:\n  coder-1:\n    allow:\n      - " + rule + b"\n"


def laughs():
    lines = [b"version: 1", b"a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for last, letter in zip(b"abcdefgh", b"bcdefghi"):
        lines.append(b"%c: &%c [%s]" % (letter, letter, b",".join([b"*%c" % last] * 10)))
    return b"\n".join(lines) + b"\n"


LOADS = {
    "CRLF": head(b"host: api.example.com").replace(b"\n", b"\r\n"),
    "a byte order mark": b"\xef\xbb\xbf" + head(b"host: api.example.com"),
}

# Name -> (bytes, what the first line of the complaint must hold).
REFUSED = {
    "51 MB": (b"# " + b"x" * 51_000_000, b"larger than 50000000 bytes"),
    "49 MB of one comment": (b"# " + b"x" * 49_000_000, b"the policy is empty"),
    "49 MB of one scalar": (head(b"host: " + b"x" * 49_000_000), b"is no host"),
    "a billion laughs": (laughs(), b"more than 4000000 values"),
    "an alias of itself": (b"version: 1\nagents: &a {x: *a}\n", b"alias inside"),
    "a million open lists": (b"[" * 1_000_000, b"nested deeper than 32 levels"),
    "a million open mappings": (b"{a: " * 1_000_000, b"nested deeper than 32 levels"),
    "a million nested dashes": (b"- " * 1_000_000, b"nested deeper than 32 levels"),
    "a million question marks": (b"? " * 1_000_000, b"nested deeper than 32 levels"),
    "10,000 labels": (head(b"host: " + b".".join([b"a"] * 10_000)), b"is no host"),
    "a label of 10,000 bytes": (head(b"host: " + b"a" * 10_000 + b".com"), b"is no host"),
    "nested repetition": (head(b'host_regex: "((a{90}){90}){90}"'), b"is no regex"),
    "a huge alternation": (head(b'host_regex: "' + b"(a|b)*" * 160 + b'"'), b""),
    "a tab as indentation": (b"version: 1\nagents:\n\tcoder-1: {}\n", b"3:"),
    "NUL": (head(b"host: evil.example\0.example.com"), b"control character 0x00"),
    "not UTF-8": (head(b"host: \xff.example.com"), b"is not UTF-8"),
    "UTF-16": ("version: 1\n".encode("utf-16"), b"is not UTF-8"),
    "escape sequences": (head(b'host: "\\e]0;x\\a.example.com"'), b"is no host"),
    "a tag": (head(b"host: !!python/object:os.system x"), b"has no meaning here"),
    "two documents": (b"version: 1\n---\nversion: 1\n", b"second YAML document"),
    "nothing": (b"", b"the policy is empty"),
    "a list": (b"- version: 1\n", b"not a mapping"),
    "a null": (b"~\n", b"the policy is empty"),
}


def bounded():
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


class BadPolicies(agent.Case):
    def check(self, content):
        path = f"{self.home}/hostile.yaml"
        with open(path, "wb") as file:
            file.write(content)
        self.own(path)
        return subprocess.run(
            self.command("policy", "check", path),
            capture_output=True,
            timeout=10 * SECONDS,
            check=False,
            preexec_fn=bounded,
        )

    def test_what_is_only_unusual_loads(self):
        for name, content in LOADS.items():
            with self.subTest(name):
                run = self.check(content)
                self.assertEqual((run.returncode, run.stderr), (0, b""))

    def test_what_is_broken_or_hostile_is_an_error_with_its_place(self):
        for name, (content, part) in REFUSED.items():
            with self.subTest(name):
                run = self.check(content)
                if not part:
                    self.assertIn(run.returncode, (0, 1), run.stderr[:500])
                    continue
                first = run.stderr.split(b"\n")[0]
                self.assertEqual(run.returncode, 1, first[:500])
                self.assertIn(part, first[:600])
                self.assertIn(b"hostile.yaml", first[:600])
                self.assertLess(len(run.stderr), 4096, "an error repeats no file")
                self.assertNotIn(b"\x1b", run.stderr)
                self.assertNotIn(b"\0", run.stderr)
