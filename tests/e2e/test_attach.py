"""sluice-netns attach: networks for containers that somebody else has started."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import unittest

import world
from agent import as_ordinary, is_root
from networks import ALLOWED, ATTACH_ANYWAY, REFUSED, STATE, Container, NetworkCase

SYS_SOCKET = {"x86_64": 41, "aarch64": 198}[os.uname().machine]
BY_ADDRESS = "curl -sS -m 60 http://203.0.113.1/"  # needs no DNS

needs_root = unittest.skipUnless("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "needs root")


@needs_root
class AttachedContainers(NetworkCase):
    def setUp(self):
        super().setUp()
        self.start_sluiced()

    def refused(self, *arguments):
        run = self.netns("attach", "--agent", "coder-7", *arguments, status=125)
        self.assertIn("hint: ", run.err)
        return run.err

    def pid(self, container):
        return ("--pid", str(container.process.pid))

    def test_a_container_without_a_network_gets_one_whose_only_way_out_is_the_policy(self):
        container = Container(self, "filtered")
        self.assertNotEqual(container.fetch(ALLOWED)["status"], 0)
        supervisor = self.attach(*self.pid(container), "--agent", "coder-7")
        self.assertIn('"origin": "allowed.test"', container.fetch(ALLOWED)["out"])
        self.assertIn("not_listed", container.ask_proxy(REFUSED)["out"])
        self.assertIn("attached", self.netns("list").out)
        run = self.end(supervisor)
        self.assertRegex(run.err, r"coder-7: allowed 1, blocked 1 \(not_listed 1\)")
        self.assertEqual(container.run(BY_ADDRESS)["status"], 7)  # refused at once
        self.assert_no_network_left()

    def test_it_can_be_attached_again(self):
        container = Container(self, "filtered")
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT):
            supervisor = self.attach(*self.pid(container), "--agent", "coder-7")
            self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
            self.end(supervisor, number, -number if number == signal.SIGKILL else 0)
            self.wait_until(lambda: self.metric("sluice_agents") == 0, "it is registered still")
        self.netns("gc")
        self.assert_no_network_left()

    def test_the_supervisor_ends_with_the_container(self):
        container = Container(self, "filtered")
        for target in (self.pid(container), ("--netns", f"/proc/{container.process.pid}/ns/net")):
            supervisor = self.attach(*target, "--agent", "coder-7")
            if target[0] == "--pid":
                self.end(supervisor)
        container.end()
        self.assertIn("coder-7: allowed 0, blocked 0", self.ended(supervisor).err)
        self.assert_no_network_left()

    def test_detached_it_stays_in_the_background(self):
        container = Container(self, "filtered")
        run = self.netns("attach", *self.pid(container), "--agent", "coder-7", "--detach")
        pid = int(run.out)
        self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
        listed = self.netns("list", "--json").json()
        self.assertEqual([(one["name"], one["supervisor"]) for one in listed], [("coder-7", pid)])
        self.assertEqual(os.getsid(pid), pid)
        self.assertEqual({os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)}, {"/dev/null"})
        os.kill(pid, signal.SIGTERM)
        self.wait_until(lambda: pid not in world.processes(), "it does not end")
        self.assert_no_network_left()

    def test_the_background_supervisor_has_nothing_of_its_caller(self):
        container = Container(self, "filtered")
        outside = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        line = self.line("attach", *self.pid(container), "--agent", "coder-7", "--detach")
        run = subprocess.run(line, pass_fds=[outside.fileno()], capture_output=True, text=True, timeout=60)
        pid = int(run.stdout)
        inode = os.fstat(outside.fileno()).st_ino
        links = set()
        for number in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):  # one that it has closed meanwhile
                links.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        self.assertNotIn(f"socket:[{inode}]", links)
        self.assertEqual(os.readlink(f"/proc/{pid}/cwd"), "/")
        outside.close()
        os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: self.metric("sluice_agents") == 0, "it is registered still")
        self.assertIn("ended", self.netns("list").out)
        self.netns("gc")
        self.assert_no_network_left()

    def test_a_pid_that_is_another_processs_by_now_is_neither_believed_nor_ended(self):
        container = Container(self, "filtered")
        self.netns("attach", *self.pid(container), "--agent", "coder-7", "--detach")
        path = f"{STATE}/attached-coder-7.json"
        with open(path) as file:
            state = json.load(file)
        os.kill(state["supervisor"], signal.SIGTERM)
        self.wait_until(lambda: not os.path.exists(path), "it does not end")
        innocent = subprocess.Popen(["sleep", "600"])
        self.addCleanup(innocent.wait)
        self.addCleanup(innocent.kill)
        self.write(path, json.dumps({**state, "supervisor": innocent.pid}))
        self.assertIn("ended", self.netns("list").out)
        self.netns("gc")
        self.assertIsNone(innocent.poll())
        self.assert_no_network_left()

    def test_a_process_that_has_ended_is_refused(self):
        ended = subprocess.Popen(["true"])
        self.wait_until(lambda: ended.pid not in world.processes(), "it does not end")
        for pid in (ended.pid, 4194304):  # a zombie, whose pid is its own still; and none
            self.netns("attach", "--pid", str(pid), "--agent", "coder-7", status=125)
        ended.wait()

    def test_a_network_that_is_served_already_is_not_taken(self):
        self.netns("create", "coder-1")
        self.assertIn("cannot bind", self.refused("--netns", "/run/netns/coder-1"))
        run = self.netns("exec", "coder-1", "--", "curl", "-sS", "-m", "60", "--cacert", world.CA, ALLOWED)
        self.assertIn('"origin"', run.out)
        self.netns("delete", "coder-1")

    def test_where_nobody_is_yet_nothing_can_be_judged_and_it_says_so(self):
        subprocess.run(["ip", "netns", "add", "plain"], check=True, timeout=60)
        run = self.netns("attach", "--netns", "/run/netns/plain", "--agent", "coder-7", "--detach")
        self.assertIn("no process is seen in the namespace", run.err)
        subprocess.run(["ip", "netns", "delete", "plain"], check=True, timeout=60)
        pid = int(run.out)
        self.wait_until(lambda: pid not in world.processes(), "it does not end with the name")
        self.assert_no_network_left()

    def test_a_namespace_that_is_the_machines_own_is_refused(self):
        own = subprocess.Popen(["sleep", "600"])
        self.addCleanup(own.wait)
        self.addCleanup(own.kill)
        for target in (("--pid", "1"), ("--pid", str(own.pid)), ("--netns", "/proc/1/ns/net")):
            self.assertIn("is the machine's own", self.refused(*target, "--despite", "link"))

    def test_what_is_no_network_namespace_and_no_process_is_refused(self):
        fifo = f"{self.folder}/fifo"
        os.mkfifo(fifo)
        for path in (fifo, "/etc/hosts", "/proc/self/ns/mnt", "/run"):
            self.assertIn("is no network namespace", self.refused("--netns", path))
        self.assertIn("cannot open", self.refused("--netns", f"{self.folder}/none"))
        self.assertIn("cannot find process", self.refused("--pid", "4194304"))
        self.netns("attach", "--agent", "coder-7", status=125)

    def test_a_container_with_another_link_is_refused_or_the_promise_withdrawn(self):
        container = Container(self, "filtered")
        self.add_link(container)
        self.assertIn("has the link 'veth", self.refused(*self.pid(container)))
        run = self.netns(
            "attach", *self.pid(container), "--agent", "coder-7", "--despite", "link", "--detach"
        )
        self.assertIn("it is not promised that the policy is the only way out", run.err)
        self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
        withdrawn = self.netns("list", "--json").json()[0]["withdrawn"]
        self.assertEqual(len(withdrawn), 1)
        self.assertIn("(veth)", withdrawn[0])

    def test_a_container_with_net_admin_is_refused_or_the_promise_withdrawn(self):
        container = Container(self, "privileges")
        self.assertIn("CAP_NET_ADMIN over its network namespace", self.refused(*self.pid(container), *ATTACH_ANYWAY))
        supervisor = self.attach(*self.pid(container), "--agent", "coder-7", "--despite", "net_admin", *ATTACH_ANYWAY)
        self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
        self.end(supervisor)

    def need_vsock(self):
        try:
            socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
        except OSError:
            self.skipTest("the kernel has no AF_VSOCK")

    def test_a_container_that_nothing_keeps_from_af_vsock_is_refused_or_the_promise_withdrawn(self):
        self.need_vsock()
        container = Container(self, "no-filter")
        self.assertIn("has no seccomp filter", self.refused(*self.pid(container)))
        run = self.netns("attach", *self.pid(container), "--agent", "coder-7", "--despite", "vsock", "--detach")
        self.assertIn("AF_VSOCK", run.err)

    def test_a_filter_that_40_and_an_upper_half_passes_is_refused(self):
        """The kernel takes socket(40 + 2**32) for AF_VSOCK; SCMP_CMP_EQ compares the whole register."""
        self.need_vsock()
        container = Container(self, "filtered-by-whole-register")
        ask = f"{world.PYTHON} -c 'import ctypes; print(ctypes.CDLL(None).syscall({SYS_SOCKET}, ctypes.c_ulong(%s), 1, 0))'"
        self.assertEqual(container.run(ask % "40")["out"], "-1\n")
        self.assertNotEqual(container.run(ask % "40 + (1 << 32)")["out"], "-1\n", "the filter holds: the test is of nothing")
        error = self.refused(*self.pid(container))
        self.assertIn("AF_VSOCK", error)
        self.assertIn("socket", error)
        self.assertNotEqual(container.fetch(ALLOWED)["status"], 0, "it is served")
        self.assertEqual(self.netns("list", "--json").json(), [])

    def add_link(self, container, name="x0"):
        inside = ["nsenter", "-t", str(container.process.pid), "-n", "ip", "link", "add", name, "type", "veth"]
        subprocess.run(inside, check=True, timeout=60)

    def test_a_link_that_appears_later_ends_the_service_and_is_told(self):
        container = Container(self, "filtered")
        supervisor = self.attach(*self.pid(container), "--agent", "coder-7")
        self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
        self.add_link(container)
        run = self.ended(supervisor, 125)
        self.assertIn("the network namespace has the link 'veth", run.err)
        self.assertEqual(container.run(BY_ADDRESS)["status"], 7)
        self.assert_no_network_left()
        self.wait_until(self.veth_is_audited, "it is not in the account")

    def veth_is_audited(self):
        with open(self.audit) as file:
            return "(veth)" in file.read()

    def test_a_link_that_went_again_and_routes_that_lead_nowhere_are_no_way_out(self):
        container = Container(self, "filtered")
        inside = ["nsenter", "-t", str(container.process.pid), "-n", "ip"]
        subprocess.run([*inside, "link", "add", "x0", "type", "veth"], check=True, timeout=60)
        subprocess.run([*inside, "link", "del", "x0"], check=True, timeout=60)
        supervisor = self.attach(*self.pid(container), "--agent", "coder-7")
        for route in (["blackhole", "203.0.113.0/24"], ["198.51.100.0/24", "dev", "lo"]):
            subprocess.run([*inside, "route", "add", *route], check=True, timeout=60)
        self.assertIn('"origin"', container.fetch(ALLOWED)["out"])
        self.assertIsNone(supervisor.poll())
        self.end(supervisor)

    def test_more_threads_than_can_be_judged_are_refused(self):
        container = Container(self, "filtered")
        program = (
            "import threading, time; [threading.Thread(target=time.sleep, args=(300,), daemon=True).start() "
            "for _ in range(1100)]; print('all', flush=True); time.sleep(300)"
        )
        container.run(f"{world.PYTHON} -c \"{program}\" >/tmp/threads 2>&1 &")
        self.wait_until(lambda: os.path.exists("/tmp/threads") and os.path.getsize("/tmp/threads") > 0, "it does not start its threads")
        with open("/tmp/threads") as file:
            self.assertEqual(file.read(), "all\n")
        self.assertIn("more than 1024 threads", self.refused(*self.pid(container)))

    def test_an_agents_name_that_is_taken_is_refused(self):
        first, second = Container(self, "filtered"), Container(self, "filtered")
        self.attach(*self.pid(first), "--agent", "coder-7")
        self.assertIn("coder-7", self.netns("attach", *self.pid(second), "--agent", "coder-7", status=125).err)
        self.assertIn('"origin"', first.fetch(ALLOWED)["out"])


@unittest.skipIf("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "is about an ordinary user")
class Rootless(NetworkCase):
    def container(self):
        """The ordinary user's own, who is root in it."""
        script = "echo up; while read line; do eval \"$line\"; echo \"status $?\"; done"
        process = self.start(as_ordinary("unshare", "-Urn", "sh", "-c", script), subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"up\n")
        return process

    def test_a_container_that_owns_its_namespace_is_refused_or_the_promise_withdrawn(self):
        self.start_sluiced()
        container = self.container()
        # setpriv and unshare become what they run.
        target = ("--pid", str(container.pid), "--agent", "coder-7")
        run = self.netns("attach", *target, status=125)
        self.assertIn("CAP_NET_ADMIN over its network namespace", run.err)
        supervisor = self.attach(*target, "--despite", "net_admin", *ATTACH_ANYWAY)
        container.stdin.write(f"curl -sS -m 60 --cacert {world.CA} {ALLOWED}\n".encode())
        container.stdin.flush()
        self.assertIn(b'"origin": "allowed.test"', container.stdout.readline())
        self.assertIn("coder-7: allowed 1", self.end(supervisor).err)


if __name__ == "__main__":
    unittest.main()
