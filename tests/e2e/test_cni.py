"""sluice-netns as a CNI plugin, called as a container runtime does."""

import json
import os
import signal
import socket
import subprocess
import unittest

import world
from agent import as_ordinary, curl, is_root
from networks import ALLOWED, NETNS, REFUSED, STATE, NetworkCase
from shared import SOCKET

needs_root = unittest.skipUnless("SLUICE_E2E_IDENTITY" in os.environ and is_root(), "needs root")

NODE4, NODE6 = "10.85.0.1", "fd85::1"
POD4, POD6 = "10.85.0.2", "fd85::2"
DATAGRAM = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("203.0.113.1", 4433))
"""
SERVER = """
import socket, sys
server = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
print("up", flush=True)
while True:
    one = server.accept()[0]
    one.sendall(b"hello from the pod")
    one.close()
"""
ATTEMPTS = """
import socket
for family, to in ((2, "25.10.0.10"), (2, "10.85.0.1"), (10, "2a0e:1::10"), (10, "fd85::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for mark in (0, 0x736c):
            for device in (b"", b"eth0"):
                with socket.socket(family, kind) as one:
                    one.settimeout(0.3)
                    try:
                        if mark:
                            one.setsockopt(socket.SOL_SOCKET, 36, mark)
                        if device:
                            one.setsockopt(socket.SOL_SOCKET, 25, device)
                        one.connect((to, 8443))
                        one.send(b"escape")
                    except OSError:
                        pass
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
    raw.bind(("eth0", 0))
    try:
        raw.send(b"\\xff" * 6 + b"\\2" + b"\\0" * 4 + b"\\5" + b"\\x08\\0" + b"escape" * 20)
    except OSError:
        pass  # dropped
"""


class CniCase(NetworkCase):
    version = "1.1.0"

    def call(self, command, container="c1", status=0, **more):
        """One call of the plugin; `environment` and `config` of `more` are added."""
        run = self.run_plugin(command, container, **more)
        self.assertEqual(run.status, status, run)
        self.assertEqual(run.err, "", run)
        return json.loads(run.out) if run.out else None

    def run_plugin(self, command, container, before=(), **more):
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_PATH": "/opt/cni/bin",
            **more.get("environment", {}),
        }
        config = {
            "cniVersion": self.version,
            "name": "pods",
            "type": "sluice-netns",
            "proxy": SOCKET,
            **more.get("config", {}),
        }
        process = subprocess.Popen(
            [*before, NETNS] if is_root() else as_ordinary(NETNS),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**self.environment, **environment},
            cwd="/mnt",
        )
        return self.finish(process, stdin=more.get("stdin", json.dumps(config)).encode())

    def error(self, command, code, **more):
        answer = self.call(command, status=1, **more)
        self.assertEqual(answer["code"], code, answer)
        self.assertIn(answer["cniVersion"], ("1.0.0", "1.1.0"))
        return answer


class Protocol(CniCase):
    def test_version_needs_no_sluiced_and_no_root(self):
        for version in ("1.0.0", "1.1.0"):
            answer = self.call("VERSION", config={"cniVersion": version})
            self.assertEqual(
                answer, {"cniVersion": version, "supportedVersions": ["1.0.0", "1.1.0"]}
            )

    def test_errors_have_the_codes_of_the_specification(self):
        netns = {"CNI_NETNS": "/x"}
        cases = [
            ("ADD", 1, {"environment": netns, "config": {"cniVersion": "0.4.0"}}),
            ("GC", 1, {"config": {"cniVersion": "1.0.0"}}),
            ("ADD", 2, {"environment": netns, "config": {"ipam": {"type": "host-local"}}}),
            ("SING", 4, {}),
            ("ADD", 4, {}),
            ("ADD", 4, {"environment": {"CNI_CONTAINERID": "../x", "CNI_NETNS": "/x"}}),
            ("ADD", 4, {"environment": {"CNI_IFNAME": "a/b", "CNI_NETNS": "/x"}}),
            ("ADD", 6, {"environment": netns, "stdin": "{"}),
            ("ADD", 7, {"environment": netns, "config": {"name": "a b"}}),
            ("CHECK", 7, {"environment": netns}),
            ("GC", 7, {}),
        ]
        for command, code, more in cases:
            with self.subTest(command=command, code=code, **more):
                self.error(command, code, **more)


@needs_root
class PodCase(CniCase):
    def setUp(self):
        super().setUp()
        self.daemon = self.start_sluiced()

    def pod(self, name="pod1"):
        subprocess.run(["ip", "netns", "add", name], check=True)
        return {"CNI_NETNS": f"/run/netns/{name}"}

    def inside(self, name, *command, status=None):
        """Runs a command in a namespace; CAP_NET_RAW is all that it may do."""
        keep = ["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all,+net_raw"]
        line = ["ip", "netns", "exec", name, *keep, *command]
        run = self.finish(self.start(line))
        if status is not None:
            self.assertEqual(run.status, status, run)
        return run

    def fetch(self, name, url):
        command = curl(url)
        command[command.index("ca.pem")] = world.CA
        return self.inside(name, *command)

    def proxied(self, name, url):
        return self.inside(name, "curl", "-sS", "-m", "60", "-x", "http://127.0.0.1:3128", url)


class Alone(PodCase):
    def added(self, container="coder-1", name="pod1"):
        return self.call("ADD", container, environment=self.pod(name))

    def test_a_pod_gets_loopback_and_the_capture(self):
        result = self.added()
        self.assertEqual(result["interfaces"][0]["name"], "lo")
        self.assertEqual(result["interfaces"][0]["sandbox"], "/run/netns/pod1")
        self.assertEqual([ip["address"] for ip in result["ips"]], ["127.0.0.1/8", "::1/128"])
        self.assertIn('"origin": "allowed.test"', self.fetch("pod1", ALLOWED).out)
        self.assertIn("not_listed", self.proxied("pod1", REFUSED).out)
        more = {"environment": {"CNI_NETNS": "/run/netns/pod1"}, "config": {"prevResult": result}}
        self.assertIsNone(self.call("CHECK", "coder-1", **more))
        for _ in range(2):
            self.assertIsNone(self.call("DEL", "coder-1"))
        self.assertEqual(self.states(), [])
        self.wait_until(lambda: self.metric("sluice_agents") == 0, "it is registered still")
        self.error("CHECK", 3, container="coder-1", **more)

    def test_the_agent_is_the_pod_or_what_the_runtime_says(self):
        pod = "IgnoreUnknown=1;K8S_POD_NAMESPACE=web;K8S_POD_NAME=shop-0"
        cases = [
            (pod, {}, "web.shop-0"),
            (pod + ";SLUICE_AGENT=coder-3", {}, "coder-3"),
            (pod, {"args": {"cni": {"agent": "coder-4"}}}, "coder-4"),
            (pod, {"runtimeConfig": {"dev.sluice.agent": "coder-5"}}, "coder-5"),
        ]
        for number, (arguments, config, agent) in enumerate(cases):
            name = f"pod{number}"
            environment = {**self.pod(name), "CNI_ARGS": arguments}
            self.call("ADD", name, environment=environment, config=config)
            self.assertIn(f"(agent '{agent}')", self.listed(agent))
        self.error("ADD", 7, container="bad", config={"args": {"cni": {"agent": "a b"}}},
                   environment={"CNI_NETNS": "/run/netns/pod0"})  # fmt: skip

    def listed(self, agent):
        found = [one for one in self.netns("list", "--json").json() if one["agent"] == agent]
        return f"(agent '{found[0]['agent']}')" if found else ""

    def test_a_second_add_and_a_taken_name_are_refused(self):
        self.added()
        environment = {"CNI_NETNS": "/run/netns/pod1"}
        self.assertIn("DEL", self.error("ADD", 100, container="coder-1",
                                        environment=environment)["details"])  # fmt: skip
        more = {**self.pod("pod2"), "CNI_ARGS": "SLUICE_AGENT=coder-1"}
        self.error("ADD", 100, container="other", environment=more)
        self.assertEqual(len(self.states()), 1)

    def test_the_nodes_own_namespace_and_what_is_none_are_refused(self):
        for path in ("/proc/self/ns/net", "/etc/passwd", "/nowhere"):
            self.error("ADD", 4, environment={"CNI_NETNS": path})

    def test_gc_removes_what_is_not_valid_any_more(self):
        self.added("coder-1", "pod1")
        self.added("coder-2", "pod2")
        keep = [{"containerID": "coder-2", "ifname": "eth0"}]
        self.assertIsNone(self.call("GC", config={"cni.dev/valid-attachments": keep}))
        self.assertEqual(len(self.states()), 1)
        self.assertIn("coder-2", self.states()[0])
        other = {"name": "other", "cni.dev/valid-attachments": []}
        self.assertIsNone(self.call("GC", config=other))
        self.assertEqual(len(self.states()), 1)

    def test_without_sluiced_status_fails_and_add_is_to_be_tried_later(self):
        self.assertIsNone(self.call("STATUS"))
        self.added()
        config = {"proxy": "/run/sluice/nobody.sock"}
        self.assertIn("nobody.sock", self.error("STATUS", 51, config=config)["msg"])
        self.error("ADD", 11, container="c2", config=config, environment=self.pod("pod2"))
        self.call("DEL", "coder-1")
        self.error("STATUS", 50, config=config)
        self.assertEqual(self.states(), [])


class Chained(PodCase):
    """Behind a plugin that made a veth pair: here the test itself."""

    def setUp(self):
        super().setUp()
        self.environment_of_pod = self.pod("pod1")

        def ip(*arguments):
            subprocess.run(["ip", *arguments], check=True)

        ip("link", "add", "node0", "type", "veth", "peer", "name", "eth0", "netns", "pod1")
        self.addCleanup(subprocess.run, ["ip", "link", "del", "node0"], capture_output=True)
        ip("addr", "add", f"{NODE4}/24", "dev", "node0")
        ip("-6", "addr", "add", f"{NODE6}/64", "dev", "node0", "nodad")
        ip("link", "set", "node0", "up")
        for more in (["link", "set", "eth0", "up"],
                     ["addr", "add", f"{POD4}/24", "dev", "eth0"],
                     ["-6", "addr", "add", f"{POD6}/64", "dev", "eth0", "nodad"],
                     ["route", "add", "default", "via", NODE4],
                     ["-6", "route", "add", "default", "via", NODE6]):  # fmt: skip
            ip("-n", "pod1", *more)
        for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            with open(f"/proc/sys/net/{path}", "w") as file:
                file.write("1")
        self.previous = {
            "cniVersion": self.version,
            "interfaces": [{"name": "node0"}, {"name": "eth0", "sandbox": "/run/netns/pod1"}],
            "ips": [{"address": f"{POD4}/24", "gateway": NODE4, "interface": 1},
                    {"address": f"{POD6}/64", "gateway": NODE6, "interface": 1}],
            "dns": {"nameservers": [NODE4]},
        }  # fmt: skip

    def add(self, **more):
        return self.call("ADD", "coder-1", environment=self.environment_of_pod,
                         config={"prevResult": self.previous, **more})  # fmt: skip

    def check(self, **more):
        return {"container": "coder-1", "environment": self.environment_of_pod,
                "config": {"prevResult": {**self.previous, **more}}}  # fmt: skip

    def test_what_it_starts_goes_to_the_proxy_and_what_calls_it_is_answered(self):
        self.assertEqual(self.add(), self.previous)
        self.assertIn('"origin": "allowed.test"', self.fetch("pod1", ALLOWED).out)
        self.assertIn("not_listed", self.proxied("pod1", REFUSED).out)
        server = self.start(["ip", "netns", "exec", "pod1", world.PYTHON, "-c", SERVER])
        self.addCleanup(server.communicate)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), b"up\n")
        for address in (POD4, f"[{POD6}]"):
            line = ["curl", "-sS", "-m", "60", "--http0.9", f"http://{address}:8080/"]
            self.assertEqual(self.finish(self.start(line)).out, "hello from the pod")
        self.assertIsNone(self.call("CHECK", **self.check()))

    def test_no_packet_of_its_own_leaves(self):
        self.add()
        self.outside.mark()
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.bind(("node0", 3))
        tap.setblocking(False)
        trap = world.Trap(NODE4, 8443)
        self.inside("pod1", world.PYTHON, "-c", ATTEMPTS, status=0)
        seen = []
        while True:
            try:
                frame, where = tap.recvfrom(2000)
            except BlockingIOError:
                break
            # ARP; or IPv6 with ICMPv6 behind it, at once or after a hop-by-hop header.
            neighbour = frame[12:14] == b"\x08\x06" or 58 in (frame[20], frame[54])
            if where[2] != socket.PACKET_OUTGOING and not neighbour:
                seen.append(frame)
        self.assertEqual(seen, [])
        self.assertEqual(self.outside.events("packet"), [])
        self.assertEqual(trap.visitors(), 0)
        trap.close()
        tap.close()

    def test_its_refused_datagrams_are_told_by_supervise(self):
        self.add()
        resident = self.in_background("supervise")
        self.inside("pod1", world.PYTHON, "-c", DATAGRAM, status=0)
        refused = 'sluice_udp_refused_total{agent="coder-1"}'
        self.wait_until(lambda: self.metric(refused) == 1, "nobody told sluiced")
        self.call("DEL", "coder-1")
        self.assertEqual(self.end(resident).err, "")

    def test_after_the_death_of_sluiced_it_is_refused_until_it_is_served_again(self):
        self.add()
        self.daemon.kill()
        self.daemon.wait()
        refused = self.fetch("pod1", "http://203.0.113.1/")
        self.assertEqual(refused.status, 7, refused)  # at once
        self.error("CHECK", 11, **self.check())
        self.start_sluiced()
        self.netns("restore")
        self.assertIn('"origin": "allowed.test"', self.fetch("pod1", ALLOWED).out)
        self.assertIsNone(self.call("CHECK", **self.check()))

    def test_check_tells_what_was_changed(self):
        self.add()
        wrong = {"ips": [{"address": "10.85.0.77/24", "interface": 1}]}
        self.assertIn("10.85.0.77", self.error("CHECK", 100, **self.check(**wrong))["msg"])
        subprocess.run(["ip", "-n", "pod1", "rule", "add", "pref", "5", "lookup", "main"], check=True)
        self.assertIn("would not go to the proxy", self.error("CHECK", 100, **self.check())["msg"])

    def test_del_and_gc_leave_nothing_on_the_node(self):
        for command, config in (("DEL", {}), ("GC", {"cni.dev/valid-attachments": []})):
            self.add()
            self.assertIsNone(self.call(command, "coder-1", config=config))
            self.assertEqual(self.states(), [])
            self.tearDown()
            self.doCleanups()
            self.setUp()

    # What changes something, or is waited for.
    STEPS = ("unlinkat", "renameat", "write", "setns", "connect", "sendto", "sendmsg", "recvmsg", "wait4")

    def killed_add(self, call, number):
        """ADD, killed as it, or its helper in the pod, enters its `number`-th such system call. Its exit status."""
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        run = self.run_plugin("ADD", "coder-1", ["strace", "-f", "-o", "/dev/null", *inject],
                              environment=self.environment_of_pod,
                              config={"prevResult": self.previous})  # fmt: skip
        if run.status == 1:  # the helper was killed
            self.assertIn("the child inside the network namespace died", run.out)
            self.assertEqual(self.states(), [])
        else:
            self.assertIn(run.status, (0, -signal.SIGKILL), run)
        return run.status

    def test_whatever_a_killed_add_has_left_del_removes(self):
        if not os.path.exists("/usr/bin/strace"):
            self.skipTest("strace is not installed")
        killed = 0
        for call in self.STEPS:
            for number in (*range(1, 12), *range(12, 600, 17)):
                status = self.killed_add(call, number)
                if status == 0:
                    break
                killed += 1
                self.call("DEL", "coder-1")
                self.assertEqual(self.states(), [], (call, number))
                self.wait_until(lambda: self.metric("sluice_agents") == 0, "it is registered still")
            self.assertEqual(status, 0, call)
            self.assertIn('"origin": "allowed.test"', self.fetch("pod1", ALLOWED).out, call)
            self.call("DEL", "coder-1")
        self.assertGreater(killed, 20)

    def test_an_interface_that_is_not_there_is_refused_and_leaves_nothing(self):
        subprocess.run(["ip", "-n", "pod1", "link", "del", "eth0"], check=True)
        self.error("ADD", 7, container="coder-1", environment=self.environment_of_pod,
                   config={"prevResult": self.previous})  # fmt: skip
        self.assertEqual(self.states(), [])


class OfVersion100(Chained):
    version = "1.0.0"

    def test_del_and_gc_leave_nothing_on_the_node(self):
        self.add()
        self.assertIsNone(self.call("DEL", "coder-1"))
        self.assertEqual(self.states(), [])


class BehindRealPlugins(PodCase):
    """`bridge` and `ptp` of the reference plugins make the interface."""

    PLUGINS = "/usr/lib/cni"
    IPAM = {
        "type": "host-local",
        "dataDir": "/tmp/ipam",
        "ranges": [[{"subnet": "10.86.0.0/24"}], [{"subnet": "fd86::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    }
    CONFIGS = {
        "bridge": {"bridge": "cni-test0", "isGateway": True, "ipam": IPAM},
        "ptp": {"ipam": IPAM},
    }

    def plugin(self, kind, command, environment):
        config = {"cniVersion": "1.0.0", "name": "pods", "type": kind, **self.CONFIGS[kind]}
        line = subprocess.run(
            [f"{self.PLUGINS}/{kind}"],
            input=json.dumps(config),
            capture_output=True,
            text=True,
            env={"CNI_COMMAND": command, "CNI_CONTAINERID": "coder-1", "CNI_IFNAME": "eth0",
                 "CNI_PATH": self.PLUGINS, "PATH": "/usr/sbin:/usr/bin", **environment},
        )  # fmt: skip
        if line.returncode != 0 and command == "ADD":
            self.skipTest(f"{kind} cannot make an interface here: {line.stdout}")
        return json.loads(line.stdout) if line.stdout else None

    def test_a_pod_of_theirs_is_reached_and_reaches_the_proxy_only(self):
        if not os.path.exists(f"{self.PLUGINS}/bridge"):
            self.skipTest("containernetworking-plugins is not installed")
        self.addCleanup(subprocess.run, ["ip", "link", "del", "cni-test0"], capture_output=True)
        for kind in self.CONFIGS:
            with self.subTest(kind):
                environment = self.pod(kind)
                previous = self.plugin(kind, "ADD", environment)
                more = {"environment": environment, "config": {"prevResult": previous}}
                self.assertEqual(self.call("ADD", "coder-1", **more)["ips"], previous["ips"])
                self.assertIn('"origin": "allowed.test"', self.fetch(kind, ALLOWED).out)
                for ip in previous["ips"]:
                    address = ip["address"].split("/")[0]
                    ping = self.finish(self.start(["ping", "-c", "1", "-W", "60", address]))
                    self.assertEqual(ping.status, 0, ping)
                self.assertIsNone(self.call("CHECK", "coder-1", **more))
                self.assertIsNone(self.call("DEL", "coder-1", **more))
                self.plugin(kind, "DEL", environment)
                self.assertEqual(self.states(), [])
