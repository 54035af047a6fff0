"""What an agent may write to the proxy port, byte by byte: hosts, ports, framing, SOCKS5."""

import json

from agent import Case

PROXY = ["127.0.0.1", 3128]


def connect(authority, more="", **job):
    return {
        "to": PROXY,
        "steps": [f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n{more}"],
        "quiet": 0.7,
        **job,
    }


def get(target, host, *fields, method="GET"):
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return {"to": PROXY, "steps": ["\r\n".join(lines)], "quiet": 0.7}


def raw(*lines):
    return {"to": PROXY, "steps": ["\r\n".join([*lines, "", ""])], "quiet": 0.7}


def socks(address_type, address, port, command=1):
    request = bytes([5, command, 0, address_type]).decode("latin1") + address
    request += port.to_bytes(2, "big").decode("latin1")
    return {"to": PROXY, "steps": ["\x05\x01\x00", {"until": "\x05\x00"}, request], "quiet": 0.7}


def socks_name(name, port=443):
    return socks(3, chr(len(name)) + name, port)


def first_line(answer):
    return answer["reply"].split("\r\n")[0]


class HostsAndPorts(Case):
    """Parse once: a host becomes one canonical value, or it is refused; nothing is guessed at."""

    SAME_HOST = ["allowed.test:443", "ALLOWED.test:443", "Allowed.TEST:443", "allowed.test.:443"]
    OTHER_HOST = [
        "allowed.test..:443",
        ".allowed.test:443",
        "evil.test\0.allowed.test:443",
        "allowed.test\0.evil.test:443",
        "allowed.test%00.evil.test:443",
        "allowed.test%2eevil.test:443",
        "allowed.test@evil.test:443",
        "evil.test@allowed.test:443",
        "user:word@allowed.test:443",
        "evil.test\\@allowed.test:443",
        "evil.test/allowed.test:443",
        "evil.test#allowed.test:443",
        "evil.test?allowed.test:443",
        "allowed\u3002test:443".encode().decode("latin1"),
        "\uff41llowed.test:443".encode().decode("latin1"),
        "allowed\u00adtest:443".encode().decode("latin1"),
        "[allowed.test]:443",
        "allowed .test:443",
        "allowed.test\t:443",
        "0x7f.1:443",
        "0x7f000001:443",
        "127.1:443",
        "2130706433:443",
        "0177.0.0.1:443",
        "127.0.0.1.:443",
        "[::ffff:127.0.0.1]:443",
        "[::1%eth0]:443",
        "[::1%25eth0]:443",
        "[fe80::1%1]:443",
        "[::1:443",
        "::1:443",
        "[v1.fe]:443",
        "*.wild.test:443",
        "-allowed.test:443",
        "a" * 64 + ".wild.test:443",
        ("a" * 60 + ".") * 5 + "wild.test:443",
        "169.254.169.254:443",
        "[fd00:ec2::254]:443",
    ]
    BAD_PORTS = [":0", ":-1", ":65616", ":65536", ":+443", ":0443", ":443x", ": 443", ":", "",
                 "::443", ":443:443", ":4 43", ":443,80", ":\u0664\u0664\u0663", ":0x1bb",
                 ":18446744073709551619", ":443/"]  # fmt: skip

    def test_every_spelling_of_an_allowed_host_is_that_host(self):
        answers = self.wire({host: connect(host) for host in self.SAME_HOST})
        for host, answer in answers.items():
            with self.subTest(host):
                self.assertTrue(first_line(answer).startswith("HTTP/1.1 200"), answer)

    def test_no_other_spelling_passes_for_an_allowed_host(self):
        answers = self.wire({host: connect(host) for host in self.OTHER_HOST})
        for host, answer in answers.items():
            with self.subTest(host):
                self.assertRegex(first_line(answer), r"^HTTP/1\.1 (400|403) ", answer)
                self.assertTrue(answer["closed"], answer)
        self.assert_nothing_left()
        self.assertEqual(self.outside.questions(), [])

    def test_the_same_holds_for_the_target_of_a_plain_request(self):
        hosts = [host.rsplit(":443", 1)[0] for host in self.OTHER_HOST]
        jobs = {host: get(f"http://{host}/", "allowed.test") for host in hosts}
        # "?", "#" and "/" end a host in a URL: these ask for the host before them.
        for host, answer in self.wire(jobs).items():
            with self.subTest(host):
                self.assertRegex(first_line(answer), r"^HTTP/1\.1 (400|403) ", answer)
        self.assert_nothing_left()
        self.assertEqual(self.outside.questions(), [])

    def test_the_same_holds_for_socks_names(self):
        names = [host.rsplit(":443", 1)[0] for host in self.OTHER_HOST]
        names = [name for name in names if 0 < len(name) < 256]
        answers = self.wire({name: socks_name(name) for name in names} | {"none": socks_name("")})
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertRegex(answer["reply"], r"(?s)^\x05\x00\x05[\x01-\x08]", answer)
                self.assertTrue(answer["closed"], answer)
        self.assert_nothing_left()
        self.assertEqual(self.outside.questions(), [])

    def test_a_port_is_a_number_from_1_to_65535_and_nothing_else(self):
        spelled = {port: port.encode().decode("latin1") for port in self.BAD_PORTS}
        answers = self.wire({p: connect(f"allowed.test{spelled[p]}") for p in self.BAD_PORTS})
        for port, answer in answers.items():
            with self.subTest(port):
                self.assertRegex(first_line(answer), r"^HTTP/1\.1 400 ", answer)
                self.assertTrue(answer["closed"], answer)
        self.assert_nothing_left()


class Framing(Case):
    """Strict framing: RFC 9112 to the letter, 400 and close otherwise."""

    policy = Case.policy + "      - host: other.test\n        ports: [8080]\n"

    def test_the_second_request_on_a_connection_is_judged_anew(self):
        first = "GET http://allowed.test/one HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        second = "GET http://other.test/two HTTP/1.1\r\nHost: other.test\r\n\r\n"
        third = "GET http://allowed.test/three HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        in_turn = [first, {"until": "/one"}, second, {"until": "port_not_allowed"}, third]
        answers = self.wire(
            {
                "in turn": {"to": PROXY, "steps": in_turn},
                "pipelined": {"to": PROXY, "steps": [first + second + third, {"until": "port_not_allowed"}]},
            }
        )
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertIn('"path": "/one"', answer["reply"])
                self.assertIn("HTTP/1.1 403", answer["reply"])
                self.assertNotIn('"path": "/two"', answer["reply"])
        self.assertEqual([e for e in self.outside.events("http") if e["path"] == "/two"], [])

    def test_the_second_request_of_a_transparent_connection_is_judged_anew(self):
        steps = [
            "GET /one HTTP/1.1\r\nHost: allowed.test\r\n\r\n",
            {"until": "/one"},
            "GET /two HTTP/1.1\r\nHost: other.test\r\n\r\n",
        ]
        answer = self.wire({"a": {"to": ["allowed.test", 80], "steps": steps}})["a"]
        self.assertIn('"path": "/one"', answer["reply"], answer)
        self.assertRegex(answer["reply"], r"HTTP/1\.1 (400|403)", answer)
        self.assertNotIn('"path": "/two"', answer["reply"])
        self.assertEqual([e for e in self.outside.events("http") if e["path"] == "/two"], [])

    def test_the_host_field_that_arrives_is_the_host_that_was_judged(self):
        self.wire({"a": get("http://allowed.test/x", "evil.test")})
        seen = self.outside.events("http")
        self.assertEqual([event["host"] for event in seen], ["allowed.test"] * len(seen))

    def test_nothing_after_a_refused_connect_is_read_as_a_request(self):
        """Else the bytes of a refused tunnel would be requests of the agent's choosing."""
        more = "GET http://allowed.test/smuggled HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        answer = self.wire({"a": connect("evil.test:443", more)})["a"]
        self.assertTrue(answer["reply"].startswith("HTTP/1.1 403 "), answer)
        self.assertEqual(answer["reply"].count("HTTP/1.1 "), 1, answer)
        self.assertTrue(answer["closed"], answer)
        self.assertEqual(self.outside.events("http"), [])

    def test_ambiguous_framing_is_refused_and_closed(self):
        target = "POST http://allowed.test/smuggle HTTP/1.1"
        length, coding = "Content-Length: 3", "Transfer-Encoding: "

        def post(*fields):
            return raw(target, "Host: allowed.test", *fields)

        bad = {
            "two Host fields": post("Host: evil.test"),
            "no Host field": raw("GET http://allowed.test/ HTTP/1.1"),
            "CL.CL": post(length, "Content-Length: 4"),
            "CL list": post("Content-Length: 3, 4"),
            "CL and TE": post(length, coding + "chunked"),
            "xchunked": post(coding + "xchunked"),
            "chunked twice": post(coding + "chunked, chunked"),
            "chunked not last": post(coding + "chunked, gzip"),
            "CL +3": post("Content-Length: +3"),
            "CL 0x3": post("Content-Length: 0x3"),
            "CL huge": post("Content-Length: 99999999999999999999"),
            "space before colon": raw(target, "Host : allowed.test"),
            "obs-fold": post("X: a", " b"),
            "NUL": post("X: a\0b"),
            "bare CR": post("X: a\rb"),
            "bare LF": {
                "to": PROXY,
                "steps": ["GET http://allowed.test/ HTTP/1.1\nHost: allowed.test\n\n"],
                "quiet": 0.7,
            },
            "no version": raw("GET http://allowed.test/"),
            "two spaces": raw("GET  http://allowed.test/ HTTP/1.1", "Host: allowed.test"),
            "http2 preface": {"to": PROXY, "steps": ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]},
            "origin form": raw("GET / HTTP/1.1", "Host: allowed.test"),
            "chunk size of 17 digits": {
                "to": PROXY,
                "steps": [
                    target + "\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "10000000000000003\r\nabc\r\n0\r\n\r\n"
                ],
                "quiet": 0.7,
            },
        }
        for name, answer in self.wire(bad).items():
            with self.subTest(name):
                self.assertRegex(first_line(answer), r"^HTTP/1\.[01] (400|501|505) ", answer)
                self.assertTrue(answer["closed"], answer)

    def test_other_schemes_and_upgrades_are_refused_or_stripped(self):
        jobs = {
            scheme: get(f"{scheme}://allowed.test/", "allowed.test")
            for scheme in ("ftp", "file", "gopher", "https", "ws")
        }
        for scheme, answer in self.wire(jobs).items():
            with self.subTest(scheme):
                self.assert_refused_by_http(answer, 400, "scheme_not_allowed")
        self.assert_nothing_left()
        self.outside.mark()
        fields = ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"]
        self.wire({"h2c": get("http://allowed.test/h2c", "allowed.test", *fields)})
        for event in self.outside.events("http"):
            names = [name.lower() for name, _ in event["headers"]]
            self.assertNotIn("upgrade", names)
            self.assertNotIn("http2-settings", names)

    def test_what_was_meant_for_the_proxy_never_reaches_the_origin(self):
        self.wire(
            {
                "a": get(
                    "http://allowed.test/x", "allowed.test", "Proxy-Authorization: Basic c2VjcmV0",
                    "Proxy-Connection: keep-alive", "Connection: X-Hop", "X-Hop: mine",
                )
            }
        )  # fmt: skip
        event = self.outside.wait_for("http", lambda e: e["path"] == "/x")
        names = [name.lower() for name, _ in event["headers"]]
        for name in ("proxy-authorization", "proxy-connection", "x-hop", "x-forwarded-for"):
            self.assertNotIn(name, names)

    def test_an_endless_header_is_refused_and_not_kept(self):
        head = "GET http://allowed.test/ HTTP/1.1\r\nHost: allowed.test\r\n"
        jobs = {
            "1 MiB": {"to": PROXY, "steps": [head + "X: " + "a" * (1 << 20) + "\r\n\r\n"]},
            "10,000 fields": {"to": PROXY, "steps": [head + "X: a\r\n" * 10000 + "\r\n"]},
        }
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assertTrue(
                    first_line(answer).startswith("HTTP/1.1 431") or answer["closed"], answer
                )
        self.assert_nothing_left()

    def test_a_body_passes_whole_and_the_next_request_is_found_behind_it(self):
        both = (
            "POST http://allowed.test/a HTTP/1.1\r\nHost: allowed.test\r\n"
            "Content-Length: 5\r\n\r\nhello"
            "GET http://allowed.test/b HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        )
        answer = self.wire({"a": {"to": PROXY, "steps": [both, {"until": '"path": "/b"'}]}})["a"]
        bodies = [json.loads(line) for line in answer["reply"].splitlines() if line[:1] == "{"]
        self.assertEqual([(b["path"], b["got"]) for b in bodies], [("/a", 5), ("/b", 0)], answer)


class Socks(Case):
    def test_socks5_speaks_for_names_and_refuses_what_it_does_not_know(self):
        address = bytes([25, 10, 0, 10]).decode("latin1")
        jobs = {
            "allowed": socks_name("allowed.test"),
            "other name": socks_name("other.test"),
            "literal": socks(1, address, 443),
            "literal ipv6": socks(4, "\0" * 15 + "\1", 443),
            "bind": socks(3, "\x0callowed.test", 443, command=2),
            "udp associate": socks(3, "\x0callowed.test", 443, command=3),
            "address type 2": socks(2, "abcd", 443),
            "port 0": socks_name("allowed.test", 0),
            "password only": {"to": PROXY, "steps": ["\x05\x01\x02"]},
            "socks4": {"to": PROXY, "steps": ["\x04\x01\x01\xbb\0\0\0\1me\0allowed.test\0"]},
        }
        answers = self.wire(jobs)
        self.assertEqual(answers["allowed"]["reply"][2:4], "\x05\x00", answers["allowed"])
        for name in ("other name", "literal", "literal ipv6"):
            self.assertEqual(answers[name]["reply"][2:4], "\x05\x02", (name, answers[name]))
        for name in ("bind", "udp associate"):
            self.assertEqual(answers[name]["reply"][2:4], "\x05\x07", (name, answers[name]))
        for name in ("address type 2", "port 0"):
            self.assertRegex(answers[name]["reply"][2:4], "\x05[\x01-\x08]", (name, answers[name]))
        self.assertEqual(answers["password only"]["reply"], "\x05\xff")
        for name, answer in answers.items():
            if name != "allowed":
                self.assertTrue(answer["closed"], (name, answer))
