"""Kernels that lack nf_tables or IPv6: an agent runs all the same, and nothing more is open to it."""

import json
import os
import subprocess

import world
from agent import NO_PROXY_VARIABLES, POLICY, Case, as_ordinary, curl, is_root
from shared import SharedCase

CONNECT = """
import errno, json, socket, sys
told = {}
for family, address, port in json.loads(sys.argv[1]):
    try:
        with socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6) as client:
            client.settimeout(60)
            client.connect((address, port))
            client.sendall(b"hello\\r\\n")
            told[f"{address} {port}"] = "answered" if client.recv(100) else "closed"
    except OSError as error:
        told[f"{address} {port}"] = errno.errorcode.get(error.errno, str(error))
print(json.dumps(told))
"""


class Lacking(Case):
    lacking = ()

    def command(self, *arguments):
        wrapper = [world.PYTHON, "-B", f"{world.TESTS}/kernel_lacks.py", *self.lacking, "--"]
        line = [*wrapper, f"{world.BIN}/sluice", *arguments]
        return line if is_root() else as_ordinary(*line)

    def assert_allowed_host_is_reached(self):
        """By name with no proxy variable, by HTTPS_PROXY, and by SOCKS5."""
        fetch = " ".join(curl("https://allowed.test/"))
        run = self.shell(
            f"{fetch}; {fetch} --proxy socks5h://127.0.0.1:3128; {NO_PROXY_VARIABLES} {fetch}"
        )
        self.assertEqual(run.out.count('"origin": "allowed.test"'), 3, run)
        return run

    def assert_others_are_refused(self):
        run = self.shell(
            "curl -sS -m 60 http://other.test/;"
            + NO_PROXY_VARIABLES
            + "curl -sS -m 60 https://other.test/ 2>&1 || curl -sS -m 60 http://25.10.0.11/"
        )
        self.assertEqual(run.out.count("not_listed"), 2, run)
        self.assertIn("Could not resolve host: other.test", run.out)

    def connect(self, *targets):
        """What connections to (family, address, port) come to."""
        return self.run_agent(world.PYTHON, "-c", CONNECT, json.dumps(targets)).json()


class WithoutNfTables(Lacking):
    lacking = ("nf_tables",)

    def test_an_allowed_host_is_reached_by_name_and_by_the_proxy_variables(self):
        run = self.assert_allowed_host_is_reached()
        self.assertIn("this kernel has no nf_tables", run.err)
        self.assertIn("(22, 80, 443, 8443)", run.err)

    def test_a_host_that_is_not_listed_is_refused_by_every_road(self):
        self.assert_others_are_refused()
        self.assert_nothing_left()

    def test_a_port_of_the_policy_works_for_programs_that_know_of_no_proxy(self):
        answers = self.wire(
            {"banner": {"to": ["ssh.test", 22], "steps": [{"until": "origin\r\n"}, "hello\n"]}}
        )
        self.assertEqual(answers["banner"]["reply"], "SSH-2.0-origin\r\nhello\n", answers)

    def test_every_other_port_is_refused_at_once_by_the_agents_own_kernel(self):
        targets = [
            (family, address, port)
            for family, address in ((4, "8.8.8.8"), (4, "25.10.0.11"), (6, "2a0e:1::11"))
            for port in (1, 25, 15001, 65535)
        ]
        told = self.connect(*targets)
        self.assertEqual(set(told.values()), {"ECONNREFUSED"}, told)
        self.assert_nothing_left()

    def test_no_packet_leaves_beside_the_policy(self):
        """The whole battery of ways out; ping is answered, by the agent's own kernel."""
        told = {name: answer["result"] for name, answer in self.probe("net").items()}
        self.assertEqual(told["interfaces"], "lo")
        self.assertEqual(told["udp 443"], "ECONNREFUSED")
        self.assertEqual(told["tcp to another port"], "ECONNREFUSED")
        self.assert_nothing_left()

    def test_a_policy_that_opens_every_port_is_125_with_the_way_to_mend_it(self):
        options = ["--report"]
        run = self.run_agent("touch", f"{self.workspace}/started", options=options, status=125)
        self.assertIn("the kernel has no nf_tables", run.err)
        self.assertIn("hint: load the modules (modprobe -a nf_tables", run.err)
        self.assertFalse(os.path.exists(f"{self.workspace}/started"))


