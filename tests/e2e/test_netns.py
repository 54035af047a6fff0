"""sluice-netns: agent networks that have a name."""

import json
import os
import signal
import socket
import subprocess
import time
import unittest

import world
from agent import is_root
from networks import ALLOWED, REFUSED, STATE, NetworkCase
from test_walkthrough import FENCE, commands

needs_root = unittest.skipUnless("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "needs root")


@needs_root
class NamedNetworks(NetworkCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.start_sluiced()

    def test_a_named_network_lets_out_what_the_policy_allows(self):
        self.netns("create", "web", "--agent", "coder-7")
        run = self.fetch("web", ALLOWED)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        run = self.ask_proxy("web", REFUSED)
        self.assertIn("not_listed", run.out, run)
        self.wait_until(lambda: self.audited() == {"coder-7"}, f"{self.audited()} are in the account")
        self.netns("delete", "web")
        self.assert_no_network_left()

    def audited(self):
        """The agents of the audit log."""
        with open(self.audit) as file:
            return {json.loads(line)["agent"] for line in file if line.endswith("\n")}

    def test_ip_netns_exec_works_with_it(self):
        self.netns("create", "coder-7")
        command = ["ip", "netns", "exec", "coder-7", "curl", "-sS", "-m", "60", "--cacert", world.CA, ALLOWED]
        run = self.finish(self.start(command))
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.netns("delete", "coder-7")

    def test_to_make_what_is_there_and_to_delete_what_is_not_is_no_error(self):
        self.assertIn("is made", self.netns("create", "coder-7").err)
        self.assertIn("is there already, and served", self.netns("create", "coder-7").err)
        run = self.netns("create", "coder-7", "--agent", "coder-8", status=125)
        self.assertIn("for the agent 'coder-7'", run.err)
        self.assertIn("'coder-7' is deleted; its agent: allowed 0, blocked 0", self.netns("delete", "coder-7").err)
        self.assertIn("there is no agent network 'coder-7'", self.netns("delete", "coder-7").err)
        self.assert_no_network_left()

    def test_names_that_are_no_agent_names_are_refused_before_anything_is_made(self):
        os.makedirs("/run/elsewhere", exist_ok=True)
        for name in ("../elsewhere/x", "..", ".hidden", "-x", "a/b", "a b", "x" * 64, "", "ü"):
            with self.subTest(name):
                for command in ("create", "delete"):
                    run = self.netns(command, "--", name, status=125)
                    self.assertNotIn("Traceback", run.err)
                self.netns("create", "coder-7", f"--agent={name or '-'}", status=125)
        self.assertEqual(os.listdir("/run/elsewhere"), [])
        self.assert_no_network_left()

    def test_list_tells_name_agent_and_condition(self):
        self.netns("create", "web", "--agent", "coder-7")
        self.assertRegex(self.netns("list").out, r"(?m)^web +named +coder-7 +served$")
        listed = self.netns("list", "--json").json()
        self.assertEqual(
            [(one["name"], one["agent"], one["netns"], one["condition"]) for one in listed],
            [("web", "coder-7", "/run/netns/web", "served")],
        )
        self.daemon.kill()
        self.daemon.wait(60)
        self.assertEqual(self.netns("list", "--json").json()[0]["condition"], "unserved")
        self.netns("delete", "web")

    def test_exec_has_no_capability_no_way_to_one_and_no_descriptor_of_the_caller(self):
        self.netns("create", "coder-7")
        status = self.exec("coder-7", "cat", "/proc/self/status").out
        for word in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            self.assertRegex(status, rf"(?m)^{word}:\s+0+$")
        self.assertRegex(status, r"(?m)^NoNewPrivs:\s+1$")
        outside = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        command = [f"{world.BIN}/sluice-netns", "exec", "coder-7", "--", "ls", "/proc/self/fd"]
        run = subprocess.run(command, pass_fds=[outside.fileno()], capture_output=True, text=True, timeout=60)
        outside.close()
        self.assertEqual(run.stdout.split(), ["0", "1", "2", "3"])  # 3: the folder that ls reads
        self.exec("coder-7", "ip", "link", "add", "x0", "type", "dummy", status=2)
        self.exec("coder-7", "ip", "route", "flush", "table", "local", status=2)
        self.assertIn("no sandbox", self.netns("exec", "--help").out)

    def test_exec_ends_as_its_command_does(self):
        self.netns("create", "coder-7")
        self.exec("coder-7", "sh", "-c", "exit 42", status=42)
        self.exec("coder-7", "no-such-program", status=127)
        self.exec("coder-7", "/etc/hosts", status=126)
        self.assertIn("there is no agent network 'coder-8'", self.exec("coder-8", "true", status=125).err)
        self.netns("exec", "coder-7", "true", status=125)

    def test_without_a_sluiced_nothing_is_made(self):
        self.daemon.kill()
        self.daemon.wait(60)
        run = self.netns("create", "coder-7", status=125)
        self.assertIn("cannot reach sluiced", run.err)
        self.assertEqual((self.names(), self.states(), self.mounts()), ([], [], []))

    def test_what_somebody_else_has_named_is_left_alone(self):
        subprocess.run(["ip", "netns", "add", "coder-7"], check=True, timeout=60)
        for command in ("create", "delete"):
            run = self.netns(command, "coder-7", status=125)
            self.assertIn("was not made by sluice-netns", run.err)
        self.exec("coder-7", "true", status=125)
        self.netns("gc")
        self.assertEqual(self.names(), ["coder-7"])
        subprocess.run(["ip", "netns", "delete", "coder-7"], check=True, timeout=60)

    def test_a_name_that_was_given_to_another_namespace_is_left_to_it(self):
        self.netns("create", "coder-7")
        for command in ("delete", "add"):
            subprocess.run(["ip", "netns", command, "coder-7"], check=True, timeout=60)
        self.exec("coder-7", "true", status=125)
        self.assertIn("gone", self.netns("list").out)
        self.netns("gc")
        self.assertEqual((self.names(), self.states()), (["coder-7"], []))
        subprocess.run(["ip", "netns", "delete", "coder-7"], check=True, timeout=60)
        self.assert_no_network_left()

    def test_an_agent_has_one_network(self):
        self.netns("create", "one", "--agent", "coder-7")
        run = self.netns("create", "two", "--agent", "coder-7", status=125)
        self.assertIn("'coder-7' has an explicit lease for another network namespace", run.err)
        self.assertEqual(self.names(), ["one"])
        self.assertIn('"origin"', self.fetch("one", ALLOWED).out)

    def test_symbolic_links_in_the_way_lead_nowhere(self):
        self.netns("create", "coder-7")
        self.netns("delete", "coder-7")
        precious = self.write(f"{self.folder}/precious", "precious")
        os.symlink(precious, "/run/netns/coder-7")
        for command in ("create", "delete"):
            self.netns(command, "coder-7", status=125)
        os.unlink("/run/netns/coder-7")
        for name in ("named-coder-7.json", "named-coder-7.json.new", ".lock"):
            path = f"{STATE}/{name}"
            if os.path.exists(path):
                os.unlink(path)
            os.symlink(precious, path)
            self.netns("create", "coder-7", status=None)
            self.netns("delete", "coder-7", status=None)
            self.netns("gc", status=None)
            if os.path.islink(path):
                os.unlink(path)
        with open(precious) as file:
            self.assertEqual(file.read(), "precious")

    def test_a_state_folder_of_another_user_is_refused(self):
        os.rename(STATE, f"{STATE}.aside")
        for mode, uid in ((0o700, 61235), (0o777, 0)):
            os.mkdir(STATE)
            os.chmod(STATE, mode)
            os.chown(STATE, uid, uid)
            self.assertIn("another user's, or open to others", self.netns("create", "coder-7", status=125).err)
            os.rmdir(STATE)
        os.rename(f"{STATE}.aside", STATE)

    # What changes something, or is waited for.
    STEPS = ("openat", "mkdir", "mkdirat", "unlinkat", "renameat", "write", "mount", "umount2", "unlink",
             "connect", "sendmsg", "recvmsg", "clone", "wait4", "fcntl")  # fmt: skip

    def kill_at(self, call, number, *command):
        """Runs sluice-netns and kills it as it enters its `number`-th such system call."""
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        line = ["strace", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject, *self.line(*command)]
        return self.finish(self.start(line)).status

    def test_whatever_a_killed_command_has_left_gc_removes(self):
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        self.netns("create", "coder-7")
        self.netns("delete", "coder-7")
        killed = 0
        for command in ("create", "delete"):
            for call in self.STEPS:
                for number in range(1, 40):
                    if command == "delete":
                        self.netns("create", "coder-7")
                    status = self.kill_at(call, number, command, "coder-7")
                    if status == 0:
                        break
                    self.assertEqual(status, -signal.SIGKILL, (command, call, number))
                    killed += 1
                    self.netns("gc")
                    whole = self.states() == ["named-coder-7.json"]
                    if whole:  # killed after its last step, or before its first
                        self.assertIn('"origin"', self.fetch("coder-7", ALLOWED).out)
                        self.netns("delete", "coder-7")
                    self.assert_no_network_left()
                self.netns("delete", "coder-7")
        self.assertGreater(killed, 40)
        self.assert_no_network_left()

    def test_gc_removes_a_file_that_is_no_state_and_says_so(self):
        self.netns("create", "coder-7")
        for name, text in (("named-x.json", "{}"), ("garbage", ""), ("named-y.json.new", '{"v":1')):
            self.write(f"{STATE}/{name}", text)
        run = self.netns("gc")
        for name in ("named-x.json", "garbage", "named-y.json.new"):
            self.assertIn(f"removed '{name}'", run.err)
        self.assertEqual(self.states(), ["named-coder-7.json"])
        self.assertIn("nothing was left behind", self.netns("gc").err)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def test_five_hundred_networks_come_and_go_without_a_leak(self):
        """Two worlds of names at once, so that neither ever sees an empty machine."""
        self.netns("create", "coder-first")
        namespaces, descriptors = self.namespaces(), self.descriptors()
        script = (
            "set -e; for i in $(seq 1 $1); do "
            "$0 create coder-$2-$i 2>/dev/null; done; "
            "for i in $(seq 1 $1); do $0 delete coder-$2-$i 2>/dev/null; done"
        )
        workers = [
            self.start(["sh", "-c", script, f"{world.BIN}/sluice-netns", "250", word]) for word in ("a", "b")
        ]
        for worker in workers:
            self.assertEqual(self.finish(worker, 300).status, 0)
        self.assertEqual(self.names(), ["coder-first"])
        self.assertEqual(self.states(), ["named-coder-first.json"])
        self.assertEqual(len(self.mounts()), 1)
        self.wait_until(lambda: self.metric("sluice_agents") == 1, "an agent is registered still")
        self.wait_until(lambda: self.namespaces() <= namespaces, "a namespace was left behind")
        # The first count may have met the end of a conversation.
        self.wait_until(lambda: self.descriptors() <= descriptors, "a descriptor was left behind")
        self.netns("delete", "coder-first")
        self.assert_no_network_left()

    def test_restore_serves_again_what_an_ended_sluiced_served(self):
        for name in ("coder-1", "coder-2"):
            self.netns("create", name)
        self.assertIn("2 served before, 0 served again, 0 not served", self.netns("restore").err)
        self.daemon.kill()
        self.daemon.wait(60)
        self.assertNotEqual(self.fetch("coder-1", ALLOWED).status, 0)
        self.start_sluiced()
        self.assertIn("0 served before, 2 served again, 0 not served", self.netns("restore").err)
        for name in ("coder-1", "coder-2"):
            self.assertIn('"origin"', self.fetch(name, ALLOWED).out)
        self.daemon.wait(60)

    def test_a_link_in_a_named_network_ends_its_service_for_good(self):
        self.netns("create", "coder-7")
        resident = self.in_background("supervise")
        self.assertIn('"origin"', self.fetch("coder-7", ALLOWED).out)
        time.sleep(0.5)  # it may look after the link is there, or watch it come: both must do
        subprocess.run(["ip", "-n", "coder-7", "link", "add", "x0", "type", "veth"], check=True, timeout=60)
        self.wait_until(lambda: self.metric("sluice_agents") == 0, "it is served still")
        self.assertNotEqual(self.fetch("coder-7", ALLOWED).status, 0)
        self.wait_until(lambda: "way out" in self.netns("list").out, "it is not listed")
        self.assertIn("the link '", self.netns("restore", status=125).err)
        self.assertIn("the link '", self.end(resident).err)
        self.netns("delete", "coder-7")
        self.assert_no_network_left()


@needs_root
class Document(NetworkCase):
    """docs/agent-networks.md, typed as it stands there: what the commands print is what it shows."""

    def setUp(self):
        super().setUp()
        self.environment["PATH"] = f"{world.BIN}:{self.environment['PATH']}"

    def test_what_the_document_shows_is_what_happens(self):
        with open(f"{world.DOCS}/agent-networks.md") as file:
            fences = FENCE.findall(file.read())
        typed = 0
        for kind, name, text in fences:
            if name == "policy.yaml":
                self.write(self.policy_file, text)
                self.start_sluiced()
            for command, output in commands(text) if kind == "console" else []:
                line = self.start(["sh", "-c", f"exec 2>&1; {command}"])
                self.assertEqual(self.finish(line).out.rstrip("\n"), output.rstrip("\n"), command)
                typed += 1
        self.assertGreater(typed, 5)


@unittest.skipIf("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "is about an ordinary user")
class Rootless(NetworkCase):
    def test_named_networks_need_root_and_it_says_what_does_not(self):
        for command in (("create", "coder-7"), ("delete", "coder-7"), ("list",), ("gc",)):
            run = self.netns(*command, status=125)
            self.assertIn("needs root", run.err)
            self.assertIn("'sluice run'", run.err)
            self.assertIn("'sluice-netns attach'", run.err)


if __name__ == "__main__":
    unittest.main()
