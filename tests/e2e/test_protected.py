""""What your tools run later stays as it is."

What would run code outside later stays as it is: git's hooks and configuration, those of agents,
editors and shells; and what stands in for it where it does not exist yet is gone after the run."""

import json
import os
import signal
import subprocess
import textwrap
import time

import world
from agent import ORDINARY_UID, Case, as_ordinary, is_root

TOOLS = (".vscode", ".idea", ".claude", ".cursor", ".mcp.json", ".envrc", ".devcontainer")
NAMED = "made or changed during this run, look at it before you work there: "

TRY = """
import errno, json, os, sys
answers = {}
for name, code in json.load(open(sys.argv[1])):
    try:
        exec(code)
        answers[name] = "worked"
    except OSError as error:
        answers[name] = errno.errorcode[error.errno]
print(json.dumps(answers))
"""


class Protected(Case):
    def setUp(self):
        super().setUp()
        self.ours = set(os.listdir(self.workspace))
        self.environment["GIT_CONFIG_NOSYSTEM"] = "1"

    def person(self, script, folder=None, status=0):
        """Runs a shell script as the person, outside of any sandbox."""
        names = {f"GIT_{who}_{what}": "a@example.com"
                 for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}  # fmt: skip
        command = ["bash", "-ec", textwrap.dedent(script)]
        run = subprocess.run(
            command if is_root() else as_ordinary(*command),
            cwd=folder or self.workspace, env={**self.environment, **names},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)  # fmt: skip
        if status is not None:
            self.assertEqual(run.returncode, status, f"{run.stdout}\n{run.stderr}")
        return run.stdout

    def repository(self, folder="."):
        self.person(f"git init -q {folder}; cd {folder}; echo text > file; git add file; "
                     "git commit -qm first")  # fmt: skip

    def try_inside(self, jobs, **keywords):
        """Runs each statement as the agent; answers "worked" or the errno's name for each."""
        listed = self.write(f"{self.workspace}/jobs.json", json.dumps(list(jobs.items())))
        run = self.run_agent(world.PYTHON, "-c", TRY, listed, **keywords)
        return run.json()

    def assert_all_refused(self, answers, codes=("EROFS", "EBUSY")):
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIn(answer, codes)

    def named(self, run):
        return [line.split(NAMED, 1)[1] for line in run.err.splitlines() if NAMED in line]

    def left(self):
        """What the runs left in the workspace beside what the test made."""
        return sorted(set(os.listdir(self.workspace)) - self.ours - {"jobs.json"})


