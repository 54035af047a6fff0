#!/usr/bin/env python3
"""Writes the seed corpora of the wire fuzzers anew: tests/fuzz/corpus/NAME/LABEL, one input each.

Those of policy and host are kept by hand.
"""
import json
import pathlib
import struct

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"


def crlf(*lines, body=""):
    return "\r\n".join([*lines, "", body]).encode("latin1")


# -- HTTP ----------------------------------------------------------------------------------------


def requests():
    host = "Host: a.test"
    url = "GET http://a.test/x HTTP/1.1"
    post = "POST http://a.test/x HTTP/1.1"
    yield "get", crlf(url, host)
    yield "get_10", crlf("GET http://a.test/ HTTP/1.0")
    yield "get_query", crlf("GET http://a.test?a=b HTTP/1.1", host)
    yield "get_port", crlf("GET http://a.test:8080/ HTTP/1.1", "Host: a.test:8080")
    yield "get_origin_form", crlf("GET /x?y HTTP/1.1", host)
    yield "get_literal6", crlf("GET http://[2001:db8::1]:81/ HTTP/1.1", "Host: [2001:db8::1]:81")
    yield "head", crlf("HEAD http://a.test/ HTTP/1.1", host, "Accept: application/json")
    yield "connect", crlf("CONNECT a.test:443 HTTP/1.1", "Host: a.test:443")
    yield "connect_literal", crlf("CONNECT [::1]:443 HTTP/1.1", "Host: [::1]:443")
    yield "options_asterisk", crlf("OPTIONS * HTTP/1.1", host, "Max-Forwards: 3")
    yield "options_no_path", crlf("OPTIONS http://a.test HTTP/1.1", host, "Max-Forwards: 0")
    yield "trace", crlf("TRACE http://a.test/ HTTP/1.1", host)
    yield "length", crlf(post, host, "Content-Length: 5", body="hello")
    yield "length_zero", crlf(post, host, "Content-Length: 0")
    yield "length_twice", crlf(post, host, "Content-Length: 3", "Content-Length: 4", body="abc")
    yield "length_list", crlf(post, host, "Content-Length: 3, 3", body="abc")
    yield "length_and_chunked", crlf(post, host, "Content-Length: 3", "Transfer-Encoding: chunked")
    yield "chunked", crlf(post, host, "Transfer-Encoding: chunked", body="0\r\n\r\n")
    yield "xchunked", crlf(post, host, "Transfer-Encoding: xchunked")
    yield "gzip_chunked", crlf(post, host, "Transfer-Encoding: gzip, chunked")
    yield "expect", crlf(post, host, "Expect: 100-continue", "Content-Length: 1", body="x")
    yield "hop_fields", crlf(url, host, "Connection: keep-alive, X-Mine", "X-Mine: 1", "TE: trailers",
                             "Proxy-Connection: close", "Keep-Alive: timeout=5", "X-Stays: 2")  # fmt: skip
    yield "proxy_auth", crlf(url, host, "Proxy-Authorization: Basic Y29kZXItMTpzZWNyZXQ=")
    for label, value in (("no_colon", "Y29kZXI="), ("no_padding", "Y29kZXItMTpzZWNyZXQ"), ("bits_left", "YTpiYh=="),
                         ("control", "YToJ"), ("empty", "Og=="), ("colons", "YTpiOmM=")):  # fmt: skip
        yield "basic_" + label, crlf(url, host, "Proxy-Authorization: basic " + value)
    yield "digest", crlf(url, host, 'Proxy-Authorization: Digest username="a"')
    yield "connection_close", crlf(url, host, "Connection: close")
    yield "connection_host", crlf(url, host, "Connection: host")
    yield "via", crlf(url, host, "Via: 1.1 other, 1.0 sluice (b00b)")
    yield "via_own", crlf(url, host, "Via: 1.1 sluice (f00d)")
    yield "websocket", crlf(url, host, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAA")
    yield "h2c", crlf(url, host, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AA")
    yield "two_hosts", crlf(url, host, "Host: b.test")
    yield "no_host", crlf(url)
    yield "host_other", crlf(url, "Host: b.test")
    yield "empty_line_first", b"\r\n" + crlf(url, host)
    yield "empty_lines_first", b"\r\n\r\n\r\n" + crlf(url, host)
    yield "blanks_first", b" \t\r\n" * 20 + crlf(url, host)
    yield "empty_lines_8_KiB_first", b"\r\n" * 4100 + crlf(url, host)
    yield "long_line", crlf("GET /" + "a" * 9000 + " HTTP/1.1", host)
    yield "long_line_not_http", crlf("GET " + "a" * 9000)
    yield "bare_lf", crlf(url, host).replace(b"\r\n", b"\n")
    yield "bare_cr", crlf(url, host, "X: a\rb")
    yield "nul", crlf(url, host, "X: a\0b")
    yield "fold", crlf(url, host, "X: a", " b")
    yield "space_before_colon", crlf(url, "Host : a.test")
    yield "tabs", crlf("GET\thttp://a.test/\tHTTP/1.1", host)
    yield "two_spaces", crlf("GET  http://a.test/  HTTP/1.1", host)
    yield "userinfo", crlf("GET http://a.test@b.test/ HTTP/1.1", host)
    yield "https", crlf("GET https://a.test/ HTTP/1.1", host)
    yield "fragment", crlf("GET http://a.test/#x HTTP/1.1", host)
    yield "preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "pipelined", crlf(url, host) + crlf(post, host, "Content-Length: 0")
    yield "many_fields", crlf(url, host, *[f"X-{n}: {n}" for n in range(20)])
    yield "long_value", crlf(url, host, "X: " + "a" * 3000)
    yield "accept_weights", crlf(url, host, "Accept: text/html;q=0.1, application/problem+json;q=0")
    yield "not_http", b"SSH-2.0-OpenSSH_9.2\r\n"
    yield "tls", b"\x16\x03\x01\x00\x05hello"


def responses():
    ok = "HTTP/1.1 200 OK"
    yield "length", crlf(ok, "Content-Length: 5", body="hello")
    yield "length_same_twice", crlf(ok, "Content-Length: 5", "Content-Length: 5", body="hello")
    yield "length_list", crlf(ok, "Content-Length: 5, 5", body="hello")
    yield "length_differs", crlf(ok, "Content-Length: 5, 6", body="hello")
    yield "length_and_chunked", crlf(ok, "Content-Length: 5", "Transfer-Encoding: chunked")
    yield "chunked", crlf(ok, "Transfer-Encoding: chunked", "Trailer: X", body="0\r\n\r\n")
    yield "until_close", crlf(ok, "Connection: close", body="to the end")
    yield "no_reason", crlf("HTTP/1.1 200", "Content-Length: 0")
    yield "empty_reason", crlf("HTTP/1.1 200 ", "Content-Length: 0")
    yield "obs_text_reason", crlf("HTTP/1.1 200 \xe9t\xe9", "Content-Length: 0")
    yield "http_10", crlf("HTTP/1.0 200 OK", "Content-Length: 0")
    yield "http_10_chunked", crlf("HTTP/1.0 200 OK", "Transfer-Encoding: chunked")
    yield "http_2", crlf("HTTP/2 200", "Content-Length: 0")
    yield "continue", crlf("HTTP/1.1 100 Continue") + crlf(ok, "Content-Length: 0")
    yield "early_hints", crlf("HTTP/1.1 103 Early Hints", "Link: </x>; rel=preload")
    yield "switching", crlf("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")
    yield "switching_other", crlf("HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: h2c")
    yield "switching_two", crlf("HTTP/1.1 101 x", "Connection: Upgrade", "Upgrade: websocket, chat/2")
    yield "switching_length", crlf("HTTP/1.1 101 x", "Connection: Upgrade", "Upgrade: chat/2", "Content-Length: 3")
    yield "no_content", crlf("HTTP/1.1 204 No Content", "Content-Length: 3")
    yield "not_modified", crlf("HTTP/1.1 304 Not Modified", "Content-Length: 3")
    yield "proxy_auth", crlf("HTTP/1.1 407 x", "Proxy-Authenticate: Basic realm=a", "Content-Length: 0")
    yield "hop_fields", crlf(ok, "Connection: X-Mine, keep-alive", "X-Mine: 1", "Keep-Alive: x", "Content-Length: 0")
    yield "cookies", crlf(ok, "Set-Cookie: a=b", "Set-Cookie: c=d", "Content-Length: 0")
    yield "four_digits", crlf("HTTP/1.1 2000 OK")
    yield "status_99", crlf("HTTP/1.1 099 x")
    yield "status_600", crlf("HTTP/1.1 600 x")
    yield "empty_line_first", b"\r\n" + crlf(ok, "Content-Length: 0")
    yield "bare_lf", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"
    yield "nul", crlf(ok, "X: a\0b")
    yield "fold", crlf(ok, "X: a", " b")
    yield "no_colon", crlf(ok, "X")
    yield "many_fields", crlf(ok, *["X: y"] * 20)
    yield "long_value", crlf(ok, "X: " + "a" * 3000)
    yield "not_http", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"


def chunked():
    yield "one", b"5\r\nhello\r\n0\r\n\r\n"
    yield "empty", b"0\r\n\r\n"
    yield "two", b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
    yield "hex", b"00A\r\n0123456789\r\n000\r\n\r\n"
    yield "upper_and_lower", b"b\r\n01234567890\r\nB\r\n01234567890\r\n0\r\n\r\n"
    yield "extension", b'5;name=value;q="v"\r\nhello\r\n0;last\r\n\r\n'
    yield "padding", b"5 \t;x\r\nhello\r\n0\r\n\r\n"
    yield "space_without_extension", b"5 \r\nhello\r\n0\r\n\r\n"
    yield "long_extension", b"1;" + b"x" * 300 + b"\r\na\r\n0\r\n\r\n"
    yield "extension_at_the_limit", b"1;" + b"x" * 255 + b"\r\na\r\n0\r\n\r\n"
    yield "trailer", b"1\r\na\r\n0\r\nX-Sum: 7\r\nY: \r\n\r\n"
    yield "forbidden_trailer", b"0\r\nContent-Length: 5\r\nHost: b.test\r\nX: y\r\n\r\n"
    yield "broken_trailer", b"0\r\nX : y\r\n\r\n"
    yield "folded_trailer", b"0\r\nX: y\r\n z\r\n\r\n"
    yield "many_trailers", b"0\r\n" + b"X: y\r\n" * 40 + b"\r\n"
    yield "long_trailer", b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n"
    yield "trailer_bare_lf", b"0\r\nX: y\n\r\n"
    yield "size_16_digits", b"0000000000000001\r\na\r\n0\r\n\r\n"
    yield "size_17_digits", b"00000000000000001\r\na\r\n0\r\n\r\n"
    yield "size_of_all_ones", b"ffffffffffffffff\r\nabc"
    yield "negative", b"-1\r\na\r\n0\r\n\r\n"
    yield "plus", b"+1\r\na\r\n0\r\n\r\n"
    yield "prefix_0x", b"0x1\r\na\r\n0\r\n\r\n"
    yield "bare_lf", b"1\na\n0\n\n"
    yield "bare_cr", b"1\ra\r\n0\r\n\r\n"
    yield "data_too_long", b"1\r\nab\r\n0\r\n\r\n"
    yield "data_too_short", b"3\r\na\r\n0\r\n\r\n"
    yield "cut_in_size", b"5"
    yield "cut_in_data", b"5\r\nhel"
    yield "cut_before_end", b"1\r\na\r\n0\r\n"
    yield "next_message", b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    yield "crlf_as_data", b"4\r\n\r\n\r\n\r\n0\r\n\r\n"
    yield "last_chunk_as_data", b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"
    yield "control_in_extension", b"1;\x01\r\na\r\n0\r\n\r\n"
    yield "nul", b"1\r\n\0\r\n0\r\n\r\n"


# -- TLS -----------------------------------------------------------------------------------------


def vector(octets, content):
    return len(content).to_bytes(octets, "big") + content


def extension(kind, data):
    return struct.pack("!H", kind) + vector(2, data)


def server_name(*names, kind=0):
    return extension(0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names)))


