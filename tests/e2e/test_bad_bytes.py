"""Broken and hostile bytes by each entrance of the running daemon: one table a test, one row a case.

Hosts, framing and TLS through the proxy port: test_proxy_bytes, test_tls; names that resolve badly: test_addresses.
"""

import socket

import hello
from agent import Case
from test_proxy_bytes import PROXY, connect, first_line, get, raw, socks, socks_name

SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
HOST = "Host: allowed.test"


def on_captured_port(text, **job):
    return {"to": ["allowed.test", 80], "steps": [text], "quiet": 0.7, **job}


def in_tunnel(text, **job):
    head = "CONNECT allowed.test:80 HTTP/1.1\r\nHost: allowed.test:80\r\n\r\n"
    return {"to": PROXY, "steps": [head, {"until": "\r\n\r\n"}, text], "quiet": 0.7, **job}


def by_socks(text, **job):
    start = ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x01\x00\x03\x0callowed.test\x00\x50"]
    return {"to": PROXY, "steps": [*start, {"until": "\x05\x00\x00"}, {"sleep": 0.1}, text], "quiet": 0.7, **job}


# A request in origin form, by each road that knows the host already.
ORIGIN_FORM = {"captured": on_captured_port, "tunnel": in_tunnel, "socks": by_socks}


def behind(answer):
    """What came behind the proxy's own first words."""
    reply = answer["reply"]
    if reply.startswith("HTTP/1.1 200 Connection Established"):
        return reply.split("\r\n\r\n", 1)[1]
    return reply[12:] if reply.startswith("\x05\x00") else reply


