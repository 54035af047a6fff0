"""Explicit listeners: containers that cannot hand over sockets are known by address, password or certificate."""

import json
import os
import subprocess

import world
from agent import ASIDE, PATIENT
from shared import SharedCase

# Of "right", with few rounds.
HASH = (
    "$6$rounds=1000$saltsalt$dfMP2LY3oP.RCle.MrovYod7J5ZWd7wa2WJOtw1cdMugHgIZ8H3PUFaxN7fS6Rbcl4YomrlE/fCkobwA8g/as/"
)
FIXED, SOURCE, PASSWORD, OVER_TLS, CERTIFICATE = range(3128, 3133)
ALLOWED = "https://allowed.test/"

POLICY = """
version: 1
agents:
  "coder-*":
    allow: [{host: allowed.test}, {cidr: 127.0.0.0/8, ports: [3128, 3129, 3130]}]
"""


def make_certificates(folder):
    """proxy.pem for proxy.test, agent.pem for coder-5 and stranger.pem of another authority."""

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=60)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for name in ("own", "other"):
        openssl("req", "-x509", *key, "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem", "-days", "30",
                "-subj", f"/CN={name} CA")  # fmt: skip
    leaves = (("proxy", "own", "DNS:proxy.test"), ("agent", "own", "DNS:coder-5"), ("stranger", "other", "DNS:coder-5"))
    for name, authority, names in leaves:
        with open(f"{folder}/{name}.cnf", "w") as file:
            file.write(f"subjectAltName={names}\n")
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}-ca.pem", "-CAkey", f"{authority}-ca.key",
                "-days", "30", "-CAcreateserial", "-extfile", f"{name}.cnf", "-out", f"{name}.pem")  # fmt: skip


