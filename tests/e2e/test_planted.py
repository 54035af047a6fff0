""""What an agent has planted for the tools of the person is named when its run ends."

Each test shows with the person's own git, outside, that it would have run what was planted."""

import os

from shared import SharedCase
from test_protected import Protected

DEEP = "/".join("abcdefghijklmnop")  # sixteen directories
UNSEEN = "not everything in "


class Planting(Protected):
    def setUp(self):
        super().setUp()
        self.mark = f"{self.home}/mark-of-{os.path.basename(self.workspace)}"

    def assert_person_runs(self, script):
        """What was planted runs once the person does `script`, and not before."""
        self.assertFalse(os.path.exists(self.mark))
        self.person(script, status=None)
        self.assertTrue(os.path.exists(self.mark), script)

    def repository_with_a_submodule(self):
        self.repository("library")
        self.repository()
        self.person("git -c protocol.file.allow=always submodule --quiet add ./library lib; "
                    "git commit -qm submodule")  # fmt: skip

    def agent(self, script, **keywords):
        """Runs a shell script as the agent, with `evil CONFIG` and `planted_bare DIR`."""
        return self.shell(
            f"""
            set -e
            export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com
            export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com
            git config --global safe.directory '*'
            evil() {{ printf '[core]\\n\\tfsmonitor = touch {self.mark}; :\\n' >> "$1"; }}
            planted() {{
              git init -q "$1"; git -C "$1" commit -q --allow-empty -m x
            }}
            planted_bare() {{
              git init -q --bare "$1"; tree=$(git -C "$1" hash-object -w -t tree /dev/null)
              commit=$(git -C "$1" commit-tree -m x $tree)
              git -C "$1" update-ref refs/heads/main $commit
              git --git-dir "$1" config core.bare false
              printf '#!/bin/sh\\ntouch {self.mark}\\n' > "$1/hooks/post-checkout"
              chmod +x "$1/hooks/post-checkout"
            }}
            submodule() {{
              printf '[submodule "%s"]\\n\\tpath = %s\\n\\turl = ./none\\n' "$1" "$2" >> .gitmodules
              git update-index --add --cacheinfo 160000,$commit,"$2"; git add .gitmodules
            }}
            """ + script, **keywords)  # fmt: skip

    def assert_named(self, run, *paths):
        named = self.named(run)
        for path in paths:
            self.assertTrue(
                any(line.startswith(f"'{self.workspace}/{path}': ") for line in named),
                f"{path} is not named\n{run}",
            )


class Modules(Planting):
    def test_a_repository_behind_a_symbolic_link_in_modules(self):
        self.repository_with_a_submodule()
        run = self.agent("planted_bare .git/info/x; ln -s ../info/x .git/modules/evil; "
                         "submodule evil new")  # fmt: skip
        self.assert_named(run, ".git/modules/evil", ".git/info/x")
        self.assert_person_runs("git submodule update --init new")

    def test_a_repository_in_that_of_a_submodule(self):
        self.repository_with_a_submodule()
        run = self.agent("planted_bare .git/modules/lib/x")
        self.assert_named(run, ".git/modules/lib/x")

    def test_a_repository_far_down_in_modules(self):
        self.repository_with_a_submodule()
        run = self.agent(f"planted_bare .git/modules/{DEEP}; submodule {DEEP} new")
        self.assert_named(run, f".git/modules/{DEEP}")
        self.assert_person_runs("git submodule update --init new")

    def test_a_link_in_modules_that_was_there_before_and_now_leads_to_a_repository(self):
        self.repository_with_a_submodule()
        self.person(f"ln -s ../../{DEEP} .git/modules/evil")
        run = self.agent(f"planted_bare {DEEP}; submodule evil new")
        self.assert_named(run, DEEP)
        self.assert_person_runs("git submodule update --init new")


