"""What the policy does not name is refused at once, with a sentence that says why."""

import base64
import json
import os

import hello
import world
from agent import AT_ONCE, NO_PROXY_VARIABLES, Case


class WhatIsNotAllowed(Case):
    def test_curl_to_another_host_is_refused_at_once_with_a_sentence(self):
        run = self.shell(
            "curl -sSv -m 60 https://other.test/; curl -sS -m 60 http://other.test/;"
            "until grep -qs other.test /run/sluice/denials; do sleep 0.1; done;"
            "echo denials:; cat /run/sluice/denials"
        )
        self.assertIn("CONNECT tunnel failed, response 403", run.err, run)
        self.assertIn("other.test", run.out, run)
        said, denials = run.out.split("denials:\n")
        self.assertIn("not_listed", said, run)
        self.assertIn("other.test", denials, run)
        self.assertLess(run.seconds * 1000, 3 * AT_ONCE)  # two curls and the start of a sandbox
        self.assert_nothing_left()

    def test_a_refusal_by_the_proxy_says_why_and_what_to_do_in_text_and_in_json(self):
        request = "GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n{}\r\n"
        answers = self.wire(
            {
                "text": {"to": ["127.0.0.1", 3128], "steps": [request.format("")]},
                "json": {
                    "to": ["127.0.0.1", 3128],
                    "steps": [request.format("Accept: application/json\r\n")],
                },
            }
        )
        for answer in answers.values():
            self.assert_refused_by_http(answer, 403, "not_listed")
            self.assertIn("Cache-Control: no-store", answer["reply"])
            self.assertIn("Proxy-Status: sluice; error=http_request_denied", answer["reply"])
        text = answers["text"]["reply"].split("\r\n\r\n", 1)[1]
        for word in ("other.test", "coder-1", "not_listed"):
            self.assertIn(word, text)
        body = json.loads(answers["json"]["reply"].split("\r\n\r\n", 1)[1])
        self.assertEqual(body["reason"], "not_listed")

    def test_a_refusal_arrives_whole_although_the_agent_is_still_sending(self):
        """Closing with unread input would reset the connection and cut the sentence off."""
        run = self.shell(
            "head -c 4194304 /dev/zero > up; curl -sS -m 60 -H Expect: -T up http://other.test/;"
            + NO_PROXY_VARIABLES
            + "curl -sS -m 60 -H Expect: -T up http://8.8.8.8/"
        )
        self.assertEqual(run.out.count("not_listed"), 2, run)

    def test_what_the_agent_chose_is_escaped_wherever_a_person_reads_it(self):
        """ESC, C1 and bidi characters in names, paths, SNI and SOCKS: stderr and the audit file."""
        evil = "\x1b[2J\x9b31m\u202e.test"
        audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"
        name = evil.encode().decode("latin1")
        label = chr(len(name) - 5) + name[:-5]
        question = f"\x12\x34\x01\0\0\1\0\0\0\0\0\0{label}\4test\0\0\1\0\1"
        question = chr(len(question) >> 8) + chr(len(question) & 255) + question

        def said(*steps):
            return {"to": ["127.0.0.1", 3128], "steps": list(steps), "quiet": 0.5}

        other = "HTTP/1.1\r\nHost: other.test\r\n\r\n"
        request = f"\x05\x01\x00\x03{chr(len(name))}{name}\x01\xbb"
        jobs = {
            "connect": said(f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}\r\n\r\n"),
            "get": said(f"GET http://other.test/{name} {other}"),
            "method": said(f"{name} http://other.test/ {other}"),
            "socks": said("\x05\x01\x00", {"until": "\x05\x00"}, request),
            "sni": {"to": ["allowed.test", 443], "steps": [hello.text(hello.hello(name))]},
            "dns": {"to": ["8.8.8.8", 53], "steps": [question], "quiet": 0.3},
        }
        path = self.write(f"{self.workspace}/jobs.json", json.dumps(jobs))
        run = self.run_agent(
            world.PYTHON, "inside/wire.py", path, options=["--audit", audit]
        )
        with open(audit, encoding="utf-8") as file:
            written = file.read()
        for text in (run.err, written):
            for character in "\x1b\x9b\u202e":
                self.assertNotIn(character, text)
        self.assertGreaterEqual(len(written.splitlines()), len(jobs))

    def test_without_proxy_variables_the_name_does_not_exist_and_the_sentence_is_on_stderr(self):
        """By NXDOMAIN, at once; the sentence is on stderr and in /run/sluice/denials."""
        run = self.shell(
            NO_PROXY_VARIABLES
            + "curl -sS -m 60 https://other.test/; echo curl: $?;"
            + "until grep -s other.test /run/sluice/denials; do sleep 0.1; done"
        )
        self.assertIn("curl: 6\n", run.out, run)  # could not resolve host
        self.assertIn("other.test", run.out.split("curl: 6\n")[1], run)
        self.assertIn("not_listed", run.out, run)
        sentences = [line for line in run.err.splitlines() if "not_listed" in line]
        self.assertTrue(any("other.test" in line for line in sentences), run)
        self.assertEqual(self.outside.questions(), [])

    def test_a_denied_name_is_nxdomain_with_an_extended_error_over_udp_and_tcp(self):
        run = self.shell(
            "for t in +notcp +tcp; do dig +time=60 +tries=1 $t other.test A; "
            "dig +time=60 +tries=1 $t other.test AAAA; done"
        )
        self.assertEqual(run.out.count("status: NXDOMAIN"), 4, run)
        self.assertEqual(run.out.count("EDE: 17"), 4, run)
        self.assertNotIn("REFUSED", run.out)

    def test_nothing_about_encrypted_client_hello_or_alternative_services_is_told(self):
        """HTTPS and SVCB questions for an allowed name have no data."""
        run = self.shell("for t in TYPE65 TYPE64; do dig +time=60 +tries=1 allowed.test $t; done")
        self.assertEqual(run.out.count("status: NOERROR"), 2, run)
        self.assertEqual(run.out.count("ANSWER: 0"), 2, run)

    def test_a_service_of_an_allowed_host_is_unknown_and_no_denial(self):
        """apt asks for SRV before each download, browsers for HTTPS; an address is another matter."""
        ask = "dig +time=60 +tries=1"
        run = self.shell(
            f"{ask} _https._tcp.allowed.test SRV; {ask} _8443._https.allowed.test TYPE65; "
            f"{ask} _http._tcp.other.test SRV; {ask} _https._tcp.allowed.test A"
        )
        self.assertEqual(run.out.count("status: NOERROR"), 2, run)
        self.assertEqual(run.out.count("status: NXDOMAIN"), 2, run)
        self.assertIn("blocked 2 (not_listed 2)", run.err)
        self.assertEqual(self.outside.questions(), [])

    def test_no_question_of_the_agent_travels_upstream(self):
        """DNS is no way out: labels under an allowed wildcard, TXT, any server, any transport."""
        secret = base64.b32encode(os.urandom(20)).decode().lower()
        run = self.shell(
            f"""
            for name in {secret}.wild.test {secret}.other.test {secret} a.{secret}.allowed.test; do
              for server in "" @8.8.8.8 @{world.DNS4}; do
                dig +short +time=60 +tries=1 $server $name A
                dig +short +time=60 +tries=1 $server $name TXT
                dig +short +time=60 +tries=1 +tcp $server $name NULL
              done
              getent hosts $name
            done
            python3 - <<'end'
            import socket
            for address in ("{world.DNS4}", "8.8.8.8"):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                    s.sendto(b"{secret} is no DNS message at all", (address, 53))
            end
            """
        )
        self.assertEqual(self.outside.questions(), [], run)
        self.assert_nothing_left(run)

    def test_a_name_under_an_allowed_wildcard_is_asked_upstream_only_when_it_is_dialled(self):
        request = "GET / HTTP/1.1\r\nHost: deep.wild.test\r\n\r\n"
        self.wire({"dial": {"to": ["deep.wild.test", 80], "steps": [request], "quiet": 0.2}})
        self.assertEqual(self.outside.questions(), ["deep.wild.test"])


