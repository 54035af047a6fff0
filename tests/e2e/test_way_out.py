"""An allowed name is reached by every road that programs know."""

import json
import os

import world
from agent import NO_PROXY_VARIABLES, Case, curl, decisions


class TheWayOut(Case):
    def fetched(self, run, host):
        self.assertIn(f'"origin": "{host}"', run.out, run)

    def test_curl_reaches_an_allowed_host_through_the_proxy_variables(self):
        """`curl https://allowed.host/` works inside, by HTTPS_PROXY."""
        run = self.run_agent(*curl("-v", "https://allowed.test/page"))
        self.fetched(run, "allowed.test")
        self.assertIn("CONNECT allowed.test:443", run.err)

    def test_curl_reaches_an_allowed_host_with_every_proxy_variable_unset(self):
        """The same works with no proxy variable at all: the network itself is the proxy."""
        run = self.shell(NO_PROXY_VARIABLES + " ".join(curl("-v", "https://allowed.test/")))
        self.fetched(run, "allowed.test")
        self.assertNotIn("CONNECT", run.err)
        self.assertRegex(run.err, r"Trying (198\.1[89]\.|\[?fd73:6c75:6963::)")

    def test_curl_reaches_an_allowed_host_by_socks5(self):
        """SOCKS5 works with the name (socks5h) and with an address that our DNS gave (socks5)."""
        for scheme in ("socks5h", "socks5"):
            with self.subTest(scheme):
                proxy = ["--proxy", f"{scheme}://127.0.0.1:3128"]
                self.fetched(self.run_agent(*curl(*proxy, "https://allowed.test/")), "allowed.test")

    def test_plain_http_works_through_the_proxy_and_without_it(self):
        run = self.shell(
            "curl -sS -m 60 http://allowed.test/a;"
            + NO_PROXY_VARIABLES
            + "curl -sS -m 60 http://allowed.test/b"
        )
        paths = [json.loads(line)["path"] for line in run.out.splitlines()]
        self.assertEqual(paths, ["/a", "/b"], run)

    def test_any_tcp_client_reaches_an_allowed_name_and_port_without_knowing_of_a_proxy(self):
        """A server that speaks first (ssh, SMTP, databases) is reached by its name."""
        answers = self.wire(
            {"banner": {"to": ["ssh.test", 22], "steps": [{"until": "origin\r\n"}, "hello\n"]}}
        )
        self.assertEqual(answers["banner"]["reply"], "SSH-2.0-origin\r\nhello\n", answers)
        self.assertIn(world.SSH4, self.outside.addresses_reached())

    def test_a_wildcard_reaches_every_depth_and_never_the_name_itself(self):
        jobs = {
            host: {
                "to": ["127.0.0.1", 3128],
                "steps": [f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n"],
            }
            for host in ("deep.wild.test", "a.b.wild.test", "wild.test")
        }
        first_lines = {host: answer["reply"][:12] for host, answer in self.wire(jobs).items()}
        self.assertEqual(
            first_lines,
            {
                "deep.wild.test": "HTTP/1.1 200",
                "a.b.wild.test": "HTTP/1.1 200",
                "wild.test": "HTTP/1.1 403",
            },
        )

    def test_a_host_that_has_only_ipv6_is_reached_by_a_client_that_has_only_ipv4(self):
        self.write(self.policy_file, self.policy.replace("host: allowed.test", "host: v6.test"))
        run = self.shell(NO_PROXY_VARIABLES + "curl -4 -sS -m 60 --cacert ca.pem https://v6.test/")
        self.fetched(run, "v6.test")
        self.assertIn(world.ALLOWED6, self.outside.addresses_reached())

    def test_bytes_arrive_whole_in_both_directions(self):
        """16 MiB down, 4 MiB up, through CONNECT and through the transparent road."""
        script = """
            head -c 4194304 /dev/zero > up
            curl -sS -m 60 --cacert ca.pem https://allowed.test/bytes/16777216 | wc -c
            curl -sS -m 60 --cacert ca.pem -T up https://allowed.test/up
            """
        run = self.shell(script + NO_PROXY_VARIABLES + script)
        self.assertEqual(run.out.count("16777216"), 2, run)
        self.assertEqual(run.out.count('"got": 4194304'), 2, run)

    def test_plain_http_bodies_pass_with_a_length_chunked_and_after_100_continue(self):
        script = """
            head -c 3000000 /dev/zero > up
            curl -sS -m 60 -T up http://allowed.test/up
            curl -sS -m 60 -T - http://allowed.test/up < up
            curl -sS -m 60 -H 'Expect: 100-continue' --data-binary @up http://allowed.test/up
            curl -sS -m 60 -0 http://allowed.test/old
            curl -sS -m 60 -I http://allowed.test/head | head -1
            many=http://allowed.test/bytes/
            curl -sS -m 60 ${many}5000000 ${many}6000000 | wc -c
            """
        run = self.shell(script + NO_PROXY_VARIABLES + script)
        self.assertEqual(run.out.count('"got": 3000000'), 6, run)
        self.assertEqual(run.out.count('"path": "/old"'), 2, run)
        self.assertEqual(run.out.count("HTTP/1.1 200"), 2, run)
        self.assertEqual(run.out.count("11000000\n"), 2, run)

    def test_the_environment_names_the_proxy_as_clients_expect(self):
        run = self.run_agent("env")
        variables = dict(line.split("=", 1) for line in run.out.splitlines() if "=" in line)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
            self.assertEqual(variables.get(name), "http://127.0.0.1:3128", name)
        for name in ("ALL_PROXY", "all_proxy"):
            self.assertEqual(variables.get(name), "socks5h://127.0.0.1:3128", name)
        for name in ("NO_PROXY", "no_proxy"):
            self.assertEqual(variables.get(name), "localhost,127.0.0.1,::1", name)
        self.assertEqual(variables.get("NODE_USE_ENV_PROXY"), "1")

    def test_a_secret_in_the_callers_environment_stays_outside_unless_it_is_passed(self):
        self.environment["EXAMPLE_TOKEN"] = "s3cret"
        self.assertNotIn("s3cret", self.run_agent("env").out)
        self.assertIn("s3cret", self.run_agent("env", options=["--pass-env", "EXAMPLE_TOKEN"]).out)

    def test_names_resolve_for_every_way_that_clients_ask_the_c_library(self):
        """With one family and AI_ADDRCONFIG, as `ssh -4` asks: lo alone must look connected."""
        run = self.shell(
            "for how in hosts ahosts ahostsv4 ahostsv6; do"
            "  getent $how allowed.test > answer && echo $how || echo $how: no such name; done"
        )
        self.assertEqual(run.out.split("\n")[:-1], ["hosts", "ahosts", "ahostsv4", "ahostsv6"], run)

    def test_dns_answers_over_udp_and_tcp_whatever_server_is_asked(self):
        run = self.shell(
            """
            for server in "" @8.8.8.8 @10.9.9.9; do
              for transport in +notcp +tcp; do
                dig +short +time=60 +tries=1 $transport $server allowed.test A
              done
            done
            """
        )
        answers = run.out.split()
        self.assertEqual(len(answers), 6, run)
        self.assertEqual(len(set(answers)), 1, run)
        self.assertRegex(answers[0], r"^198\.1[89]\.", run)
        self.assert_nothing_left()

    def test_the_audit_file_has_a_line_for_what_was_allowed_and_for_what_was_blocked(self):
        audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"
        self.shell(
            "curl -sS -m 60 --cacert ca.pem https://allowed.test/;"
            "curl -sS -m 60 https://other.test/ || true",
            options=["--audit", audit],
        )
        lines = decisions(audit)
        seen = {(line["host"], line["port"], line["verdict"], line["reason"]) for line in lines}
        self.assertIn(("allowed.test", 443, "allow", "listed"), seen, lines)
        self.assertIn(("other.test", 443, "deny", "not_listed"), seen, lines)
        allowed = next(line for line in lines if line["host"] == "allowed.test")
        self.assertEqual(allowed["agent"], "coder-1")
        self.assertEqual(allowed["via"], "connect")
        self.assertEqual(allowed["sni"], "allowed.test")
        self.assertRegex(allowed["rule"], r"my\.yaml:\d+$")
        self.assertIn(allowed["address"], (world.ALLOWED4, world.ALLOWED6))
        self.assertGreater(allowed["bytes_down"], 0)

    def test_the_end_of_a_run_is_one_line_that_says_what_was_allowed_and_what_was_blocked(self):
        run = self.shell(
            "curl -sS -m 60 --cacert ca.pem https://allowed.test/ 2>/dev/null;"
            "curl -s -m 60 https://other.test/ || true"
        )
        last = run.err.strip().splitlines()[-1]
        self.assertRegex(last, r"\ballowed 1, blocked 1 \(not_listed 1\)$", run)
        quiet = self.shell("curl -s https://other.test/ || true", options=["--quiet"])
        self.assertNotIn("blocked 1", quiet.err, quiet)
