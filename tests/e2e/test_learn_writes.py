"""`sluice run --learn-writes`: what a command writes outside the workspace, as the options that allow it."""

import json
import os
import re
import shlex
import textwrap

import small_root
from agent import is_root
from roots import OverlayCase, made

INSTALL = """
    set -e
    mkdir -p /opt/tool /var/lib/learnt
    echo new >/etc/learnt.conf
    echo program >/opt/tool/program
    echo state >/var/lib/learnt/state
    cat /etc/learnt.conf /opt/tool/program /var/lib/learnt/state
"""


class LearnWrites(OverlayCase):
    def root_of_the_caller(self):
        """The machine's for root; an ordinary user has no overlay of that."""
        return "host" if is_root() else self.small()

    def learn(self, script, *options, root=None, status=0):
        self.root = root or self.root_of_the_caller()
        return self.inside(self.root, script, "--learn-writes", *options, status=status)

    def advice(self, run):
        """The options that the report names, as a shell would read them."""
        lines = [line for line in run.err.splitlines() if re.match(r"\s+--(tmpfs|seed) ", line)]
        self.assertEqual(len(lines), 1, run)
        return shlex.split(lines[0])

    def sandbox(self, run):
        """The `sandbox:` that the report names, as it is to stand in a policy."""
        lines = run.err.split("\n")
        begin = lines.index("    sandbox:")
        end = next(i for i in range(begin + 1, len(lines)) if not lines[i].startswith("     "))
        return textwrap.dedent("\n".join(lines[begin:end]))

    def learnt(self, script, *options, **keywords):
        run = self.learn(script, "--json", *options, **keywords)
        return json.loads(run.out.splitlines()[-1])

    def test_what_it_names_makes_the_same_command_succeed_under_the_read_only_root(self):
        first = self.learn(INSTALL)
        self.assertEqual(first.out.split(), ["new", "program", "state"], first)
        self.assertIn("'bash' and what it started wrote outside of the workspace", first.err, first)
        self.inside(self.root, INSTALL, status=1)
        run = self.inside(self.root, INSTALL, *self.advice(first))
        self.assertEqual(run.out.split(), ["new", "program", "state"], run)
        self.assertFalse(os.path.exists("/etc/learnt.conf"))

    def test_the_same_stands_in_a_policy(self):
        first = self.learn(INSTALL)
        policy = textwrap.indent(self.sandbox(first), "    ")
        self.write(self.policy_file, "version: 1\nagents:\n  coder-1:\n" + policy)
        run = self.inside(self.root, INSTALL)
        self.assertEqual(run.out.split(), ["new", "program", "state"], run)

    def test_a_seed_of_another_root_has_what_that_root_has_and_the_sandboxes_own_files(self):
        root = self.small()
        os.symlink("../../../../../../etc", f"{root}/out")
        with open(f"{root}/etc/resolv.conf", "w") as file:
            file.write("nameserver 192.0.2.1\n")
        self.give(root)
        before = self.snapshot(root)
        for seed in ("/etc", "/out"):
            run = self.inside(root, f"cat {seed}/os-release; echo NAME=changed >{seed}/os-release;"
                              f"cat {seed}/os-release /etc/resolv.conf /etc/hostname; id -un",
                              "--seed", f"{seed}:1MiB")  # fmt: skip
            self.assertEqual(run.out.split()[:5], ["NAME=small", "NAME=changed", "nameserver",
                                                   "127.0.0.1", "coder-1"], run)  # fmt: skip
            self.assertNotIn("somebody", run.out, run)
        self.assertEqual(self.snapshot(root), before)
        run = self.inside(root, "true", "--seed", "/nowhere", status=125)
        self.assertIn("/nowhere", run.err, run)

    def test_a_file_of_the_root_that_it_changes_asks_for_a_copy_and_an_empty_place_for_none(self):
        root = self.small()
        os.makedirs(f"{root}/srv/empty")
        self.give(root)
        learnt = self.learnt("echo more >>/etc/os-release; echo x >/srv/empty/x", root=root)
        allow = {one["path"]: one for one in learnt["allow"]}
        self.assertEqual({path: one["kind"] for path, one in allow.items()},
                         {"/etc": "seed", "/srv/empty": "tmpfs"}, learnt)  # fmt: skip
        written = {one["path"]: one for one in learnt["written"]}
        self.assertEqual(written["/srv/empty"], {"path": "/srv/empty", "files": 1, "bytes": 2,
                                                 "deletions": 0}, learnt)  # fmt: skip
        self.assertEqual(written["/etc"]["files"], 1, learnt)
        self.assertEqual(learnt["command"][:2], ["bash", "-c"], learnt)
        self.assertEqual(learnt["status"], 0, learnt)

    def test_deletions_count_and_are_allowed(self):
        root = self.small()
        script = "rm /usr/bin/dd && rm -r /etc/os-release && echo removed"
        first = self.learn(script, root=root)
        self.assertIn("1 deletion", first.err, first)
        run = self.inside(root, script, *self.advice(first))
        self.assertEqual(run.out, "removed\n", run)
        self.assertTrue(os.path.exists(f"{root}/usr/bin/dd"))

    def test_many_directories_make_a_short_answer(self):
        root = self.small()
        for number in range(40):
            os.makedirs(f"{root}/srv/data/part-{number}")
            with open(f"{root}/srv/data/part-{number}/file", "w") as file:
                file.write("x\n")
        self.give(root)
        script = "for part in /srv/data/*; do echo y >$part/file; done; cat /srv/data/part-7/file"
        first = self.learn(script, root=root)
        advice = self.advice(first)
        self.assertEqual(advice[0::2], ["--seed"], first)
        self.assertTrue(advice[1].startswith("/srv/data:"), first)
        run = self.inside(root, script, *advice)
        self.assertEqual(run.out, "y\n", run)

    def test_what_no_option_can_allow_is_named_with_the_reason(self):
        root = self.small()
        run = self.learn("echo x >/file; echo x >>/etc/passwd; echo x >/etc/hosts", root=root)
        self.assertIn("no option allows '/'", run.err, run)
        self.assertIn("no option allows '/etc/hosts': it is the sandbox's own", run.err, run)
        self.assertIn("no option allows '/etc/passwd': it is the sandbox's own", run.err, run)
        self.assertIn("--root-mode overlay", run.err, run)

    def test_names_that_an_agent_made_are_printable_and_no_option_is_made_of_them(self):
        learnt_root = self.small()
        script = """mkdir $'/odd\\e[2J' '/a:b' "/two 'words"; echo x >"/two 'words/x"
                    echo x >$'/odd\\e[2J/x'; echo x >'/a:b/x'; mkdir '/-- rm'; echo x >'/-- rm/x'"""
        run = self.learn(script, root=learnt_root)
        self.assertNotIn("\x1b", run.err, run)
        self.assertIn("\\x1b[2J", run.err, run)
        advice = self.advice(run)
        self.assertEqual(advice, ["--tmpfs", "/-- rm:16MiB", "--tmpfs", "/two 'words:16MiB"], run)
        self.assertIn('"/two \'words": 16MiB', self.sandbox(run), run)
        learnt = self.learnt(script, root=learnt_root)
        self.assertEqual([one["path"] for one in learnt["allow"]], ["/-- rm", "/two 'words"])

    def test_thousands_of_directories_make_a_bounded_answer_that_counts_what_it_leaves_out(self):
        script = """mkdir -p /big /srv/x && head -c 100000 /dev/zero >/big/file && mkdir /made-{1..3000}
                    mkdir -p /srv/x && echo x >/srv/x/y && cat /srv/x/y"""
        root = self.small()
        run = self.learn(script, root=root)
        self.assertLess(len(run.err.splitlines()), 250, run)
        self.assertIn("  /big: 1 file, 100000 bytes", run.err, run)
        self.assertIn("  and 2902 smaller directories: 0 files, 0 bytes, 0 deletions", run.err, run)
        options = self.advice(run)
        self.assertEqual(len(options), 200, run)
        self.assertEqual(options[:4:2] + options[1:4:2], ["--tmpfs", "--tmpfs", "/big:16MiB", "/srv:16MiB"])
        again = self.inside(root, "mkdir /srv/x && echo y >/srv/x/y && cat /srv/x/y", *options)
        self.assertEqual(again.out, "y\n", again)
        learnt = self.learnt(script, root=root)
        self.assertEqual((learnt["left_out"], learnt["unseen"]), (2902, ""))
        self.assertEqual((len(learnt["written"]), len(learnt["allow"])), (100, 100))

    def test_nothing_written_is_said(self):
        run = self.learn("echo x >made; echo x >/tmp/x; echo x >~/x", root=self.small())
        self.assertIn("nothing was written outside of the workspace", run.err, run)
        self.assertTrue(os.path.exists(f"{self.workspace}/made"))

    def test_a_command_that_fails_may_write_more(self):
        run = self.learn("echo x >/etc/x; exit 3", root=self.small(), status=3)
        self.assertIn("ended with status 3: it may write more", run.err, run)
        self.assertTrue(self.advice(run)[1].startswith("/etc:"), run)

    def test_it_is_an_overlay_and_says_so_where_there_can_be_none(self):
        run = self.inside(made("small", small_root.make), "true", "--learn-writes", "--root-mode",
                          "readonly", status=125)  # fmt: skip
        self.assertIn("--learn-writes", run.err, run)
        if not is_root():
            run = self.shell("true", options=["--learn-writes"], status=125)
            self.assertIn("only root's agents", run.err, run)
            self.assertIn("sluice root import NAME", run.err, run)
        run = self.shell("true", options=["--json"], status=125)
        self.assertIn("--json", run.err, run)

    def test_a_root_callers_agent_may_change_owners_there_and_nowhere_else(self):
        if not is_root():
            self.skipTest("an ordinary user's agent has one id")
        run = self.learn("echo x >/etc/x && chown 33:33 /etc/x", root=self.small())
        self.assertIn("belongs to other ids than the agent's", run.err, run)


class ReadOnlyHint(OverlayCase):
    def test_an_agent_that_fails_under_a_read_only_root_is_told_how_to_learn_what_it_writes(self):
        hint = "--learn-writes"
        root = self.small()
        self.assertIn(hint, self.inside(root, "echo x >/etc/x", status=1).err)
        self.assertNotIn(hint, self.inside(root, "exit 0").err)
        self.assertNotIn(hint, self.inside(root, "kill -9 $$", status=137).err)
        self.assertNotIn(hint, self.overlay(root, "exit 1", status=1).err)
        self.assertNotIn(hint, self.inside(root, "exit 1", "--quiet", status=1).err)