class Git(Protected):
    def test_hooks_and_configuration_are_read_only(self):
        self.repository()
        answers = self.try_inside({
            "hook": "open('.git/hooks/pre-commit', 'w')",
            "config": "open('.git/config', 'a')",
            "config.lock": "os.rename('file', '.git/config')",
            "unlink": "os.unlink('.git/config')",
            "config.worktree": "open('.git/config.worktree', 'w')",
            "commondir": "open('.git/commondir', 'w')",
            "unlink commondir": "os.unlink('.git/commondir')",
            "remotes": "open('.git/remotes/origin', 'w')",
            "branches": "open('.git/branches/origin', 'w')",
            "chmod": "os.chmod('.git/hooks', 0o700)",
            "rmdir": "os.rmdir('.git/remotes')",
            "move hooks": "os.rename('.git/hooks', '.git/old')",
            "move .git": "os.rename('.git', 'old')",
            "replace .git": "os.mkdir('new'); os.rename('new', '.git')",
            "file over .git": "open('gitfile', 'w').close(); os.rename('gitfile', '.git')",
            "link": "os.symlink('evil', '.git/commondir')",
        })  # fmt: skip
        self.assertEqual(answers.pop("link"), "EEXIST")
        self.assertIn(answers.pop("config.lock"), ("EXDEV", "EBUSY"))
        self.assertIn(answers.pop("file over .git"), ("EXDEV", "EBUSY", "EISDIR"))
        self.assert_all_refused(answers)
        run = self.shell("git config core.fsmonitor ./evil 2>&1; mv .git old 2>&1; true")
        self.assertIn("Device or resource busy", run.out, run)
        self.assertNotIn("evil", self.person("cat .git/config"), run)

    def test_git_works_inside(self):
        self.repository()
        other = f"{self.workspace}-other"
        os.makedirs(other)
        self.own(other)
        self.person(f"git init -q --bare {other}; git push -q {other} HEAD:refs/heads/main")
        run = self.shell(
            """
            set -e
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
            export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
            echo more >> file; git add file; git commit -qm second; git branch other
            git checkout -q other; echo most >> file; git stash -q; git stash pop -q
            git commit -qam third; git checkout -q -; git merge -q other; git tag one
            git gc -q; git repack -adq; git reflog | wc -l; git log --oneline | wc -l
            git config --global safe.directory '*'
            git fetch -q ../$(basename $PWD)-other main; git rebase -q HEAD~1
            git status --short file
            git rev-parse --show-toplevel; git worktree add -q tree; git worktree list | wc -l
            """, options=["--bind", other])  # fmt: skip
        self.assertEqual(run.out.split()[1:], ["3", self.workspace, "2"], run)
        self.assertEqual(self.person("git log --oneline | wc -l; git status --short file").split(),
                         ["3"])  # fmt: skip
        self.assertEqual(self.person("git fsck 2>&1; ls .git").count("commondir"), 0)

    def test_submodules_worktrees_and_nested_repositories_are_protected_too(self):
        self.repository("vendor/deep/nested")
        self.repository("library")
        self.repository()
        self.person(
            """
            git -c protocol.file.allow=always submodule --quiet add ./library lib/one
            git -c protocol.file.allow=always submodule --quiet add ./library lib/two
            git commit -qm submodules; git submodule --quiet deinit -f lib/two
            git worktree add -q tree; git clone -q --bare . bare.git
            cp -r .git/worktrees/tree .git/worktrees/far
            echo /srv/far/.git > .git/worktrees/far/gitdir
            """
        )
        hooks = ("vendor/deep/nested/.git", "bare.git", ".git/modules/lib/one",
                 ".git/modules/lib/two")  # fmt: skip
        jobs = {f"{git}/hooks": f"open('{git}/hooks/post-checkout', 'w')" for git in hooks}
        jobs |= {f"{git}/config": f"open('{git}/config', 'a')" for git in hooks}
        moved = ("vendor", "vendor/deep", "vendor/deep/nested", "vendor/deep/nested/.git", "lib",
                 "lib/one", "lib/one/.git", ".git/modules", ".git/modules/lib", "tree", "tree/.git",
                 ".git/modules/lib/one", ".git/worktrees", ".git/worktrees/tree", "bare.git")
        jobs |= {f"move {path}": f"os.rename('{path}', '{path}-moved')" for path in moved}
        jobs |= {
            "gitfile": "open('lib/one/.git', 'w')",
            "worktree's gitfile": "open('tree/.git', 'w')",
            "commondir": "open('.git/worktrees/tree/commondir', 'w')",
            "gitdir": "open('.git/worktrees/tree/gitdir', 'w')",
            "far commondir": "open('.git/worktrees/far/commondir', 'w')",
            "config.worktree": "open('.git/worktrees/tree/config.worktree', 'w')",
            "module's commondir": "open('.git/modules/lib/one/commondir', 'w')",
        }
        self.assert_all_refused(self.try_inside(jobs))
        run = self.shell("git config --global user.name a; git config --global user.email a@b; "
                         "cd tree; echo a >> file; git commit -qam x; "
                         "cd ../lib/one; git checkout -qb y; cd ../../vendor/deep/nested; "
                         "git commit -q --allow-empty -m z; "
                         "git log --oneline | wc -l")  # fmt: skip
        self.assertEqual(run.out.strip(), "2", run)

    def test_what_the_configuration_names_is_protected(self):
        self.repository()
        self.person(
            """
            mkdir -p tools/hooks scripts; echo '#!/bin/sh' > scripts/clean; chmod +x scripts/clean
            echo '[alias]' > common.config
            git config core.hooksPath tools/hooks; git config include.path ../common.config
            git config filter.f.clean 'sh scripts/clean %f'
            git config --add include.path later.config
            """
        )
        self.assert_all_refused(self.try_inside({
            "hook": "open('tools/hooks/pre-commit', 'w')",
            "hooks": "os.rename('tools/hooks', 'tools/moved')",
            "tools": "os.rename('tools', 'moved')",
            "include": "open('common.config', 'a')",
            "missing include": "open('.git/later.config', 'w')",
            "filter": "open('scripts/clean', 'w')",
            "scripts": "os.rename('scripts', 'moved')",
        }))  # fmt: skip

    def test_a_protected_path_that_is_a_symbolic_link_stays_one_and_its_end_is_protected(self):
        self.repository()
        self.person(
            """
            mkdir -p team/hooks team/claude; rm -rf .git/hooks; ln -s ../team/hooks .git/hooks
            ln -s team/first .claude; ln -s claude team/first
            """
        )
        self.assert_all_refused(self.try_inside({
            "through": "open('.git/hooks/pre-commit', 'w')",
            "the end": "open('team/hooks/pre-commit', 'w')",
            "unlink": "os.unlink('.git/hooks')",
            "unlink the first": "os.unlink('.claude')",
            "unlink the second": "os.unlink('team/first')",
            "the end of both": "open('team/claude/settings.json', 'w')",
            "above": "os.rename('team', 'moved')",
        }))  # fmt: skip
        self.assertEqual(self.shell("readlink .claude .git/hooks team/first").out.split(),
                         ["team/first", "../team/hooks", "claude"])  # fmt: skip

    def test_the_git_directory_behind_a_git_file_is_protected(self):
        self.person("mkdir elsewhere; git init -q --separate-git-dir elsewhere/project.git tree; "
                     "cd tree; git commit -q --allow-empty -m first")  # fmt: skip
        self.assert_all_refused(self.try_inside({
            "the file": "open('tree/.git', 'w')",
            "hook": "open('elsewhere/project.git/hooks/x', 'w')",
            "config": "open('elsewhere/project.git/config', 'a')",
            "move": "os.rename('elsewhere', 'moved')",
        }))  # fmt: skip

    def test_a_writable_bind_is_protected_as_the_workspace_is_and_a_read_only_one_is_not(self):
        for mode in ("rw", "ro"):
            other = f"{self.workspace}-{mode}"
            os.makedirs(other)
            self.own(other)
            self.person("git init -q", other)
        binds = (f"{self.workspace}-rw:/tmp/two:rw", f"{self.workspace}-ro:/opt")
        options = [word for bind in binds for word in ("--bind", bind)]
        answers = self.try_inside({
            "hook": "open('/tmp/two/.git/hooks/x', 'w')",
            "move": "os.rename('/tmp/two/.git', '/tmp/two/x')",
            "editor": "os.mkdir('/tmp/two/.vscode/x')"}, options=options)  # fmt: skip
        self.assert_all_refused(answers)
        self.assertEqual(os.listdir(f"{self.workspace}-rw"), [".git"])
        run = self.sluice(*self.run_line("true", options=[*options, "--dry-run"]))
        self.assertIn("keep /tmp/two/.git/hooks read-only: git runs what is in it", run.out)
        self.assertIn("keep /tmp/two/.git where it is", run.out)
        self.assertNotIn("keep /opt", run.out)

    def test_a_bind_of_its_own_opens_what_is_protected(self):
        self.repository()
        hooks = f"{self.workspace}/.git/hooks"
        options = ["--bind", f"{hooks}:{hooks}:rw"]
        self.assertEqual(self.named(self.run_agent("true", options=options)), [])
        run = self.shell("echo text > .git/hooks/mine; ! echo >> .git/config", options=options)
        self.assertTrue(os.path.exists(f"{hooks}/mine"))
        self.assertEqual(self.named(run), [f"'{hooks}': git runs what is in it"])
        secrets = self.write(f"{self.workspace}/file-elsewhere", "text")
        options = ["--bind", f"{secrets}:{self.workspace}/.envrc"]
        self.assertEqual(self.shell("cat .envrc", options=options).out, "text")

    def test_a_writable_bind_that_is_no_project_gets_no_stand_ins(self):
        plain = f"{self.workspace}-plain"
        os.makedirs(plain)
        self.own(plain)
        options = ["--bind", f"{plain}:/tmp/plain:rw"]
        run = self.shell("ls -A /tmp/plain; mkdir /tmp/plain/.vscode", options=options)
        self.assertEqual(run.out, "", run)
        self.assertEqual(len(self.named(run)), 1, run)


    def test_a_workspace_in_a_repository_is_protected_from_what_its_configuration_names(self):
        self.repository()
        self.person("mkdir -p inner/hooks; git config core.hooksPath inner/hooks")
        inner = f"{self.workspace}/inner"
        self.write(f"{inner}/a.py", "open('hooks/pre-commit', 'w')")
        run = self.run_agent(world.PYTHON, "a.py", options=["--workspace", inner], status=1)
        self.assertIn("Read-only file system", run.err, run)

    def test_a_repository_of_a_submodule_is_not_made_before_git_makes_it(self):
        self.repository()
        run = self.shell("mkdir -p .git/modules/library/hooks", status=1)
        self.assertIn("Read-only file system", run.err, run)
        self.assertNotIn("modules", os.listdir(f"{self.workspace}/.git"))


