"""A tunnel goes to an address of the allowed name, and its SNI is that name."""

import struct

import hello
from agent import AT_ONCE, Case

ALERT_ACCESS_DENIED = "\x15\x03\x03\x00\x02\x02\x31"


PROXY = ["127.0.0.1", 3128]


def transparent(*steps, host="allowed.test", port=443):
    return {"to": [host, port], "steps": list(steps), "quiet": 0.7}


def tunnel(*steps, host="allowed.test", port=443):
    target = f"{host}:{port}"
    connect = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"
    return {"to": PROXY, "steps": [connect, {"until": "\r\n\r\n"}, *steps], "quiet": 0.7}


def by_socks(*steps, host="allowed.test", port=443):
    request = f"\x05\x01\x00\x03{chr(len(host))}{host}" + struct.pack("!H", port).decode("latin1")
    start = ["\x05\x01\x00", {"until": "\x05\x00"}, request, {"until": "\x05\x00\x00"}]
    return {"to": PROXY, "steps": [*start, {"sleep": 0.1}, *steps], "quiet": 0.7}


ROADS = {"transparent": transparent, "connect": tunnel, "socks": by_socks}


def after_the_proxy(answer):
    """What came behind the proxy's own first words."""
    reply = answer["reply"]
    if reply.startswith("HTTP/1.1 200"):
        return reply.split("\r\n\r\n", 1)[1]
    return reply[12:] if reply.startswith("\x05\x00") else reply


def by_every_road(variants):
    """Jobs for each ClientHello (a list of steps) by each road."""
    return {
        f"{name} by {road}": make(*steps)
        for name, steps in variants.items()
        for road, make in ROADS.items()
    }