class WhatIsNoTcpToAName(Case):
    """Ping, UDP, IPv6, raw sockets, any other port, any literal address: refused at once."""

    REFUSED = {
        "udp 443": {"ECONNREFUSED"},
        "udp 123": {"ECONNREFUSED"},
        "udp ipv6": {"ECONNREFUSED"},
        "udp to an allowed name": {"ECONNREFUSED"},
        "udplite": {"ECONNREFUSED", "EPERM", "EPROTONOSUPPORT"},
        "udp broadcast": {"EACCES", "ENETUNREACH", "sent"},  # "sent" goes to lo; O's log tells
        "udp multicast": {"ENETUNREACH", "sent"},
        "sctp": {"EPROTONOSUPPORT", "EPERM", "ESOCKTNOSUPPORT", "ECONNREFUSED"},
        "ping": {"refused"},
        "ping ipv6": {"refused"},
        "icmp datagram socket": {"EACCES", "EPERM", "EHOSTUNREACH"},
        "raw ipv4": {"EPERM"},
        "raw ipv4 any": {"EPERM"},
        "raw ipv6": {"EPERM"},
        "packet": {"EPERM", "EAFNOSUPPORT"},
        "packet datagram": {"EPERM", "EAFNOSUPPORT"},
    }
    WORKS = {
        "own udp server": "to myself",
        "own tcp server": "to myself",
        "own tcp server on port 80": "to myself",
        "own tcp server ipv6": "to myself",
        "interfaces": "lo",
    }

    def test_everything_that_is_not_tcp_to_an_allowed_name_is_refused_at_once(self):
        answers = self.probe("net")
        for name, answer in answers.items():
            with self.subTest(name):
                if name in self.WORKS:
                    self.assertEqual(answer["result"], self.WORKS[name])
                    continue
                allowed = self.REFUSED.get(name)
                if allowed:
                    self.assertIn(answer["result"], allowed)
                else:  # TCP: the handshake is the namespace's own, then a reset or the end
                    ends = {"ECONNRESET", "ECONNREFUSED", "EPIPE", "closed"}
                    self.assertIn(answer["result"], ends)
                self.assertLess(answer["ms"], AT_ONCE)
        self.assert_nothing_left()

    def test_a_literal_address_is_refused_by_every_entrance(self):
        """Also that of an allowed host: a name is allowed, not the addresses behind it."""
        addresses = [world.ALLOWED4, "8.8.8.8", f"[{world.ALLOWED6}]", "[2606:4700::1111]"]
        jobs = {}
        for address in addresses:
            jobs[f"connect {address}"] = {
                "to": ["127.0.0.1", 3128],
                "steps": [f"CONNECT {address}:443 HTTP/1.1\r\nHost: {address}:443\r\n\r\n"],
            }
            jobs[f"http {address}"] = {
                "to": ["127.0.0.1", 3128],
                "steps": [f"GET http://{address}/ HTTP/1.1\r\nHost: {address}\r\n\r\n"],
            }
            jobs[f"transparent {address}"] = {
                "to": [address.strip("[]"), 80],
                "steps": [f"GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"],
            }
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assert_refused_by_http(answer, 403, "not_listed")
        self.assert_nothing_left()

    def test_another_port_of_an_allowed_host_is_refused_by_every_entrance(self):
        socks = "\x05\x01\x00\x03\x0callowed.test\x00\x16"
        jobs = {
            "connect": {
                "to": ["127.0.0.1", 3128],
                "steps": ["CONNECT allowed.test:22 HTTP/1.1\r\nHost: allowed.test:22\r\n\r\n"],
            },
            "transparent": {
                "to": ["allowed.test", 8080],
                "steps": ["GET / HTTP/1.1\r\nHost: allowed.test:8080\r\n\r\n"],
            },
            "silent": {"to": ["allowed.test", 22], "steps": []},
            "socks": {
                "to": ["127.0.0.1", 3128],
                "steps": ["\x05\x01\x00", {"until": "\x05\x00"}, socks],
            },
        }
        answers = self.wire(jobs)
        self.assert_refused_by_http(answers["connect"], 403, "port_not_allowed")
        self.assert_refused_by_http(answers["transparent"], 403, "port_not_allowed")
        self.assertEqual(answers["socks"]["reply"][2:4], "\x05\x02", answers["socks"])
        # Nothing the agent could say would help: it is not waited for.
        self.assertIn(answers["silent"]["error"], ("ECONNRESET", None), answers["silent"])
        self.assertTrue(answers["silent"]["closed"], answers["silent"])
        self.assertLess(answers["silent"]["ms"], AT_ONCE)
        self.assert_nothing_left()

    def test_without_any_policy_the_agent_starts_and_reaches_nothing(self):
        run = self.sluice(
            "run", "--agent", "coder-1", "--", "bash", "-c",
            NO_PROXY_VARIABLES + "curl -sS -m 60 https://allowed.test/; echo curl: $?",
        )  # fmt: skip
        self.assertIn("curl: 6", run.out, run)
        self.assertRegex(run.err, r"(?i)nothing is allowed", run)
        self.assert_nothing_left()