class Tools(Protected):
    def test_what_editors_and_agents_outside_obey_is_not_made_and_not_changed(self):
        os.makedirs(f"{self.workspace}/.zed")
        self.own(f"{self.workspace}/.zed")
        self.write(f"{self.workspace}/.zed/tasks.json", "[]")
        self.write(f"{self.workspace}/.aider.conf.yml", "")
        self.write(f"{self.workspace}/all.code-workspace", "{}")
        jobs = {f"in {name}": f"open('{name}/x', 'w')" for name in TOOLS}
        jobs |= {f"instead of {name}": f"os.rmdir('{name}')" for name in TOOLS}
        jobs |= {f"away {name}": f"os.rename('{name}', 'moved')" for name in TOOLS}
        jobs |= {"existing": "open('.zed/tasks.json', 'w')", "new": "open('.zed/new', 'w')",
                 "file": "open('.aider.conf.yml', 'w')",
                 "editor's": "open('all.code-workspace', 'w')"}  # fmt: skip
        self.assert_all_refused(self.try_inside(jobs))
        self.assertEqual(self.left(), [".aider.conf.yml", ".zed", "all.code-workspace"])

    def test_git_does_not_see_what_stands_in(self):
        self.repository()
        self.person("git add -A; git commit -qm all")
        run = self.shell("git status --porcelain; git add -A; git status --porcelain")
        self.assertEqual(run.out, "", run)

    def test_names_that_agents_need_stay_writable(self):
        self.shell("for f in CLAUDE.md AGENTS.md Makefile package.json .gitignore .gitattributes "
                   ".gitmodules .editorconfig .pre-commit-config.yaml; do echo text > $f; done; "
                   "mkdir -p .github/workflows; echo text > .github/workflows/ci.yml")  # fmt: skip


