"""`sluice policy discover` reads what a project's tools are configured for, and runs none of them."""

import json
import os

from agent import Case


class PolicyDiscover(Case):
    def setUp(self):
        super().setUp()
        name = os.path.basename(self.workspace)
        self.home_of_user = f"{self.home}/discover-{name}"
        os.makedirs(self.home_of_user)
        self.environment["HOME"] = self.home_of_user

    def put(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.write(path, text)

    def discover(self, *arguments, status=0):
        run = self.sluice("policy", "discover", *arguments)
        self.assertEqual(run.status, status, run)
        return run

    def rules(self):
        """By host; what the machine's own files say is left aside."""
        found = json.loads(self.discover(self.workspace, "--json").out)["rules"]
        return {rule.get("host"): rule for rule in found}

    def test_what_a_user_wrote_is_a_rule_and_what_an_agent_could_write_is_a_comment(self):
        self.put(f"{self.home_of_user}/.npmrc", "registry=https://mirror.example.com/npm/\n")
        self.put(f"{self.workspace}/.npmrc", "@x:registry=https://evil.test/\n")
        self.put(f"{self.workspace}/.git/config",
                 '[remote "origin"]\n\turl = git@git.test:team/x.git\n')  # fmt: skip
        out = self.discover(self.workspace).out
        self.assertIn(
            "      # from ~/.npmrc:1\n      - host: mirror.example.com\n        ports: [443]\n"
            "        why: npm registry\n",
            out,
        )
        self.assertIn("      #- host: evil.test\n", out)
        self.assertIn(
            "      #- host: git.test\n      #  ports: [22]\n      #  tls: \"off\"\n", out
        )
        rules = self.rules()
        self.assertEqual(rules["mirror.example.com"]["trust"], "user")
        self.assertEqual(rules["evil.test"]["trust"], "project")
        self.assertEqual(rules["git.test"]["tls"], "off")

    def test_the_rules_are_what_they_say_once_they_are_pasted(self):
        self.put(f"{self.home_of_user}/.npmrc", "registry=https://mirror.example.com/npm/\n")
        self.put(f"{self.workspace}/.npmrc", "@x:registry=https://evil.test/\n")
        head = "version: 1\nagents:\n  coder-1:\n    allow:\n"
        policy = self.write(f"{self.home_of_user}/p.yaml", head + self.discover(self.workspace).out)
        checked = self.sluice("policy", "check", policy)
        self.assertEqual(checked.status, 0, checked)
        for host, status in (("mirror.example.com", 0), ("evil.test", 1)):
            run = self.sluice("policy", "explain", policy, "coder-1", host)
            self.assertEqual(run.status, status, run)

    def test_no_tool_of_the_project_is_run(self):
        """Tools first in PATH that would leave a trace, and configuration that names programs."""
        tools = f"{self.workspace}/bin"
        for tool in ("npm", "node", "pip", "pip3", "python3", "cargo", "go", "mvn", "git", "apt"):
            self.put(f"{tools}/{tool}", f"#!/bin/sh\ntouch {self.workspace}/ran\n")
            os.chmod(f"{tools}/{tool}", 0o755)
        self.environment["PATH"] = f"{tools}:{self.environment.get('PATH', '/usr/bin:/bin')}"
        for name in ("package.json", "setup.py", "go.mod", "pom.xml", "Cargo.toml", ".envrc"):
            self.put(f"{self.workspace}/{name}", "")
        self.put(
            f"{self.workspace}/.git/config",
            f'[core]\n\tfsmonitor = "touch {self.workspace}/ran"\n'
            f'[remote "x"]\n\turl = "ext::touch {self.workspace}/ran"\n',
        )
        run = self.discover(self.workspace)
        self.assertIn("cargo is used here (Cargo.toml)", run.out)
        self.assertIn(".git/config:4:1: warning: the git remote here names no host", run.err)
        self.assertFalse(os.path.exists(f"{self.workspace}/ran"))

    def test_credentials_and_the_target_of_a_link_are_printed_nowhere(self):
        secret = "hunter2hunter2"
        self.put(f"{self.home_of_user}/hidden", f"root:{secret}:1:2:::\n[x\n")
        self.put(
            f"{self.home_of_user}/.npmrc",
            f"//a.test/:_authToken={secret}\nregistry=https://u:{secret}@a.test/\n"
            f"@x:registry=https://{secret}:{secret}/\n",
        )
        for name in (".gitmodules", "pyproject.toml", "pom.xml", ".yarnrc.yml", "requirements.txt"):
            os.symlink(f"{self.home_of_user}/hidden", f"{self.workspace}/{name}")
        for arguments in ((self.workspace,), (self.workspace, "--json")):
            run = self.discover(*arguments)
            self.assertIn("a.test", run.out)
            self.assertNotIn(secret, run.out + run.err)

    def test_a_fifo_and_a_device_are_not_waited_for(self):
        os.mkfifo(f"{self.workspace}/.npmrc")
        os.symlink("/dev/zero", f"{self.workspace}/package-lock.json")
        os.symlink("/dev/tty", f"{self.workspace}/yarn.lock")
        run = self.discover(self.workspace)
        self.assertIn(".npmrc:0:1: warning: it is no regular file, and was not read\n", run.err)
        self.assertLess(run.seconds, 60)

    def test_the_exit_status_is_0_without_a_finding_and_2_for_bad_usage(self):
        self.discover(self.workspace)
        run = self.discover(f"{self.workspace}/none", status=2)
        self.assertIn("/none': No such file or directory", run.err)
        self.assertEqual(run.out, "")
        self.put(f"{self.workspace}/file", "")
        self.discover(f"{self.workspace}/file", status=2)
        self.discover(self.workspace, "more", status=2)