def message(*extensions, version=b"\x03\x03", session=b"s" * 32):
    body = version + b"r" * 32 + vector(1, session) + vector(2, b"\x13\x01\x13\x02") + vector(1, b"\0")
    return b"\x01" + vector(3, body + vector(2, b"".join(extensions)))


def records(data, size):
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x16\x03\x01" + vector(2, part) for part in parts)


def record(data):
    return records(data, 16384)


def hellos():
    name = server_name(b"a.test")
    plain = message(name)
    padding = extension(21, b"\0" * 2000)
    yield "name", record(plain)
    yield "no_name", record(message(extension(10, b"\0\x02\0\x1d")))
    yield "no_extensions", record(message())
    yield "upper_case", record(message(server_name(b"A.TEST")))
    yield "eight_records", records(plain, len(plain) // 8 + 1)
    yield "byte_records", records(plain, 1)
    yield "two_names", record(message(server_name(b"a.test", b"b.test")))
    yield "two_extensions", record(message(name, server_name(b"b.test")))
    yield "name_kind_1", record(message(server_name(b"a.test", kind=1)))
    yield "name_empty", record(message(server_name(b"")))
    yield "name_253", record(message(server_name(b"a" * 253)))
    yield "name_300", record(message(server_name(b"a" * 300)))
    yield "name_with_nul", record(message(server_name(b"a.test\0.b.test")))
    yield "name_is_address", record(message(server_name(b"192.0.2.1")))
    yield "ech", record(message(name, extension(0xFE0D, b"\0\0\x01\0\x01\x07\0\0\0\0")))
    yield "esni", record(message(name, extension(0xFFCE, b"x")))
    yield "grease", record(message(extension(0x0A0A, b""), name, extension(0x1A1A, b"\0")))
    yield "padding", record(message(padding, name))
    yield "padding_two_records", records(message(padding, name), 1200)
    yield "version_10", record(message(name, version=b"\x03\x01"))
    yield "version_unknown", record(message(name, version=b"\x02\0"))
    yield "session_33", record(message(name, session=b"s" * 33))
    yield "empty_record", b"\x16\x03\x01\0\0" * 3
    yield "empty_record_between", record(plain[:20]) + b"\x16\x03\x01\0\0" + record(plain[20:])
    yield "alert_between", record(plain[:20]) + b"\x15\x03\x01\0\x02\x02\x28" + record(plain[20:])
    yield "trailing_in_record", record(plain + b"x")
    yield "two_hellos", record(plain) + record(message(server_name(b"b.test")))
    yield "cut", record(plain)[:60]
    yield "cut_header", b"\x16\x03"
    yield "record_too_long", b"\x16\x03\x01\x40\x01" + b"\x01" * 40
    yield "hello_too_long", b"\x16\x03\x01\x40\0\x01\x01\0\x01" + b"\x03" * 40
    yield "server_hello", record(b"\x02" + plain[1:])
    yield "application_data", b"\x17\x03\x03\0\x05hello"
    yield "sslv2", b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10" + b"a" * 37
    yield "http", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
    yield "extension_cut", record(message(b"\0\0\xff\xff"))
    yield "extension_empty_name", record(message(extension(0, b"")))


# -- SOCKS and DNS -------------------------------------------------------------------------------


def socks():
    def request(kind, address, port=443, command=1, reserved=0):
        return bytes([5, command, reserved, kind]) + address + struct.pack("!H", port)

    name = vector(1, b"a.test")
    yield "greeting", b"\x05\x01\0"
    yield "greeting_password", b"\x05\x01\x02"
    yield "greeting_both", b"\x05\x02\0\x02"
    yield "greeting_gssapi", b"\x05\x01\x01"
    yield "greeting_255", b"\x05\xff" + bytes(range(255))
    yield "greeting_none", b"\x05\0"
    yield "greeting_cut", b"\x05\x03\0\x01"
    yield "greeting_and_request", b"\x05\x01\0" + request(3, name)
    yield "socks4", b"\x04\x01\x01\xbb\0\0\0\x01me\0a.test\0"
    yield "name", request(3, name)
    yield "name_255", request(3, vector(1, b"a" * 255))
    yield "name_empty", request(3, b"\0")
    yield "name_nul", request(3, vector(1, b"a.test\0.b.test"))
    yield "name_is_literal", request(3, vector(1, b"127.0.0.1"))
    yield "v4", request(1, b"\xc0\0\x02\x01", 80)
    yield "v6", request(4, b"\x20\x01\x0d\xb8" + b"\0" * 11 + b"\x01")
    yield "v6_mapped", request(4, b"\0" * 10 + b"\xff\xff\x7f\0\0\x01")
    yield "kind_2", request(2, b"abcd")
    yield "kind_0", request(0, b"")
    yield "bind", request(3, name, command=2)
    yield "udp_associate", request(1, b"\0\0\0\0", 0, command=3)
    yield "command_0", request(3, name, command=0)
    yield "reserved", request(3, name, reserved=1)
    yield "port_0", request(3, name, 0)
    yield "cut_in_name", request(3, name)[:7]
    yield "cut_in_port", request(3, name)[:-1]
    yield "early_data", request(3, name) + b"\x16\x03\x01\0\x05hello"
    yield "password", b"\x01\x07coder-1\x06secret"
    yield "password_empty", b"\x01\0\0"
    yield "password_255", b"\x01" + vector(1, b"u" * 255) + vector(1, b"p" * 255)
    yield "password_version_5", b"\x05\x07coder-1\x06secret"
    yield "password_cut", b"\x01\x07coder-1\x06sec"
    yield "empty", b""


def dns_name(*labels):
    return b"".join(vector(1, label) for label in labels) + b"\0"


def dns_query(question, flags=0x0100, counts=(1, 0, 0, 0), more=b""):
    return struct.pack("!6H", 0xBEEF, flags, *counts) + question + more


def dns_opt(size=1232, version=0, flags=0, data=b"", owner=b"\0"):
    return owner + struct.pack("!HHBBH", 41, size, 0, version, flags) + vector(2, data)


def dns():
    def question(*labels, kind=1, klass=1):
        return dns_name(*labels) + struct.pack("!HH", kind, klass)

    a = question(b"a", b"test")
    yield "a", dns_query(a)
    yield "aaaa", dns_query(question(b"www", b"a", b"test", kind=28))
    yield "https", dns_query(question(b"a", b"test", kind=65))
    yield "any", dns_query(question(b"a", b"test", kind=255))
    yield "axfr", dns_query(question(b"a", b"test", kind=252))
    yield "ptr", dns_query(question(b"1", b"2", b"0", b"192", b"in-addr", b"arpa", kind=12))
    yield "chaos", dns_query(question(b"version", b"bind", kind=16, klass=3))
    yield "root", dns_query(question(kind=2))
    yield "upper_case", dns_query(question(b"A", b"TeSt"))
    yield "odd_bytes", dns_query(question(b"a.b\\c\0d\xff", b"test"))
    yield "label_63", dns_query(question(b"a" * 63, b"test"))
    yield "label_64", dns_query(question(b"a" * 64, b"test"))
    yield "name_253", dns_query(question(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 61))
    yield "name_too_long", dns_query(question(b"a" * 63, b"b" * 63, b"c" * 63, b"d" * 62))
    yield "pointer", dns_query(b"\xc0\x0c\0\x01\0\x01")
    yield "pointer_in_name", dns_query(b"\x01a\xc0\x0c\0\x01\0\x01")
    yield "edns", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt())
    yield "edns_do", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(flags=0x8000))
    yield "edns_small", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(0))
    yield "edns_large", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(65535))
    yield "edns_version_1", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(version=1))
    yield "edns_option", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(data=b"\0\x0a\0\x08cookie!!"))
    yield "edns_twice", dns_query(a, counts=(1, 0, 0, 2), more=dns_opt() + dns_opt())
    yield "edns_with_owner", dns_query(a, counts=(1, 0, 0, 1), more=dns_opt(owner=b"\x01a\0"))
    yield "tsig", dns_query(a, counts=(1, 0, 0, 1), more=b"\x01k\0" + struct.pack("!HHIH", 250, 255, 0, 0))
    yield "additional_missing", dns_query(a, counts=(1, 0, 0, 1))
    yield "two_questions", dns_query(a + a, counts=(2, 0, 0, 0))
    yield "no_question", dns_query(b"", counts=(0, 0, 0, 0))
    yield "with_answer", dns_query(a, counts=(1, 1, 0, 0))
    yield "response", dns_query(a, flags=0x8180)
    yield "truncated_query", dns_query(a, flags=0x0300)
    yield "notify", dns_query(a, flags=0x2000)
    yield "update", dns_query(a, flags=0x2800)
    yield "checking_disabled", dns_query(a, flags=0x0110)
    yield "left_over", dns_query(a, more=b"x")
    yield "cut_in_question", dns_query(a)[:-2]
    yield "header", dns_query(b"")
    yield "short", b"\xbe\xef\x01"
    yield "not_dns", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