class StandIns(Protected):
    def start_and_wait(self):
        """An agent that has begun and waits; what stands in for the run is there."""
        process = self.start_agent("bash", "-c", "echo begun; sleep 300")
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"begun\n")
        self.assertTrue(os.path.isdir(f"{self.workspace}/.vscode"))
        return process

    def test_they_are_gone_after_the_run_and_git_does_not_mind_them_meanwhile(self):
        self.repository()
        before = sorted(os.listdir(self.workspace)), sorted(os.listdir(f"{self.workspace}/.git"))
        process = self.start_and_wait()
        self.assertEqual(self.person("git status --porcelain --untracked-files=all .vscode"), "")
        self.assertEqual(self.person("git log --format=%s"), "first\n")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        after = sorted(os.listdir(self.workspace)), sorted(os.listdir(f"{self.workspace}/.git"))
        self.assertEqual(after, before)

    def test_those_of_a_root_caller_belong_to_whose_workspace_it_is(self):
        if is_root():
            os.chown(self.workspace, ORDINARY_UID, ORDINARY_UID)
        process = self.start_and_wait()
        made = os.stat(f"{self.workspace}/.vscode")
        self.assertEqual((made.st_uid, made.st_gid), (ORDINARY_UID, ORDINARY_UID))
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.assertEqual(self.left(), [])

    def test_after_kill_the_next_run_of_another_workspace_removes_them(self):
        process = self.start_and_wait()
        self.kill_sluice(process)
        self.assertIn(".vscode", self.left())
        other = f"{self.workspace}-other"
        os.makedirs(other)
        self.own(other)
        self.run_agent("true", options=["--workspace", other])
        self.assertEqual(self.left(), [])
        self.assertEqual(os.listdir(other), [])

    def kill_sluice(self, process):
        """kill -9 of sluice itself; setpriv has become it, unshare waits above it."""
        process.kill()
        process.wait(60)
        deadline = time.monotonic() + 60
        while set(world.processes()) - self._before and time.monotonic() < deadline:
            for pid in set(world.processes()) - self._before:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            time.sleep(0.05)

    def test_what_somebody_put_into_one_stays(self):
        process = self.start_and_wait()
        self.write(f"{self.workspace}/.vscode/settings.json", "{}")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.assertEqual(self.left(), [".vscode"])
        self.assertEqual(os.listdir(f"{self.workspace}/.vscode"), ["settings.json"])

    def test_a_run_that_ends_leaves_those_of_a_run_that_goes_on(self):
        """Also of a workspace within the other one, which found them there."""
        self.repository("inner")
        first = self.start_and_wait()
        inner = f"{self.workspace}/inner"
        policy = self.write(f"{self.home}/any.yaml", "version: 1\nagents:\n  other-1: {}\n")
        script = ("echo begun; read line; mkdir .git/hooks/x; echo x > .git/commondir; "
                  "echo x > .vscode/x; true")  # fmt: skip
        line = ("run", "--policy", policy, "--agent", "other-1", "--workspace", inner, "--",
                "bash", "-c", script)  # fmt: skip
        second = self.start(self.command(*line), stdin=subprocess.PIPE)
        self.addCleanup(second.communicate)
        self.addCleanup(second.kill)
        self.assertEqual(second.stdout.readline(), b"begun\n")
        first.send_signal(signal.SIGTERM)
        first.wait(60)
        self.assertIn(".vscode", os.listdir(inner))
        second.stdin.write(b"go\n")
        second.stdin.flush()
        run = self.finish(second)
        self.assertEqual(run.err.count("Read-only file system"), 3, run)
        self.assertEqual(self.named(run), [], run)
        self.assertEqual(sorted(os.listdir(inner)), [".git", "file"])
        self.assertEqual(self.left(), ["inner"])
        self.assertNotIn("commondir", os.listdir(f"{inner}/.git"))

    def test_a_symbolic_link_in_place_of_a_directory_leads_the_removal_nowhere(self):
        self.repository()
        process = self.start_and_wait()
        os.rename(f"{self.workspace}/.git", f"{self.workspace}/moved")
        os.symlink("moved", f"{self.workspace}/.git")
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        self.assertIn("remotes", os.listdir(f"{self.workspace}/moved"))


    def test_what_the_persons_own_git_replaces_during_the_run_is_named(self):
        """Its mount goes with the file that is replaced: the kernel's rule, in every namespace."""
        self.repository()
        process = self.start_and_wait()
        self.person("git config a.b c")
        process.send_signal(signal.SIGTERM)
        run = self.finish(process)
        self.assertEqual(len(self.named(run)), 1, run)
        self.assertIn("/.git/config': ", self.named(run)[0])


