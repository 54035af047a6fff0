"""Behind an upstream proxy: what it is asked for, what goes past it, and what is never said to it."""

import json
import os
import shutil
import subprocess
import time

import upstream
import world
from agent import curl, decisions
from shared import SharedCase

PROXY4 = "25.10.0.13"
CREDENTIALS = "sluice:open sesame"
ENCODED = "Basic c2x1aWNlOm9wZW4gc2VzYW1l"
SQUID = shutil.which("squid", path="/usr/sbin:/usr/bin")


def in_outside(*command, **keywords):
    """Starts `command` in namespace O."""
    pid = str(world.outside()._process.pid)
    return subprocess.Popen(["nsenter", "-t", pid, "-n", *command], **keywords)


class Behind(SharedCase):
    policy = """
        version: 1
        agents:
          coder-1:
            allow:
              - host: allowed.test
              - host: ssh.test
                ports: [22]
                tls: "off"
              - host: v6.test
              - host: "*.rebind.test"
              - host: mixed.test
              - cidr: 25.10.0.11/32
                ports: [80]
              - cidr: 127.0.0.1/32
                ports: [8000]
        """

    def start_upstream(self, *credentials):
        self.asked_file = f"{self.folder}/asked.jsonl"
        line = [world.PYTHON, f"{world.TESTS}/upstream.py", self.asked_file, *credentials]
        process = in_outside(*line, stdout=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        self.assertEqual(process.stdout.readline(), b"ready\n")

    def start_behind(self, more=""):
        return self.start_sluiced(
            f"upstream_proxy:\n  url: http://{PROXY4}:{upstream.PORT}\n"
            + "".join(f"  {line}\n" for line in more.split("\n"))
        )

    def asked(self, key="target"):
        """What the upstream proxy was asked for, in order."""
        if not os.path.exists(self.asked_file):
            return []
        with open(self.asked_file) as file:
            return [json.loads(line)[key] for line in file]

    def account(self, least=1):
        """The audit lines, when there are so many."""
        lines = []

        def look():
            lines[:] = decisions(self.audit)
            return len(lines) >= least

        self.wait_until(look, "too few audit lines")
        return lines

    def agent(self, script):
        return self.sluice("run", "--agent", "coder-1", "--", "bash", "-c", script)

    def fetch(self, *urls):
        return self.agent("; ".join(" ".join(curl(url)) for url in urls))

    def only(self, *addresses):
        """Nothing but these was reached from this machine; the outside's log may come a little later."""
        self.outside.wait_for(
            "packet", lambda _: set(addresses) <= set(self.outside.addresses_reached())
        )
        self.assertEqual(self.outside.addresses_reached(), sorted(addresses))


class UpstreamProxy(Behind):
    def test_https_and_http_go_through_it_to_the_address_that_was_judged(self):
        self.start_upstream()
        self.start_behind()
        run = self.fetch("https://v6.test/", "http://v6.test/")  # of one address: no other is tried when it is slow
        self.assertEqual(run.out.count('"origin": "v6.test"'), 2, run)
        self.only(PROXY4)
        self.assertEqual(self.asked(), [f"[{world.ALLOWED6}]:443", f"[{world.ALLOWED6}]:80"])
        self.assertEqual(self.asked("fields")[0], {"host": f"[{world.ALLOWED6}]:443"})
        lines = self.account(2)
        self.assertEqual([line["reason"] for line in lines], ["listed"] * 2, lines)
        self.assertEqual([line["address"] for line in lines], [world.ALLOWED6] * 2, lines)

    def test_a_protocol_whose_server_speaks_first_loses_no_byte(self):
        self.start_upstream()
        self.start_behind()
        run = self.agent("exec 3<>/dev/tcp/ssh.test/22; read -r -t 60 line <&3; echo \"$line\"")
        self.assertIn("SSH-2.0-origin", run.out, run)
        self.assertEqual(self.asked(), [f"{world.SSH4}:22"])

    def test_it_gets_the_credentials_and_nobody_else_does(self):
        secret = self.write(f"{self.folder}/proxy.credentials", CREDENTIALS + "\n")
        os.chmod(secret, 0o600)
        self.start_upstream(CREDENTIALS)
        self.start_behind("credentials: {file: proxy.credentials}")
        run = self.fetch("http://allowed.test/")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertEqual(self.asked("fields")[0]["proxy-authorization"], ENCODED)
        requests = self.outside.events("http")
        self.assertEqual(len(requests), 1)
        self.assertNotIn("Proxy-Authorization", str(requests))

    def test_credentials_that_it_refuses_are_named_in_the_denial_and_tried_once(self):
        secret = self.write(f"{self.folder}/proxy.credentials", "sluice:wrong\n")
        os.chmod(secret, 0o600)
        self.start_upstream(CREDENTIALS)
        self.start_behind("credentials: {file: proxy.credentials}")
        run = self.fetch("http://v6.test/")
        self.assertIn("the upstream proxy refused our credentials (407)", run.out, run)
        self.assertNotIn("wrong", run.out + run.err)
        self.assertEqual(self.asked("status"), [407])
        self.assertEqual(self.account()[0]["reason"], "unreachable")

    def test_names_and_ranges_of_except_go_out_directly(self):
        self.start_upstream()
        self.start_behind('except: [".rebind.test", ssh.test, 25.10.0.11/32]')
        run = self.agent(
            "exec 3<>/dev/tcp/ssh.test/22; read -r -t 60 line <&3; echo \"$line\"; "
            + " ".join(curl("http://25.10.0.11/"))
        )
        self.assertIn("SSH-2.0-origin", run.out, run)
        self.assertIn('"origin": "25.10.0.11"', run.out, run)
        self.only(world.SSH4, "25.10.0.11")
        self.assertEqual(self.asked(), [])

    def test_what_is_this_machines_own_is_never_asked_of_it(self):
        self.start_upstream()
        self.start_behind()
        trap = world.Trap("127.0.0.1", 8000)
        self.addCleanup(trap.close)
        for host in ("127.0.0.1", "host.sluice.internal"):
            line = curl("--noproxy", "", f"http://{host}:8000/")
            agent = self.start(self.command("run", "--agent", "coder-1", "--", *line))
            self.wait_until(trap.visitors, f"nobody comes for {host}")  # and is sent away
            self.finish(agent)
        self.assertEqual(trap.visitors(), 0)
        self.assertEqual(self.asked(), [])

    def test_what_the_address_guard_refuses_is_not_said_to_it(self):
        self.start_upstream()
        self.start_behind()
        names = ("metadata", "private", "loopback", "mapped")
        run = self.fetch(*(f"http://{name}.rebind.test/" for name in names))
        self.assertEqual(run.out.count("(address_forbidden)"), 2, run)
        self.assertEqual(run.out.count("(address_private)"), 2, run)
        self.assert_nothing_left()
        run = self.fetch("http://mixed.test/")  # one public address among forbidden ones
        self.assertIn('"origin": "mixed.test"', run.out, run)
        self.assertEqual(self.asked(), [f"{world.ALLOWED4}:80"])

    def test_one_that_is_not_there_is_named_in_the_denial(self):
        self.start_behind()
        run = self.fetch("http://allowed.test/")
        expected = f"the upstream proxy {PROXY4}:{upstream.PORT} cannot be reached: {PROXY4}"
        self.assertIn(expected, run.out, run)
        self.assertEqual(self.account()[0]["reason"], "connect_refused")
        self.only(PROXY4)


class ByName(Behind):
    def test_it_gets_the_name_which_nobody_here_resolves(self):
        self.start_upstream()
        self.start_behind("send: name")
        run = self.fetch("https://allowed.test/")
        self.assertIn('"origin": "allowed.test"', run.out, run)
        self.assertEqual(self.asked(), ["allowed.test:443"])
        self.assertEqual(self.outside.questions(), [])
        line = self.account()[0]
        self.assertEqual((line["verdict"], line.get("address", "")), ("allow", ""), line)

    def test_a_literal_address_is_refused_unless_except_covers_it(self):
        self.start_upstream()
        self.start_behind("send: name")
        run = self.fetch("http://25.10.0.11/")
        self.assertIn("(address_forbidden)", run.out, run)
        self.assertIn("send: name", run.out, run)
        self.assert_nothing_left()
        self.assertEqual(self.asked(), [])

    def test_a_literal_address_that_except_covers_goes_out_directly(self):
        self.start_upstream()
        self.start_behind("send: name\nexcept: [25.10.0.0/24]")
        run = self.fetch("http://25.10.0.11/")
        self.assertIn('"origin": "25.10.0.11"', run.out, run)
        self.assertEqual(self.asked(), [])

    def test_check_warns_that_addresses_are_not_judged(self):
        config = self.write(
            f"{self.folder}/check.conf",
            f"policy: {self.policy_file}\n"
            "upstream_proxy: {url: http://proxy.example:3128, send: name}\n",
        )
        check = subprocess.run(
            [f"{world.BIN}/sluiced", "--config", config, "--check"],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(check.returncode, 0, check)
        self.assertRegex(check.stderr, rf"(?m)^sluiced: warning: {config}:2:\d+: with 'send: name'")
        self.assertIn("no address is judged here", check.stderr)


    def test_check_reads_the_credentials_as_a_start_does(self):
        secret = f"{self.folder}/credentials"
        config = self.write(
            f"{self.folder}/check.conf",
            f"policy: {self.policy_file}\n"
            f"upstream_proxy: {{url: http://proxy.example:3128, credentials: {{file: {secret}}}}}\n",
        )

        def check():
            line = [f"{world.BIN}/sluiced", "--config", config, "--check"]
            return subprocess.run(line, capture_output=True, text=True, timeout=60)

        self.assertEqual((check().returncode, check().stderr),
                         (1, f"sluiced: error: cannot open '{secret}': No such file or directory\n"))  # fmt: skip
        self.write(secret, "user without a password\n")
        self.assertIn("is not one line 'user:password'", check().stderr)
        self.write(secret, "user:password\n")
        os.chmod(secret, 0o600)
        self.assertEqual((check().returncode, check().stderr), (0, ""))


class Leaving(SharedCase):
    """`egress`: from which address an agent's connections leave."""

    def test_connections_leave_from_the_agents_source_and_no_other_family(self):
        subprocess.run(["ip", "addr", "add", "25.10.0.99/24", "dev", "w0"], check=True, timeout=60)
        self.addCleanup(
            subprocess.run, ["ip", "addr", "del", "25.10.0.99/24", "dev", "w0"], timeout=60
        )
        self.start_sluiced('egress: [{agents: ["coder-*"], source: [25.10.0.99]}]')
        line = ["run", "--agent", "coder-1", "--", *curl("http://allowed.test/")]
        run = self.sluice(*line)
        self.assertIn('"origin": "allowed.test"', run.out, run)
        connections = self.outside.events("tcp")
        self.assertEqual([(c["to"], c["peer"]) for c in connections],
                         [(world.ALLOWED4, "25.10.0.99")])  # fmt: skip
        self.assertIsNotNone(self.outside.wait_for("packet", lambda one: one["to"] == world.ALLOWED4))
        self.assertEqual(self.outside.addresses_reached(), [world.ALLOWED4])

    def test_without_the_privilege_to_mark_it_does_not_start(self):
        config = self.write(
            f"{self.folder}/mark.conf",
            f"policy: {self.policy_file}\nstate: {self.folder}\n"
            f"audit: {{file: {self.audit}}}\n"
            "egress: [{agents: [coder-1], mark: 0x10}]\n",
        )
        without = "-net_admin,-net_raw"  # Linux 5.17 takes either
        command = ["setpriv", "--bounding-set", without, "--inh-caps", without]
        done = subprocess.run(
            [*command, f"{world.BIN}/sluiced", "--config", config],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.returncode, 1, done)
        self.assertIn("cannot set the mark 0x10 of 'egress'", done.stderr)
        self.assertIn("CAP_NET_ADMIN", done.stderr)


class BehindSquid(Behind):
    """The one that many networks have, when it is installed."""

    def setUp(self):
        super().setUp()
        if not SQUID:
            self.skipTest("squid(8) is not installed")

    def start_squid(self):
        folder = f"{self.folder}/squid"
        os.makedirs(folder)
        os.chmod(folder, 0o777)
        for parent in (os.path.dirname(self.folder), self.folder):
            os.chmod(parent, 0o755)
        self.asked_file = f"{folder}/none"
        config = self.write(
            f"{folder}/squid.conf",
            f"http_port {PROXY4}:{upstream.PORT}\nhttp_access allow all\ncache deny all\n"
            f"pid_filename none\ncache_log {folder}/cache.log\n"
            f"access_log stdio:{folder}/access.log\ncoredump_dir {folder}\n"
            f"visible_hostname upstream.example\nshutdown_lifetime 0 seconds\n"
            "workers 1\nmax_filedescriptors 1024\npinger_enable off\n",
        )
        process = in_outside(SQUID, "-N", "-f", config, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        pid = str(world.outside()._process.pid)
        probe = ["nsenter", "-t", pid, "-n", world.PYTHON, "-c",
                 f"import socket; socket.create_connection(('{PROXY4}', {upstream.PORT}), 1)"]  # fmt: skip
        self.wait_until(
            lambda: subprocess.run(probe, stderr=subprocess.DEVNULL, timeout=60).returncode == 0,
            "squid does not listen",
        )  # fmt: skip
        return f"{folder}/access.log"

    def test_https_and_http_go_through_it(self):
        log = self.start_squid()
        self.outside.mark()
        self.start_behind()
        run = self.fetch("https://v6.test/", "http://v6.test/")  # of one address: no other is tried when it is slow
        self.assertEqual(run.out.count('"origin": "v6.test"'), 2, run)
        self.only(PROXY4)
        end = time.monotonic() + 60
        asked = []
        while len(asked) < 2 and time.monotonic() < end:  # written when a tunnel is over
            time.sleep(0.05)
            with open(log) as file:
                asked = sorted(line.split()[6] for line in file if " CONNECT " in line)
        self.assertEqual(asked, [f"[{world.ALLOWED6}]:443", f"[{world.ALLOWED6}]:80"])