class ServerNames(Case):
    def test_a_client_hello_for_the_allowed_host_is_answered_by_it(self):
        """Whole, one byte a segment, over eight records, with a large extension."""
        one = hello.hello("allowed.test")
        eight = hello.records(hello.message(hello.server_name("allowed.test")), 8)
        padding = struct.pack("!HH", 21, 12000) + b"\0" * 12000
        apart = [step for record in eight for step in (hello.text(record), {"sleep": 0.02})]
        variants = {
            "whole": [hello.text(one)],
            "upper case": [hello.text(hello.hello("ALLOWED.test"))],
            "bytewise": [{"bytewise": hello.text(one)}],
            "eight records": [hello.text(b"".join(eight))],
            "eight records apart": apart,
            "12 KB of padding": [hello.text(hello.hello("allowed.test", extra=[padding]))],
        }
        for name, answer in self.wire(by_every_road(variants)).items():
            with self.subTest(name):
                self.assertEqual(after_the_proxy(answer)[:2], "\x16\x03", answer)

    def test_any_other_client_hello_is_refused_at_once_and_its_name_never_arrives(self):
        """SNI of another host, of none, of two, unreadable; and what is no TLS at all."""
        empty = b"\x16\x03\x01\x00\x00"
        long_name = ("a" * 60 + ".") * 5 + "test"
        split = hello.records(hello.message(hello.server_name("evil.test")), 8)
        variants = {
            "SNI of another": [hello.text(hello.hello("evil.test"))],
            "SNI of another allowed": [hello.text(hello.hello("deep.wild.test"))],
            "SNI of a parent": [hello.text(hello.hello("test"))],
            "SNI with NUL": [hello.text(hello.hello("allowed.test\0.evil.test"))],
            "SNI of another over eight records": [hello.text(b"".join(split))],
            "SNI of another bytewise": [{"bytewise": hello.text(hello.hello("evil.test"))}],
            "no SNI": [hello.text(hello.hello())],
            "SNI is an address": [hello.text(hello.hello("25.10.0.10"))],
            "empty SNI": [hello.text(hello.hello(""))],
            "two names": [hello.text(hello.hello("allowed.test", "evil.test"))],
            "two names, the other order": [hello.text(hello.hello("evil.test", "allowed.test"))],
            "two extensions": [
                hello.text(hello.hello("allowed.test", extra=[hello.server_name("evil.test")]))
            ],
            "name of 300 bytes": [hello.text(hello.hello(long_name))],
            "10,000 empty records": [hello.text(empty * 10000)],
            "real ECH shows the provider": [
                hello.text(hello.hello("provider.test", extra=[hello.grease_ech()]))
            ],
            "not TLS": ["SSH-2.0-OpenSSH_9.2\r\n"],
            "HTTP": ["GET / HTTP/1.1\r\nHost: allowed.test\r\n\r\n"],
            "TLS of another kind": ["\x17\x03\x03\x00\x05hello"],
            "SSL 2": ["\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + "a" * 37],
        }
        for name, answer in self.wire(by_every_road(variants)).items():
            with self.subTest(name):
                behind = after_the_proxy(answer)
                self.assertNotEqual(behind[:2], "\x16\x03", answer)
                self.assertTrue(answer["closed"], answer)
                self.assertLess(answer["ms"], AT_ONCE + 1000, answer)
        names = {event["sni"] for event in self.outside.events("tls")}
        self.assertEqual(names - {"allowed.test"}, set())

    def test_a_refused_client_hello_gets_the_alert_access_denied(self):
        jobs = {road: make(hello.text(hello.hello("evil.test"))) for road, make in ROADS.items()}
        for road, answer in self.wire(jobs).items():
            with self.subTest(road):
                self.assertIn(
                    after_the_proxy(answer),
                    (ALERT_ACCESS_DENIED, ALERT_ACCESS_DENIED.replace("\x03\x03", "\x03\x01")),
                )

    def test_a_greased_encrypted_client_hello_passes_unless_the_rule_denies_it(self):
        """Browsers offer ECH with random content and the true SNI (RFC 9849 6.2)."""
        greased = hello.text(hello.hello("allowed.test", extra=[hello.grease_ech()]))
        answer = self.wire({"a": transparent(greased)})["a"]
        self.assertEqual(answer["reply"][:2], "\x16\x03", answer)
        self.write(
            self.policy_file,
            self.policy.replace("host: allowed.test", "{host: allowed.test, ech: deny}"),
        )
        for road, make in ROADS.items():
            with self.subTest(road):
                answer = self.wire({"a": make(greased)})["a"]
                self.assertNotEqual(after_the_proxy(answer)[:2], "\x16\x03", answer)

    def test_an_address_that_has_no_name_is_dialled_by_the_name_its_client_hello_says(self):
        """The agent chose the address; what is dialled is the allowed name's own."""
        jobs = {"a": transparent(hello.text(hello.hello("allowed.test")), host="8.8.8.8")}
        self.assertEqual(self.wire(jobs)["a"]["reply"][:2], "\x16\x03")
        self.assertNotIn("8.8.8.8", self.outside.addresses_reached())

    def test_silence_on_port_443_holds_nothing_open_at_the_origin(self):
        """`tls: require`: nobody is dialled for a client that has not shown its name."""
        self.wire({"silent": {"to": ["allowed.test", 443], "steps": [{"sleep": 1}, {"eof": True}]}})
        self.assertEqual(self.outside.events("http"), [])
        self.assertEqual(self.outside.events("tls"), [])


class OtherPorts(Case):
    policy = """
        version: 1
        agents:
          coder-1:
            allow:
              - host: ssh.test
                ports: [22, 443]
                tls: match
              - host: allowed.test
                ports: [8443, 9000]
              - host: other.test
                ports: [443]
                tls: "off"
        """

    def test_match_lets_other_protocols_pass_and_holds_tls_to_its_name(self):
        jobs = {
            "server first": transparent({"until": "origin\r\n"}, "hi\n", host="ssh.test", port=22),
            "client first": transparent("hi\n", host="allowed.test", port=9000),
            "tls with the name": transparent(
                hello.text(hello.hello("allowed.test")), host="allowed.test", port=8443
            ),
            "tls with another name": transparent(
                hello.text(hello.hello("evil.test")), host="allowed.test", port=8443
            ),
            "tls without a name": transparent(
                hello.text(hello.hello()), host="allowed.test", port=8443
            ),
        }
        answers = self.wire(jobs)
        self.assertEqual(answers["server first"]["reply"], "SSH-2.0-origin\r\nhi\n")
        self.assertEqual(answers["client first"]["reply"], "echo:hi\n")
        self.assertEqual(answers["tls with the name"]["reply"][:2], "\x16\x03")
        for name in ("tls with another name", "tls without a name"):
            self.assertNotEqual(answers[name]["reply"][:2], "\x16\x03", answers[name])
            self.assertTrue(answers[name]["closed"], answers[name])
        names = {event["sni"] for event in self.outside.events("tls")}
        self.assertEqual(names, {"allowed.test"})

    def test_off_looks_at_nothing(self):
        jobs = {"a": transparent(hello.text(hello.hello("evil.test")), host="other.test")}
        self.assertEqual(self.wire(jobs)["a"]["reply"][:2], "\x16\x03")

    def test_one_side_may_stop_talking_and_still_listen(self):
        jobs = {
            road: make("hi", {"eof": True}, host="allowed.test", port=9000)
            for road, make in ROADS.items()
        }
        for road, answer in self.wire(jobs).items():
            with self.subTest(road):
                self.assertEqual(after_the_proxy(answer), "echo:hi", answer)
                self.assertTrue(answer["closed"], answer)