class Named(Protected):
    """What could not be prevented is told."""

    def test_a_run_that_makes_nothing_protected_says_nothing(self):
        self.repository()
        run = self.shell("echo text > other; git add other; git stash -q")
        self.assertEqual(self.named(run), [])

    def test_new_repositories_are_named_plain_bare_and_by_a_git_file(self):
        run = self.shell(
            r"""
            git init -q; git init -q one/two; git init -q --bare three
            mkdir four; echo 'gitdir: ../three' > four/.git; git init -q "$(printf 'five\033[31m')"
            """
        )
        named = "\n".join(self.named(run))
        for path in ("/.git'", "/one/two/.git'", "/three'", "/four/.git'", "/five\\x1B[31m/.git'"):
            self.assertIn(self.workspace.split("/")[-1] + path, named.replace("\\x1b", "\\x1B"))

    def test_a_directory_that_git_takes_for_a_repository_in_place_of_a_broken_one_is_named(self):
        self.repository()
        run = self.shell("rm .git/HEAD; mkdir objects refs; echo 'ref: refs/heads/x' > HEAD; "
                         "printf '[core]\n\tfsmonitor = ./evil\n' > config")  # fmt: skip
        self.assertIn(f"'{self.workspace}': a repository, whose hooks and config git obeys",
                      self.named(run))  # fmt: skip

    def test_steps_of_a_rebase_names_in_nested_projects_and_what_has_no_stand_in_are_named(self):
        self.repository("nested")
        self.repository()
        run = self.shell("cd .git; mkdir rebase-merge; > rebase-merge/git-rebase-todo; cd ..; "
                         "mkdir -p nested/.vscode folder/.claude node_modules/a/.vscode; "
                         "echo x > .vimrc; mkdir .husky")  # fmt: skip
        named = "\n".join(self.named(run))
        for path in (".git/rebase-merge/git-rebase-todo", "nested/.vscode", ".vimrc", ".husky",
                     "folder/.claude"):  # fmt: skip
            self.assertIn(f"/{path}': ", named)
        self.assertNotIn("node_modules", named)

    def test_a_file_that_was_written_by_its_other_name_is_named(self):
        self.repository()
        self.write(f"{self.workspace}/.git/hooks/pre-commit", "")
        os.link(f"{self.workspace}/.git/config", f"{self.workspace}/other-name")
        os.link(f"{self.workspace}/.git/hooks/pre-commit", f"{self.workspace}/another-name")
        run = self.shell("printf '[core]\n\tfsmonitor = ./evil\n' >> other-name")
        self.assertEqual([name.rsplit("/", 1)[1] for name in self.named(run)],
                         ["config': names programs that git status, diff and commit run"])
        run = self.shell("echo evil > another-name")
        self.assertEqual([name.rsplit("/", 1)[1] for name in self.named(run)],
                         ["hooks': git runs what is in it"])  # fmt: skip

    def test_symbolic_links_through_which_git_would_write_elsewhere_are_named(self):
        self.repository()
        run = self.shell("rm -f .git/COMMIT_EDITMSG .git/logs/HEAD; ln -s /etc/x .git/logs/HEAD; "
                         "ln -s /home/agent/.bashrc .git/COMMIT_EDITMSG; ln -s f ordinary")
        named = self.named(run)
        self.assertEqual(len(named), 2, run)
        self.assertIn(".git/COMMIT_EDITMSG': a symbolic link", named[0])
        self.assertIn(".git/logs/HEAD': a symbolic link", named[1])

    def test_an_index_that_makes_git_write_hooks_is_named(self):
        """git verifies no path when it reads an index: checkout would write .git/hooks."""
        self.repository()
        for version in (2, 4):
            with self.subTest(version):
                run = self.shell(
                    f"""
                    rm -f .git/index; git update-index --index-version {version}
                    mkdir -p Zgit/hooks; echo evil > Zgit/hooks/x; git add file Zgit
                    python3 -c "
                    import hashlib
                    b = open('.git/index', 'rb').read()[:-20]
                    b = b.replace(b'Zgit/hooks/x', b'.git/hooks/x')
                    open('.git/index', 'wb').write(b + hashlib.sha1(b).digest())"
                    git ls-files
                    """
                )
                self.assertIn(".git/hooks/x", run.out, run)
                self.assertEqual([name.rsplit("/", 1)[1] for name in self.named(run)], [
                    "index': an index that makes git checkout write where git never does"])
                self.person("rm -rf .git/index Zgit")