class Requests(Case):
    def assert_refused(self, answers, statuses="400"):
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertRegex(behind(answer), rf"^HTTP/1\.1 ({statuses}) ", answer)
                self.assertTrue(answer["closed"], answer)

    def assert_nothing_smuggled(self):
        self.assertEqual([e for e in self.outside.events("http") if "smuggled" in e["path"]], [])

    def test_a_request_line_that_could_be_read_in_two_ways_is_400_and_closed(self):
        url = "http://allowed.test/"
        rows = {
            "trace": raw(f"TRACE {url} HTTP/1.1", HOST),
            "no version": raw(f"GET {url}"),
            "http/1.2": raw(f"GET {url} HTTP/1.2", HOST),
            "http/11.1": raw(f"GET {url} HTTP/11.1", HOST),
            "http/2.0": raw(f"GET {url} HTTP/2.0", HOST),
            "lower-case version": raw(f"GET {url} http/1.1", HOST),
            "tab": raw(f"GET\t{url} HTTP/1.1", HOST),
            "vertical tab": raw(f"GET {url}\vHTTP/1.1", HOST),
            "trailing space": raw(f"GET {url} HTTP/1.1 ", HOST),
            "leading space": raw(f" GET {url} HTTP/1.1", HOST),
            "two empty lines first": raw("", "", f"GET {url} HTTP/1.1", HOST),
            "method with a colon": raw(f"GE:T {url} HTTP/1.1", HOST),
            "method with NUL": raw(f"GET\0 {url} HTTP/1.1", HOST),
            "asterisk for GET": raw("GET * HTTP/1.1", HOST),
            "authority form for GET": raw("GET allowed.test:80 HTTP/1.1", HOST),
            "userinfo": raw("GET http://user:word@allowed.test/ HTTP/1.1", HOST),
            "empty host": raw("GET http:///x HTTP/1.1", HOST),
            "one slash": raw("GET http:/allowed.test/ HTTP/1.1", HOST),
            "fragment": raw(f"GET {url}#x HTTP/1.1", HOST),
            "NUL in the path": raw(f"GET {url}a\0b HTTP/1.1", HOST),
            "bytes above ASCII": raw(f"GET {url}\xff HTTP/1.1", HOST),
            "bare CR": raw(f"GET {url}\r HTTP/1.1", HOST),
            "connect a URL": raw(f"CONNECT {url} HTTP/1.1", HOST),
            "connect without port": raw("CONNECT allowed.test HTTP/1.1", HOST),
            "connect a path": raw("CONNECT /x HTTP/1.1", HOST),
            "connect with a body": raw("CONNECT allowed.test:443 HTTP/1.1", HOST, "Content-Length: 3"),
            "connect in chunks": raw("CONNECT allowed.test:443 HTTP/1.1", HOST, "Transfer-Encoding: chunked"),
            "host is a URL": raw(f"GET {url} HTTP/1.1", "Host: http://allowed.test"),
            "host is a list": raw(f"GET {url} HTTP/1.1", "Host: allowed.test, evil.test"),
            "host is empty": raw(f"GET {url} HTTP/1.1", "Host:"),
            "max-forwards is no number": raw("OPTIONS http://allowed.test/ HTTP/1.1", HOST, "Max-Forwards: x"),
        }
        self.assert_refused(self.wire(rows))
        self.assert_nothing_left()

    def test_a_port_in_a_url_or_a_host_field_is_a_number_and_nothing_else(self):
        ports = [":0", ":-1", ":65616", ":+80", ":080", ":0120", ":80x", ":", "::80", ":80:443", ": 80", ":0x50"]
        rows = {f"url {p}": get(f"http://allowed.test{p}/", "allowed.test") for p in ports}
        rows |= {
            f"{road} {p}": make(f"GET / HTTP/1.1\r\nHost: allowed.test{p}\r\n\r\n")
            for p in ports
            for road, make in ORIGIN_FORM.items()
        }
        self.assert_refused(self.wire(rows))
        self.assertEqual(self.outside.events("http"), [])

    def test_no_spelling_of_another_host_passes_on_a_connection_to_an_allowed_one(self):
        """Two Host fields, absolute form, other hosts: what is asked for is the connection's host."""
        rows = {
            "other host": ["GET / HTTP/1.1", "Host: evil.test"],
            "other allowed host": ["GET / HTTP/1.1", "Host: deep.wild.test"],
            "other port": ["GET / HTTP/1.1", "Host: allowed.test:81"],
            "two hosts": ["GET / HTTP/1.1", HOST, "Host: evil.test"],
            "host twice the same": ["GET / HTTP/1.1", HOST, HOST],
            "no host": ["GET / HTTP/1.1"],
            "absolute form": ["GET http://evil.test/ HTTP/1.1", HOST],
            "absolute form, other port": ["GET http://allowed.test:81/ HTTP/1.1", HOST],
            "user": ["GET / HTTP/1.1", "Host: allowed.test@evil.test"],
            "folded": ["GET / HTTP/1.1", "Host:", " evil.test"],
            "space before colon": ["GET / HTTP/1.1", HOST, "Host : evil.test"],
            "NUL": ["GET / HTTP/1.1", "Host: allowed.test\0.evil.test"],
            "empty lines first": ["", "", "GET / HTTP/1.1", "Host: evil.test"],
            "connect inside": ["CONNECT evil.test:443 HTTP/1.1", "Host: evil.test:443"],
            "http2": ["PRI * HTTP/2.0", "", "SM"],
        }
        jobs = {
            f"{name} by {road}": make("\r\n".join([*lines, "", ""]))
            for name, lines in rows.items()
            for road, make in ORIGIN_FORM.items()
        }
        self.assert_refused(self.wire(jobs), "400|403")
        seen = {(event["host"], event["method"]) for event in self.outside.events("http")}
        self.assertEqual(seen, set())

    def test_no_framing_hides_a_second_request(self):
        """Each body ends in what would be a request of its own, were it read as one by somebody."""
        chunked = "Transfer-Encoding: chunked"
        rows = {
            "CL and TE": ["Content-Length: 4", chunked, "", "0\r\n\r\n" + SMUGGLED],
            "TE and CL": [chunked, "Content-Length: 4", "", "0\r\n\r\n" + SMUGGLED],
            "CL twice": ["Content-Length: 0", f"Content-Length: {len(SMUGGLED)}", "", SMUGGLED],
            "CL twice the same": ["Content-Length: 0", "Content-Length: 0", "", SMUGGLED],
            "CL as a list": [f"Content-Length: 0, {len(SMUGGLED)}", "", SMUGGLED],
            "CL signed": [f"Content-Length: +{len(SMUGGLED)}", "", SMUGGLED],
            "CL with a space": ["Content-Length: 1 0", "", SMUGGLED],
            "CL negative": ["Content-Length: -1", "", SMUGGLED],
            "CL empty": ["Content-Length:", "", SMUGGLED],
            "TE xchunked": ["Transfer-Encoding: xchunked", "", "0\r\n\r\n" + SMUGGLED],
            "TE identity": ["Transfer-Encoding: identity", "", SMUGGLED],
            "TE chunked twice": [chunked, chunked, "", "0\r\n\r\n" + SMUGGLED],
            "TE in a second line": ["Transfer-Encoding: gzip", chunked, "", "0\r\n\r\n" + SMUGGLED],
            "TE with vertical tab": ["Transfer-Encoding: \vchunked", "", "0\r\n\r\n" + SMUGGLED],
            "TE with a space in its name": ["Transfer-Encoding : chunked", "", "0\r\n\r\n" + SMUGGLED],
            "TE folded": ["Transfer-Encoding:", " chunked", "", "0\r\n\r\n" + SMUGGLED],
            "TE quoted": ['Transfer-Encoding: "chunked"', "", "0\r\n\r\n" + SMUGGLED],
            "connection drops CL": ["Connection: Content-Length", f"Content-Length: {len(SMUGGLED)}", "", SMUGGLED],
        }
        jobs = {}
        for name, lines in rows.items():
            rest = "\r\n".join([HOST, *lines])
            jobs[name] = {"to": PROXY, "steps": [f"POST http://allowed.test/a HTTP/1.1\r\n{rest}"], "quiet": 0.7}
            for road, make in ORIGIN_FORM.items():
                jobs[f"{name} by {road}"] = make(f"POST /a HTTP/1.1\r\n{rest}")
        self.assert_refused(self.wire(jobs))
        self.assert_nothing_smuggled()
        self.assertEqual(self.outside.events("http"), [])

    def test_a_chunked_body_that_is_broken_ends_the_connection_and_what_follows_is_not_a_request(self):
        rows = {
            "size of 17 digits": "00000000000000005\r\nhello\r\n0\r\n\r\n",
            "size that overflows": "10000000000000005\r\nhello\r\n0\r\n\r\n",
            "size negative": "-5\r\nhello\r\n0\r\n\r\n",
            "size 0x5": "0x5\r\nhello\r\n0\r\n\r\n",
            "no size": "\r\nhello\r\n0\r\n\r\n",
            "bare LF": "5\nhello\n0\n\n",
            "bare CR": "5\rhello\r\n0\r\n\r\n",
            "longer than its size": "5\r\nhello!\r\n0\r\n\r\n",
            "shorter than its size": "6\r\nhello\r\n0\r\n\r\n",
            "extension of 200 KB": "5;" + "x" * 200_000 + "\r\nhello\r\n0\r\n\r\n",
            "extension with NUL": "5;\0\r\nhello\r\n0\r\n\r\n",
            "extension with LF": "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "trailers of 200 KB": "0\r\n" + "X: y\r\n" * 40_000 + "\r\n",
            "trailer folded": "0\r\nX: a\r\n b\r\n\r\n",
            "trailer without colon": "0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        }
        head = "HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        jobs = {}
        for name, body in rows.items():
            text = f"POST http://allowed.test/a {head}{body}"
            jobs[name] = {"to": PROXY, "steps": [text, SMUGGLED.replace("/smug", "http://allowed.test/smug")]}
            jobs[f"{name} on the captured port"] = on_captured_port(f"POST /a {head}{body}" + SMUGGLED)
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                # A reset may overtake the answer where much was still on its way.
                self.assertTrue(answer["closed"] or answer["error"] in ("EPIPE", "ECONNRESET"), answer)
                self.assertLessEqual(answer["reply"].count("HTTP/1.1 "), 1, answer)
                if answer["reply"]:
                    self.assertRegex(first_line(answer), r"^HTTP/1\.1 400 ", answer)
        self.assert_nothing_smuggled()

    def test_trailers_never_change_the_message_that_they_end(self):
        body = "5\r\nhello\r\n0\r\nHost: evil.test\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nX-Sum: 7\r\n\r\n"
        text = "POST http://allowed.test/a HTTP/1.1\r\nHost: allowed.test\r\nTransfer-Encoding: chunked\r\n\r\n"
        follows = "GET http://allowed.test/b HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        self.wire({"a": {"to": PROXY, "steps": [text + body + follows, {"until": '"path": "/b"'}], "quiet": 0.7}})
        seen = [(event["path"], event["host"]) for event in self.outside.events("http")]
        self.assertEqual(seen, [("/a", "allowed.test"), ("/b", "allowed.test")])

    def test_a_body_that_breaks_off_is_no_whole_request_and_the_next_connection_is_served(self):
        head = "POST http://allowed.test/a HTTP/1.1\r\nHost: allowed.test\r\n"
        rows = {
            "length": head + "Content-Length: 100\r\n\r\nhalf",
            "chunk": head + "Transfer-Encoding: chunked\r\n\r\n64\r\nhalf",
            "between chunks": head + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        }
        jobs = {name: {"to": PROXY, "steps": [text, {"eof": True}], "quiet": 0.7} for name, text in rows.items()}
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assertNotIn(" 200 ", answer["reply"], answer)
        answer = self.wire({"next": get("http://allowed.test/b", "allowed.test")})["next"]
        self.assertRegex(first_line(answer), r"^HTTP/1\.1 200 ", answer)

    def test_upgrades_that_lead_past_the_gate_are_not_passed_on_by_any_road(self):
        fields = "Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n"
        for protocol in ("h2c", "TLS/1.0", "HTTP/2.0", "connect-udp"):
            for road, make in ORIGIN_FORM.items():
                with self.subTest(protocol=protocol, road=road):
                    self.outside.mark()
                    text = f"GET /up HTTP/1.1\r\n{HOST}\r\n{fields}Upgrade: {protocol}\r\n\r\n"
                    answer = self.wire({"a": make(text)})["a"]
                    self.assertNotIn(" 101 ", answer["reply"])
                    for event in self.outside.events("http"):
                        names = {name.lower() for name, _ in event["headers"]}
                        self.assertFalse(names & {"upgrade", "http2-settings"}, event)


class Addresses(Case):
    """Literal addresses that no rule opens, although the widest rules there can be name them."""

    policy = """
        version: 1
        agents:
          coder-1:
            allow:
              - {cidr: 0.0.0.0/1, ports: [80]}
              - {cidr: 128.0.0.0/2, ports: [80]}
              - {cidr: 192.0.0.0/24, ports: [80]}
              - {cidr: 224.0.0.0/3, ports: [80]}
              - {cidr: "::/2", ports: [80]}
              - {cidr: "fd00::/10", ports: [80]}
              - {cidr: "fe00::/7", ports: [80]}
        """
    FORBIDDEN = [
        "169.254.169.254", "169.254.1.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "0.1.2.3",
        "224.0.0.1", "239.255.255.250", "255.255.255.255", "[fd00:ec2::254]", "[fd20:ce::254]", "[fe80::1]",
        "[ff02::1]", "[::]", "[64:ff9b::169.254.169.254]", "[2002:a9fe:a9fe::1]", "[::169.254.169.254]",
        "[::ffff:169.254.169.254]", "[2001:0:a9fe:a9fe::1]", "[fd73:6c75:6963::1]",
    ]  # fmt: skip

    def test_no_rule_however_wide_opens_a_forbidden_address_by_any_entrance(self):
        jobs = {}
        for text in self.FORBIDDEN:
            jobs[f"connect {text}"] = connect(f"{text}:80")
            jobs[f"http {text}"] = get(f"http://{text}/", text)
            packed = pack(text.strip("[]"))
            jobs[f"socks {text}"] = socks(4 if len(packed) == 16 else 1, packed, 80)
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                if name.startswith("socks"):
                    self.assertRegex(answer["reply"], r"(?s)^\x05\x00\x05[\x01-\x08]", answer)
                else:
                    reason = "not_listed" if "fd73" in name else "(address_forbidden|bad_host)"
                    self.assertRegex(answer["reply"], f'details="{reason}"', answer)
                    self.assertTrue(answer["closed"] or name.startswith("http"), answer)
        self.assert_nothing_left()


def pack(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address).decode("latin1")


class Hellos(Case):
    def test_a_client_hello_may_be_64_kib_long_and_no_longer(self):
        def sized(size):
            plain = len(hello.message(hello.server_name("allowed.test"))) - 4
            padding = hello._extension(21, b"\0" * (size - plain - 4))
            return hello.message(hello.server_name("allowed.test"), padding)

        # 65,535 bytes of extensions are the most there can be: the message is a little longer.
        largest = max(size for size in range(65_000, 65_536) if fits(sized, size))
        message = sized(largest)
        rows = {
            "longest": (message, True),
            "longest over records of 1,000": (message, True),
            "claims to be longer": (b"\x01\x01\x00\x01" + message[4:], False),
        }
        jobs = {}
        for name, (text, _) in rows.items():
            count = 66 if name.endswith("1,000") else 5
            data = b"".join(hello.records(text, count)).decode("latin1")
            jobs[name] = {"to": ["allowed.test", 443], "steps": [data], "quiet": 0.7}
        for name, answer in self.wire(jobs).items():
            with self.subTest(name):
                self.assertEqual(answer["reply"][:2] == "\x16\x03", rows[name][1], answer)

    def test_a_client_hello_over_more_records_than_an_honest_one_has_is_refused(self):
        message = hello.message(hello.server_name("allowed.test"))
        padded = hello.message(hello.server_name("allowed.test"), hello._extension(21, b"\0" * 400))
        jobs = {
            "a byte a record": b"".join(hello.records(padded, len(padded))),
            "trailing byte": hello.records(message + b"x")[0],
            "an alert in between": hello.records(message, 2)[0] + b"\x15\x03\x01\0\x02\x02\x28" + message[9:],
            "another hello in the record": hello.records(message + message)[0],
        }
        to = ["allowed.test", 443]
        answers = self.wire({n: {"to": to, "steps": [b.decode("latin1")], "quiet": 0.7} for n, b in jobs.items()})
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertNotEqual(answer["reply"][:2], "\x16\x03", answer)
                self.assertTrue(answer["closed"], answer)
        self.assertEqual(self.outside.events("tls"), [])


def fits(make, size):
    try:
        make(size)
    except OverflowError:
        return False
    return True


class Socks(Case):
    def test_what_is_not_socks5_to_the_letter_is_refused_and_nothing_behind_it_is_read(self):
        follows = "GET http://allowed.test/smuggled HTTP/1.1\r\nHost: allowed.test\r\n\r\n"
        name = "\x05\x01\x00\x03\x0callowed.test\x00\x50"
        rows = {
            "no method": ["\x05\x00" + follows],
            "methods without none": ["\x05\x03\x01\x02\x80" + follows],
            "version 6": ["\x06\x01\x00" + follows],
            "version 4": ["\x04\x01\x00\x50\x19\x0a\x00\x0a\x00" + follows],
            "request in version 4": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x04" + name[1:] + follows],
            "reserved byte": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x01\x01" + name[3:] + follows],
            "command 0": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x00" + name[2:] + follows],
            "command 255": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\xff" + name[2:] + follows],
            "address type 0": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x01\x00\x00" + follows],
            "empty name": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x01\x00\x03\x00\x00\x50" + follows],
            "denied name": ["\x05\x01\x00", {"until": "\x05\x00"}, "\x05\x01\x00\x03\x09evil.test\x00\x50" + follows],
        }
        jobs = {label: {"to": PROXY, "steps": steps, "quiet": 0.7} for label, steps in rows.items()}
        for label, answer in self.wire(jobs).items():
            with self.subTest(label):
                self.assertNotIn(" 200 ", answer["reply"], answer)
                self.assertNotRegex(answer["reply"][2:], r"^\x05\x00", answer)
                self.assertTrue(answer["closed"], answer)
        self.assert_nothing_left()

    def test_a_name_that_looks_like_an_address_is_judged_as_no_name(self):
        names = ["127.0.0.1", "25.10.0.10", "::1", "[::1]", "0x7f.1", "2130706433", "allowed.test:80", "allowed.test/",
                 "http://allowed.test", " allowed.test", "allowed.test ", "allowed.test\n", "a" * 255]  # fmt: skip
        answers = self.wire({name: socks_name(name, 80) for name in names})
        for name, answer in answers.items():
            with self.subTest(name):
                self.assertRegex(answer["reply"], r"(?s)^\x05\x00\x05[\x01-\x08]", answer)
                self.assertTrue(answer["closed"], answer)
        self.assert_nothing_left()

    def test_socks_byte_by_byte_is_the_same(self):
        steps = [{"bytewise": "\x05\x02\x00\x02"}, {"until": "\x05\x00"},
                 {"bytewise": "\x05\x01\x00\x03\x0callowed.test\x00\x50"}, {"until": "\x05\x00\x00"}, {"sleep": 0.1},
                 {"bytewise": "GET /bytes/3 HTTP/1.1\r\nHost: allowed.test\r\n\r\n"}]  # fmt: skip
        answer = self.wire({"a": {"to": PROXY, "steps": steps, "quiet": 0.7}})["a"]
        self.assertTrue(answer["reply"].endswith("xxx"), answer)