# -- handover ------------------------------------------------------------------------------------


def handover():
    roles = ["tproxy4", "tproxy6", "dns_udp", "dns_tcp", "proxy"]
    names = [{"name": "a.test", "index": 7}, {"name": "_x.b.test", "index": 131071}]
    register = {"v": 1, "op": "register", "agent": "coder-7", "sockets": roles, "names": names}
    totals = {"v": 1, "op": "unregister", "ok": True, "allowed": 3, "denied": {"not_listed": 2}, "bytes_up": 1,
              "bytes_down": 18446744073709551615}  # fmt: skip
    messages = {
        "register": register,
        "register_no_names": register | {"names": []},
        "register_two_sockets": register | {"sockets": roles[:2]},
        "register_socket_twice": register | {"sockets": ["proxy", "proxy"]},
        "register_no_socket": register | {"sockets": []},
        "register_bad_agent": register | {"agent": "../x"},
        "register_long_agent": register | {"agent": "a" * 64},
        "register_unknown_key": register | {"lease": "explicit"},
        "register_version_2": register | {"v": 2},
        "register_version_text": register | {"v": "1"},
        "register_bad_index": register | {"names": [{"name": "a.test", "index": 131072}]},
        "register_negative_index": register | {"names": [{"name": "a.test", "index": -1}]},
        "register_bad_name": register | {"names": [{"name": "A.test", "index": 1}]},
        "names": {"v": 1, "op": "names", "names": names},
        "names_200": {"v": 1, "op": "names", "names": [{"name": f"n{n}.test", "index": n} for n in range(200)]},
        "names_201": {"v": 1, "op": "names", "names": [{"name": "n", "index": n} for n in range(201)]},
        "unregister": {"v": 1, "op": "unregister"},
        "unregister_lease": {"v": 1, "op": "unregister", "agent": "coder-7", "netns_cookie": 4711},
        "unknown_op": {"v": 1, "op": "shutdown"},
        "registered": {"v": 1, "op": "register", "ok": True, "agent_id": "coder-7-1f"},
        "registered_ports": {"v": 1, "op": "register", "ok": True, "agent_id": "coder-7-1f", "capture": "ports"},
        "accepted": {"v": 1, "op": "names", "ok": True},
        "totals": totals,
        "totals_reported": totals | {"reported": {"not_listed": 4}},
        "totals_bad_reason": totals | {"denied": {"No!": 1}},
        "totals_fraction": totals | {"allowed": 1.5},
        "refused": {"v": 1, "ok": False, "error": "the agent name 'x' is taken"},
        "refused_with_escape": {"v": 1, "ok": False, "error": "a\u001bb"},
        "refused_quotes": {"v": 1, "ok": False, "error": '"\\/\u00e9\u2028'},
        "bindings": {"v": 1, "op": "bindings", "names": names},
        "denied": {"v": 1, "op": "denied", "sentence": "b.test is not listed"},
        "denied_two_lines": {"v": 1, "op": "denied", "sentence": "a\nb"},
        "ok_is_a_number": {"v": 1, "ok": 1},
        "empty_object": {},
        "list": [1],
        "deep": {"v": 1, "op": [[[[[[0]]]]]]},
    }
    for label, value in messages.items():
        yield label, json.dumps(value).encode()
    yield "duplicate_key", b'{"v":1,"op":"unregister","op":"names"}'
    yield "duplicate_inside", b'{"v":1,"op":"names","names":[{"name":"a","index":1,"index":2}]}'
    yield "spaces", b' {\n "v" : 1 ,\t"op" : "unregister" } '
    yield "not_utf8", b'{"v":1,"ok":false,"error":"\xff\xfe"}'
    yield "lone_surrogate", b'{"v":1,"ok":false,"error":"\\ud800"}'
    yield "version_1_0", b'{"v":1.0,"op":"unregister"}'
    yield "huge_number", b'{"v":1,"op":"unregister","ok":true,"allowed":1e400}'
    yield "two_values", b'{"v":1,"op":"unregister"}{}'
    yield "comment", b'{"v":1,/**/"op":"unregister"}'
    yield "cut", b'{"v":1,"op":"unreg'
    yield "nul", b'{"v":1,"op":"unregister"}\0'
    yield "empty", b""


def main():
    makers = {"request": requests, "response": responses, "chunked": chunked, "hello": hellos, "socks": socks,
              "dns": dns, "handover": handover}  # fmt: skip
    for name, make in makers.items():
        folder = CORPUS / name
        folder.mkdir(exist_ok=True)
        for label, content in make():
            (folder / label).write_bytes(content)


if __name__ == "__main__":
    main()
