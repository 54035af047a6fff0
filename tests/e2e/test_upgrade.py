"""WebSockets over plain HTTP: a connection that leaves HTTP is a tunnel to the allowed host."""

import base64
import hashlib
import json
import os

import world
from agent import Case

PROXY = ["127.0.0.1", 3128]
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = base64.b64encode(
    hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
).decode()  # RFC 6455 1.3


def handshake(target, host, *fields, protocol="websocket"):
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}",
        "Connection: keep-alive, Upgrade",
        f"Upgrade: {protocol}",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *fields,
    ]
    return "\r\n".join([*lines, "", ""])


def frame(text, opcode=1):
    """A masked frame of a client (RFC 6455 5.2), as wire.py's latin-1."""
    mask = b"\x11\x22\x33\x44"
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text.encode()))
    return (bytes([0x80 | opcode, 0x80 | len(masked)]) + mask + masked).decode("latin1")


def unmasked(text, opcode=1):
    return (bytes([0x80 | opcode, len(text)]) + text.encode()).decode("latin1")


def talk(to, head, *steps):
    return {"to": to, "steps": [head, {"until": "\r\n\r\n"}, *steps], "quiet": 0.7}


class WebSockets(Case):
    def setUp(self):
        super().setUp()
        self.audit = f"{os.path.dirname(self.policy_file)}/audit.jsonl"

    def lines(self, path):
        with open(self.audit) as file:
            return [line for line in map(json.loads, file) if line.get("path") == path]

    def test_a_websocket_opens_through_the_proxy_port_a_connect_tunnel_and_the_captured_port(self):
        # The first frame follows the handshake at once, before the answer: early data.
        hello, world_frame = frame("hello"), frame("world")
        rest = [world_frame, {"until": "world"}, frame("", 8), {"eof": True}]
        origin_form = handshake("/websocket", "allowed.test")
        absolute = handshake("http://allowed.test/websocket", "allowed.test")
        connect = "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n"
        jobs = {
            "proxy": talk(PROXY, absolute + hello, *rest),
            "connect": talk(PROXY, connect, origin_form + hello, {"until": "hello"}, *rest),
            "transparent": talk(["allowed.test", 80], origin_form + hello, *rest),
        }
        path = self.write(f"{self.workspace}/jobs.json", json.dumps(jobs))
        answers = self.run_agent(
            world.PYTHON, "inside/wire.py", path, options=["--audit", self.audit]
        ).json()
        expected = unmasked("hello") + unmasked("world") + unmasked("", 8)
        for name, answer in answers.items():
            with self.subTest(name):
                reply = answer["reply"]
                self.assertIn("HTTP/1.1 101 Switching Protocols\r\n", reply, answer)
                self.assertIn(f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n", reply)
                self.assertIn("\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", reply)
                self.assertTrue(reply.endswith("\r\n\r\n" + expected), answer)
                self.assertTrue(answer["closed"], answer)
        lines = self.lines("/websocket")
        self.assertEqual(sorted(line["via"] for line in lines), ["connect", "http", "transparent"])
        for line in lines:
            self.assertEqual((line["verdict"], line["method"]), ("allow", "GET"), line)
            reply = answers["proxy" if line["via"] == "http" else line["via"]]["reply"]
            answered = reply[reply.index("HTTP/1.1 101 ") :]
            self.assertEqual(line["bytes_down"], len(answered), line)
            self.assertGreater(line["bytes_up"], len(hello) + len(world_frame), line)

    def test_an_upgrade_is_judged_like_any_request(self):
        jobs = {
            "denied": talk(PROXY, handshake("http://other.test/websocket", "other.test")),
            "nonsense": talk(
                PROXY, handshake("http://allowed.test/x", "allowed.test", protocol="web socket")
            ),
        }
        answers = self.wire(jobs)
        self.assert_refused_by_http(answers["denied"], 403, "not_listed")
        self.assert_refused_by_http(answers["nonsense"], 400, "bad_request")
        # Not packets: a neighbour's answer may release the SYN of an earlier test's lost IPv6 race.
        self.assertEqual(self.outside.events("tcp"), [])

    def test_what_cannot_be_upgraded_stays_http(self):
        # To an ordinary page, and to protocols in which other hosts would be named unseen.
        page = handshake("http://allowed.test/page", "allowed.test")
        second = "GET http://other.test/second HTTP/1.1\r\nHost: other.test\r\n\r\n"
        jobs = {"page": {"to": PROXY, "steps": [page + second, {"until": "HTTP/1.1 403 "}], "quiet": 0.7}}
        for protocol in ("h2c", "HTTP/2.0", "TLS/1.0"):
            head = handshake(f"http://allowed.test/{protocol}", "allowed.test", protocol=protocol)
            jobs[protocol] = talk(PROXY, head)
        answers = self.wire(jobs)
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertTrue(answer["reply"].startswith("HTTP/1.1 200 "), answer)
        self.assertIn("\r\nHTTP/1.1 403 ", "\r\n" + answers["page"]["reply"].split("}\n", 1)[1])
        for event in self.outside.events("http"):
            offered = [value for name, value in event["headers"] if name.lower() == "upgrade"]
            self.assertEqual(offered, ["websocket"] if event["path"] == "/page" else [], event)