class Gitlinks(Planting):
    def test_a_repository_far_down_that_the_index_names(self):
        self.repository()
        run = self.agent(f"planted {DEEP}; git add {DEEP} 2>&1; evil {DEEP}/.git/config")
        self.assert_named(run, f"{DEEP}/.git")
        self.assert_person_runs("git status")

    def test_one_where_there_is_more_than_is_looked_at_and_that_is_told_even_when_quiet(self):
        self.repository()
        script = (f"mkdir -p many many/{{1..20001}}; planted z/{DEEP}; git add z/{DEEP} 2>&1; "
                  f"evil z/{DEEP}/.git/config")  # fmt: skip
        run = self.agent(script, options=["--quiet"])
        self.assert_named(run, f"z/{DEEP}/.git")
        self.assertIn(f"{UNSEEN}'{self.workspace}' was looked at", run.err)
        self.assertNotIn("blocked", run.err)
        self.assert_person_runs("git status")
        run = self.shell("true", options=["--quiet"])
        self.assertEqual([line.count("again") for line in run.err.splitlines()], [0, 1], run)

    def test_one_that_a_submodules_own_index_names(self):
        self.repository_with_a_submodule()
        run = self.agent(
            f"mkdir -p many many/{{1..20001}}; cd lib; planted {DEEP}; git add {DEEP} 2>&1; "
            f"evil {DEEP}/.git/config"
        )
        self.assert_named(run, f"lib/{DEEP}/.git")
        self.assert_person_runs("git status")

    def test_one_that_the_index_of_a_linked_worktree_names(self):
        self.repository()
        self.person("git worktree add -q tree")
        run = self.agent(
            f"mkdir -p many many/{{1..20001}}; cd tree; planted {DEEP}; git add {DEEP} 2>&1; "
            f"evil {DEEP}/.git/config"
        )
        self.assert_named(run, f"tree/{DEEP}/.git")
        self.assert_person_runs("cd tree; git status")

    def test_one_that_a_split_index_names(self):
        self.repository()
        run = self.agent(
            f"""
            mkdir -p many many/{{1..20001}}
            planted {DEEP}; git add {DEEP} 2>&1; git update-index --split-index
            ls .git/sharedindex.*; evil {DEEP}/.git/config
            """
        )
        self.assert_named(run, f"{DEEP}/.git")
        self.assert_person_runs("git status")

    def test_one_far_down_whose_git_file_leads_into_the_git_directory(self):
        self.repository()
        run = self.agent(
            f"""
            planted_bare .git/info/x; evil .git/info/x/config
            mkdir -p {DEEP}; echo "gitdir: $PWD/.git/info/x" > {DEEP}/.git
            git update-index --add --cacheinfo 160000,$commit,{DEEP}
            """
        )
        self.assert_named(run, ".git/info/x", f"{DEEP}/.git")
        self.assert_person_runs("git status")


class Many(Planting):
    def test_configuration_that_includes_itself_without_end_holds_nobody_up(self):
        self.repository()
        self.shell("""
            mkdir -p evil/.git/objects evil/.git/refs && echo 'ref: refs/heads/main' > evil/.git/HEAD
            { echo '[include]'; for n in $(seq 60); do echo 'path = config'; done; } > evil/.git/config
        """)
        run = self.agent("planted beside")  # the look before the start, and the one after the end
        self.assert_named(run, "beside/.git")

    def test_a_repository_behind_many_others_is_named(self):
        self.repository()
        run = self.agent("for i in {1..30}; do git init -q a$i; done; planted zz; "
                         "git add zz 2>&1; evil zz/.git/config")  # fmt: skip
        self.assert_named(run, "zz/.git")
        self.assert_person_runs("git status")


class Inside(Planting):
    """Of a git directory."""

    def test_a_repository_to_which_a_link_of_the_work_tree_leads(self):
        self.repository()
        run = self.agent("planted .git/info/docs; evil .git/info/docs/.git/config; "
                         "ln -s .git/info/docs docs")  # fmt: skip
        self.assert_named(run, ".git/info/docs/.git", "docs")
        self.assert_person_runs("cd docs; git status")

    def test_a_bare_one_among_the_objects(self):
        self.repository()
        run = self.agent("planted_bare .git/objects/ab/c; evil .git/objects/ab/c/config; "
                         "git --git-dir .git/objects/ab/c config core.worktree .; "
                         "ln -s .git/objects/ab/c docs")  # fmt: skip
        self.assert_named(run, ".git/objects/ab/c", "docs")
        self.assert_person_runs("cd docs; git status")

    def test_what_is_closed_is_told_or_looked_at_all_the_same(self):
        self.repository()
        run = self.agent("planted .git/aaa/docs; chmod 0 .git/aaa", options=["--quiet"])
        if self.workspace_is_open_to_all():
            self.assert_named(run, ".git/aaa/docs/.git")
        else:
            self.assertIn(f"{UNSEEN}'{self.workspace}' was looked at", run.err)
            self.assertIn(f"'{self.workspace}/.git/aaa' is closed", run.err)

    def workspace_is_open_to_all(self):
        return os.environ["SLUICE_E2E_IDENTITY"] == "root"