class WithoutNfTablesAtASharedProxy(SharedCase):
    command = Lacking.command
    lacking = ("nf_tables",)

    def test_a_reload_that_opens_a_port_opens_it_for_the_agents_that_are_running(self):
        self.start_sluiced()
        script = (
            "echo up; for i in $(seq 600); do"
            " curl -sS -m 60 http://allowed.test:8080/ 2>/dev/null && exit 0; sleep 0.2; done; exit 1"
        )
        line = ["run", "--agent", "coder-1", "--", "bash", "-c", NO_PROXY_VARIABLES + script]
        agent = self.start(self.command(*line), subprocess.PIPE)
        self.addCleanup(agent.kill)
        self.assertEqual(agent.stdout.readline(), b"up\n")
        opened = POLICY.replace("host: allowed.test", "host: allowed.test\n        ports: [80, 8080]")
        os.rename(self.write(self.policy_file + ".new", opened), self.policy_file)
        run = self.finish(agent)
        self.assertEqual(run.status, 0, run)
        self.assertIn('"origin": "allowed.test', run.out, run)


    def test_a_sluiced_that_was_killed_and_is_back_serves_every_port_again(self):
        daemon = self.start_sluiced()
        fetch = " ".join(curl("--retry 60 --retry-delay 1 --retry-all-errors https://allowed.test/"))
        script = f"{NO_PROXY_VARIABLES} {fetch}; read line; {fetch}; {fetch.replace('https', 'http')}"
        line = ["run", "--agent", "coder-1", "--", "bash", "-c", script]
        agent = self.start(self.command(*line), subprocess.PIPE)
        self.addCleanup(agent.kill)
        self.assertIn(b'"origin": "allowed.test"', agent.stdout.readline())
        daemon.kill()
        daemon.wait(60)
        self.start_sluiced()
        run = self.finish(agent, stdin=b"go\n")
        self.assertEqual(run.out.count('"origin": "allowed.test"'), 2, run)


class WithoutIpv6(Lacking):
    lacking = ("ipv6",)

    def test_an_allowed_host_is_reached_by_name_and_by_the_proxy_variables(self):
        self.assert_allowed_host_is_reached()

    def test_a_host_that_is_not_listed_is_refused_by_every_road(self):
        self.assert_others_are_refused()
        self.assert_nothing_left()

    def test_every_port_is_captured_and_datagrams_are_counted(self):
        told = self.connect((4, "8.8.8.8", 25), (4, "8.8.8.8", 65535), (6, "2a0e:1::11", 443))
        self.assertEqual(told.pop("2a0e:1::11 443"), "EAFNOSUPPORT")
        self.assertNotIn("answered", told.values(), told)
        self.assertNotIn("ECONNREFUSED", told.values(), told)
        run = self.shell("for i in 1 2 3; do echo hello > /dev/udp/8.8.8.8/443; done")
        self.assertIn("refused 3 UDP datagrams", run.err, run)
        self.assert_nothing_left()


class WithoutBoth(WithoutIpv6):
    lacking = ("nf_tables", "ipv6")

    def test_every_port_is_captured_and_datagrams_are_counted(self):
        told = self.connect((4, "8.8.8.8", 25), (4, "8.8.8.8", 65535))
        self.assertEqual(set(told.values()), {"ECONNREFUSED"}, told)
        run = self.shell("echo hello > /dev/udp/8.8.8.8/443")
        self.assertNotIn("UDP datagrams", run.err, run)
        self.assert_nothing_left()