class ExplicitListeners(SharedCase):
    policy = POLICY

    def setUp(self):
        super().setUp()
        make_certificates(self.folder)
        for name in os.listdir(self.folder):
            self.own(f"{self.folder}/{name}")
        tls = f"cert: {self.folder}/proxy.pem, key: {self.folder}/proxy.key"
        users = f"{{coder-3: '{HASH}', coder-4: '{HASH}'}}"
        self.daemon = self.start_sluiced(
            "listen:\n"
            f'- {{address: "127.0.0.1:{FIXED}", agent: coder-1}}\n'
            f'- {{address: "127.0.0.1:{SOURCE}", agents: {{by: source_address, map: {{127.0.0.2: coder-2}}}}}}\n'
            f'- {{address: "127.0.0.1:{PASSWORD}", agents: {{by: proxy_auth, users: {users}}}}}\n'
            f'- {{address: "127.0.0.1:{OVER_TLS}", tls: {{{tls}}}, agents: {{by: proxy_auth, users: {users}}}}}\n'
            f'- {{address: "127.0.0.1:{CERTIFICATE}", tls: {{{tls}, client_ca: {self.folder}/own-ca.pem}},\n'
            "   agents: {by: client_certificate}}\n"
        )

    def client(self, *command, **environment):
        return subprocess.run(
            command, cwd=self.folder, env={**ASIDE, **environment}, capture_output=True, text=True, timeout=PATIENT
        )

    def curl(self, *arguments, url=ALLOWED):
        run = self.client("curl", "-sS", "-m", "60", "--cacert", world.CA, "--proxy-cacert", "own-ca.pem", *arguments, url)
        return run.stdout + run.stderr

    def audit_line(self, **wanted):
        """The last audit line that has all of `wanted`, when it is there."""
        found = []

        def look():
            with open(self.audit) as file:
                lines = [json.loads(line) for line in file if line.endswith("\n")]
            found[:] = [line for line in lines if all(line.get(key) == value for key, value in wanted.items())]
            return bool(found)

        self.wait_until(look, f"no audit line has {wanted}")
        return found[-1]

    def assert_served(self, said, agent, via="connect"):
        self.assertIn('"origin": "allowed.test"', said)
        line = self.audit_line(agent=agent, verdict="allow", via=via)
        self.assertEqual((line["host"], line["reason"]), ("allowed.test", "listed"))

    def test_whoever_arrives_on_a_listener_with_one_agent_is_that_agent(self):
        self.assert_served(self.curl("-x", f"http://127.0.0.1:{FIXED}"), "coder-1")
        self.assertIn("not_listed", self.curl("-x", f"http://127.0.0.1:{FIXED}", url="http://other.test/"))
        self.audit_line(agent="coder-1", host="other.test", reason="not_listed")

    def test_a_source_address_is_an_agent_or_nobody(self):
        proxy = ["-x", f"http://127.0.0.1:{SOURCE}"]
        self.assert_served(self.curl("--interface", "127.0.0.2", *proxy), "coder-2")
        self.assertIn("403", self.curl("--interface", "127.0.0.3", *proxy))
        line = self.audit_line(reason="unknown_agent")
        self.assertEqual((line["agent"], line["host"], line["port"]), ("(unidentified)", "allowed.test", 443))
        self.assertIn("127.0.0.3", line["error"])

    def test_a_user_and_password_are_an_agent_for_curl_wget_and_python(self):
        proxy = f"http://127.0.0.1:{PASSWORD}"
        self.assert_served(self.curl("-x", proxy, "--proxy-user", "coder-3:right"), "coder-3")
        url = f"http://coder-4:right@127.0.0.1:{PASSWORD}"
        run = self.client("wget", "-q", "-O", "-", "http://allowed.test/", http_proxy=url)
        self.assert_served(run.stdout + run.stderr, "coder-4", "http")
        script = (
            "import ssl, urllib.request as u\n"
            f"context = ssl.create_default_context(cafile={world.CA!r})\n"
            f"print(u.urlopen({ALLOWED!r}, context=context, timeout=60).read().decode())"
        )
        before = self.audit_line(agent="coder-4")["session"]
        run = self.client(world.PYTHON, "-c", script, https_proxy=url)
        self.assertIn('"origin": "allowed.test"', run.stdout, run.stderr)
        self.assertNotEqual(self.audit_line(agent="coder-4", via="connect")["session"], before)

    def test_no_or_a_wrong_password_is_407_and_in_nobodys_account(self):
        proxy = ["-x", f"http://127.0.0.1:{PASSWORD}"]
        self.assertIn("407", self.curl(*proxy))
        self.assertIn("407", self.curl(*proxy, "--proxy-user", "coder-3:wrong"))
        said = self.curl(*proxy, "-i", url="http://allowed.test/")
        self.assertIn('Proxy-Authenticate: Basic realm="sluice"', said)
        self.assertIn('details="auth_required"', said)
        self.audit_line(agent="(unidentified)", reason="auth_required", host="allowed.test", port=443)

    def test_a_client_that_waits_for_the_challenge_is_served(self):
        proxy = ["-x", f"http://127.0.0.1:{PASSWORD}", "--proxy-anyauth", "--proxy-user", "coder-3:right"]
        self.assert_served(self.curl(*proxy), "coder-3")

    def test_the_origin_never_sees_proxy_authorization(self):
        for port, agent in ((FIXED, "coder-1"), (PASSWORD, "coder-3")):
            proxy = ["-x", f"http://127.0.0.1:{port}", "--proxy-user", "coder-3:right"]
            self.assert_served(self.curl(*proxy, url="http://allowed.test/"), agent, "http")
        for event in self.outside.events("http"):
            self.assertNotIn("proxy-authorization", json.dumps(event).lower())

    def test_socks5_user_and_password_are_an_agent(self):
        proxy = ["--socks5-hostname", f"127.0.0.1:{PASSWORD}"]
        self.assert_served(self.curl(*proxy, "--proxy-user", "coder-3:right"), "coder-3", "socks5")
        self.assertNotIn("origin", self.curl(*proxy, "--proxy-user", "coder-3:wrong"))
        self.assertNotIn("origin", self.curl(*proxy))
        self.audit_line(agent="(unidentified)", reason="auth_required", via="socks5")

    def test_tls_to_the_proxy_hides_the_password(self):
        resolve = ["--resolve", f"proxy.test:{OVER_TLS}:127.0.0.1"]
        proxy = [*resolve, "-x", f"https://proxy.test:{OVER_TLS}", "--proxy-user", "coder-3:right"]
        self.assert_served(self.curl(*proxy), "coder-3")
        self.assert_served(self.curl(*proxy, url="http://allowed.test/"), "coder-3", "http")

    def test_a_client_certificate_is_an_agent_and_without_one_the_handshake_fails(self):
        resolve = ["--resolve", f"proxy.test:{CERTIFICATE}:127.0.0.1"]
        proxy = [*resolve, "-x", f"https://proxy.test:{CERTIFICATE}"]
        self.assert_served(self.curl(*proxy, "--proxy-cert", "agent.pem", "--proxy-key", "agent.key"), "coder-5")
        for arguments in ([], ["--proxy-cert", "stranger.pem", "--proxy-key", "stranger.key"]):
            self.assertNotIn("origin", self.curl(*proxy, *arguments))
        line = self.audit_line(agent="(unidentified)", reason="auth_required")
        self.assertIn("TLS with 127.0.0.1", line["error"])

    def test_no_agent_reaches_a_listener_through_a_listener(self):
        said = self.curl("-x", f"http://127.0.0.1:{FIXED}", url=f"http://127.0.0.1:{PASSWORD}/")
        self.assertIn("address_forbidden", said)

    def test_a_registration_cannot_take_the_name_of_an_agent_of_a_listener(self):
        run = self.sluice("run", "--agent", "coder-1", "--", "true")
        self.assertEqual(run.status, 125, run)
        self.assertIn("'coder-1' is taken", run.err)

    def test_listeners_close_when_sluiced_drains(self):
        self.daemon.terminate()
        self.daemon.wait(60)
        self.assertIn("Failed to connect", self.curl("-x", f"http://127.0.0.1:{FIXED}"))

    def test_a_taken_port_is_an_error_that_says_so(self):
        with open(f"{self.folder}/second.conf", "w") as file:
            file.write(
                f"policy: {self.policy_file}\nhandover: {{socket: second.sock}}\nstate: {self.folder}\n"
                "admin: {socket: second-admin.sock, address: ''}\naudit: {file: stdout}\n"
                f'listen: [{{address: "127.0.0.1:{FIXED}", agent: coder-9}}]\n'
            )
        run = self.client(f"{world.BIN}/sluiced", "--config", f"{self.folder}/second.conf")
        self.assertEqual(run.returncode, 1, run)
        self.assertIn(f"cannot listen on 127.0.0.1:{FIXED}", run.stderr)
        self.assertIn("another program has the port", run.stderr)

    def test_check_reads_certificates_and_warns_of_readable_passwords(self):
        def check(listen):
            with open(f"{self.folder}/check.conf", "w") as file:
                file.write(f"policy: {self.policy_file}\nlisten: [{listen}]\n")
            return self.client(f"{world.BIN}/sluiced", "--check", "--config", f"{self.folder}/check.conf")

        run = check(f'{{address: "192.0.2.1:3128", agents: {{by: proxy_auth, users: {{a: "{HASH}"}}}}}}')
        self.assertEqual(run.returncode, 0, run)
        self.assertIn("passwords travel readable to 192.0.2.1:3128", run.stderr)
        run = check('{address: "192.0.2.1:3128", agent: a, tls: {cert: agent.pem, key: proxy.key}}')
        self.assertEqual(run.returncode, 1, run)
        self.assertIn("proxy.key", run.stderr)