class OtherTools(Planting):
    def test_what_an_alias_of_git_runs_is_named_when_it_changes(self):
        self.repository()
        self.person("mkdir tools; echo '#!/bin/sh' > tools/t; chmod +x tools/t; "
                    "git config alias.t '!f() { ./tools/t \"$@\"; }; f'")  # fmt: skip
        self.assertEqual(self.named(self.shell("true")), [])
        run = self.shell(f"echo 'touch {self.mark}' >> tools/t")
        self.assert_named(run, "tools/t")
        self.assert_person_runs("git t")

    def test_what_the_configuration_computes_is_protected_where_it_can_be_told_and_else_named(self):
        self.repository()
        self.person(
            """
            mkdir tools; echo '#!/bin/sh' > tools/watch; chmod +x tools/watch
            git config core.fsmonitor '"$(git rev-parse --show-toplevel)"/tools/watch'
            git config core.editor '`cat tools/which`'
            """
        )
        run = self.shell(f"echo 'touch {self.mark}' >> tools/watch", options=["--quiet"], status=1)
        self.assertIn("Read-only file system", run.err, run)
        self.assertIn(f"'{self.workspace}/.git/config' computes what core.editor runs", run.err)
        self.person(f"echo 'touch {self.mark}' >> tools/watch")
        self.assert_person_runs("git status")

    def test_repositories_of_other_systems_are_named_and_their_configuration_is_protected(self):
        kept = (".hg/hgrc", ".hg/hgrc-not-shared", "a/.hg/sharedpath", "a/.sl/config",
                "a/b/.jj/repo/config.toml", "a/.hg/hgrc")  # fmt: skip
        for path in kept:
            os.makedirs(os.path.dirname(f"{self.workspace}/{path}"), exist_ok=True)
            self.write(f"{self.workspace}/{path}", "")
        self.person("true") if os.environ["SLUICE_E2E_WORLD"] != "root" else self.own_tree()
        jobs = {path: f"open('{path}', 'a')" for path in kept}
        jobs |= {f"away {path}": f"os.rename('{path}', 'x')" for path in kept}
        jobs |= {"above": "os.rename('a/.hg', 'a/x')", "above all": "os.rename('a', 'x')"}
        self.assert_all_refused(self.try_inside(jobs), ("EROFS", "EBUSY", "EXDEV"))
        run = self.shell("mkdir -p new/.hg new/.sl new/.jj/repo")
        self.assert_named(run, "new/.hg", "new/.sl", "new/.jj")
        self.assertIn("new/.hg': a repository, whose hooks and config hg obeys", run.err)

    def own_tree(self):
        for folder, _, files in os.walk(self.workspace):
            self.own(folder)
            for name in files:
                self.own(f"{folder}/{name}")


PROTECT = """
version: 1
agents:
  coder-1:
    allow:
      - host: allowed.test
    sandbox:
      protect: [.tool/hooks, tasks.py, made/later, jump/end]
"""


class ThePolicysOwn(Planting):
    policy = PROTECT

    def setUp(self):
        super().setUp()
        self.write(f"{self.workspace}/tasks.py", "# as it was\n")
        self.person("mkdir -p .tool/hooks far; echo 'exit 0' > .tool/hooks/a; ln -s far jump")

    def test_paths_are_read_only_and_stay_where_they_are(self):
        self.assert_all_refused(self.try_inside({
            "file": "open('tasks.py', 'a')", "replace": "os.unlink('tasks.py')",
            "below": "open('.tool/hooks/a', 'w')", "new": "open('.tool/hooks/b', 'w')",
            "above": "os.rename('.tool', 'x')", "missing": "open('made/later/x', 'w')",
            "missing itself": "os.rmdir('made/later')", "above it": "os.rename('made', 'x')",
            "behind a link": "open('far/end/x', 'w')", "the link": "os.unlink('jump')",
        }))  # fmt: skip
        self.shell("echo x > .tool/other; echo x > far/other")
        self.assertEqual(self.left(), [".tool", "far", "jump", "tasks.py"])
        self.assertEqual(os.listdir(f"{self.workspace}/far"), ["other"])

    def test_stand_ins_go_with_the_run_and_what_the_agent_made_beside_them_stays(self):
        run = self.shell("echo x > made/mine; ls -d made/later")
        self.assertEqual(self.named(run), [], run)
        self.assertEqual(os.listdir(f"{self.workspace}/made"), ["mine"])

    def test_what_changed_all_the_same_is_named(self):
        os.link(f"{self.workspace}/tasks.py", f"{self.workspace}/other-name")
        run = self.shell("echo x >> other-name", options=["--quiet"])
        self.assertEqual(self.named(run), [f"'{self.workspace}/tasks.py': the policy protects it"])

    def test_a_dry_run_shows_them(self):
        run = self.sluice(*self.run_line("true", options=["--dry-run"]))
        self.assertIn(f"keep {self.workspace}/tasks.py read-only: the policy protects it", run.out)

    def test_no_bind_opens_them(self):
        for path, status in ((".tool/hooks", 125), (".tool/hooks/a", 125), (".tool", 0)):
            source = f"{self.workspace}/{path}"
            for destination in (source, f"{self.workspace}/inside"):
                run = self.shell("echo x > .tool/hooks/new; echo x > inside/hooks/new; true",
                                 options=["--bind", f"{source}:{destination}:rw"], status=status)
                if status:
                    self.assertIn("'--bind' opens what the policy protects: ", run.err)
                self.assertEqual(os.listdir(f"{self.workspace}/.tool/hooks"), ["a"])
        run = self.shell("echo x > /opt/.tool/hooks/new; true",
                         options=["--bind", f"{self.workspace}:/opt:rw"])  # fmt: skip
        self.assertIn("Read-only file system", run.err)
        self.shell("true", options=["--bind", f"{self.workspace}/tasks.py:{self.workspace}/ca.pem"])


class SharedPolicysOwn(SharedCase):
    policy = PROTECT

    def test_a_shared_sluiced_says_what_is_protected(self):
        self.start_sluiced()
        self.write(f"{self.workspace}/tasks.py", "")
        run = self.sluice("run", "--agent", "coder-1", "--workspace", self.workspace, "--",
                          "bash", "-c", "echo x > tasks.py")  # fmt: skip
        self.assertEqual(run.status, 1, run)
        self.assertIn("Read-only file system", run.err)
