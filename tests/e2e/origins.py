"""Namespace O: the servers of the outside, and a log of everything that reaches it.

    origins.py LOG CERTIFICATES

Says "namespace" once it is in a network namespace of its own, waits for a line, starts its servers
and says "ready". LOG gets one JSON object a line; `kind` is packet, tcp, tls, http or dns.
"""

import base64
import hashlib
import http.server
import json
import mimetypes
import os
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time

import kernel
import zone

HTTP_PORTS = (80, 8080)
TLS_PORTS = (443, 8443)
BANNER_PORTS = (22, 2222)  # the server speaks first
ECHO_PORTS = (5432, 9000, 25, 853)

_log_lock = threading.Lock()
_log_file = None


def log(kind, **values):
    with _log_lock:
        _log_file.write(json.dumps({"kind": kind, **values}) + "\n")
        _log_file.flush()


def plain(address):
    """An address without the IPv4-mapped spelling of a dual-stack socket."""
    return address[7:] if address.startswith("::ffff:") and "." in address else address


# -- every packet --------------------------------------------------------------------------------

IGNORED_ICMPV6 = range(130, 144)  # neighbour discovery, multicast listeners: the kernels' own talk


def _describe(data):
    """What a packet is; None for the kernels' own talk and for the middle of TCP connections."""
    if data[0] >> 4 == 4:
        protocol, body = data[9], data[(data[0] & 15) * 4 :]
        target = socket.inet_ntop(socket.AF_INET, data[16:20])
    else:
        protocol, body = data[6], data[40:]
        target = socket.inet_ntop(socket.AF_INET6, data[24:40])
        if protocol == 0 or (protocol == 58 and body[0] in IGNORED_ICMPV6):
            return None
    if protocol == 6 and body[13] & 0x12 != 2:  # SYN without ACK: a connection is being made
        return None
    if protocol == 2:
        return None
    port = struct.unpack("!H", body[2:4])[0] if protocol in (6, 17) else 0
    return {"to": target, "port": port, "protocol": protocol}


def sniff():
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sniffer.bind(("o0", 3))

    def loop():
        while True:
            data, sender = sniffer.recvfrom(65536)
            if sender[2] == socket.PACKET_OUTGOING or sender[1] not in (0x0800, 0x86DD):
                continue
            described = _describe(data)
            if described:
                log("packet", **described)

    threading.Thread(target=loop, daemon=True).start()


# -- TCP -----------------------------------------------------------------------------------------


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def handle_error(self, request, client_address):
        pass  # a client that goes away is not this server's business

    def finish_request(self, request, client_address):
        here = request.getsockname()
        peer = plain(request.getpeername()[0])
        log("tcp", to=plain(here[0]), port=here[1], peer=peer)
        request.settimeout(60)
        super().finish_request(request, client_address)


class TlsServer(Server):
    def __init__(self, address, handler, context):
        self._context = context
        super().__init__(address, handler)

    def finish_request(self, request, client_address):
        here = request.getsockname()
        try:
            request.settimeout(60)
            wrapped = self._context.wrap_socket(request, server_side=True)
        except (ssl.SSLError, OSError) as error:
            log("tls_failed", to=plain(here[0]), port=here[1], error=str(error))
            request.close()
            return
        super().finish_request(wrapped, client_address)
        try:
            wrapped.unwrap()
        except (OSError, ValueError):
            pass


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers each request with what it looked like from here."""

    protocol_version = "HTTP/1.1"
    server_version = "origin"

    def _answer(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._read_chunks()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        host = self.headers.get("Host", "")
        fields = [[name, value] for name, value in self.headers.items()]
        port = self.connection.getsockname()[1]
        log("http", host=host, port=port, method=self.command, path=self.path, headers=fields)
        if self.path.startswith("/bytes/"):
            self._send_many(int(self.path[7:]))
            return
        if self.path.startswith("/site/"):
            self._send_file(self.path.partition("?")[0])
            return
        if self.path == "/websocket" and self.headers.get("Upgrade") == "websocket":
            self._speak_websocket()
            return
        told = {"origin": host, "path": self.path, "method": self.command, "got": len(body)}
        reply = (json.dumps(told) + "\n").encode()
        if self.path.startswith("/held/"):  # until the test makes that file in the world's directory
            while not os.path.exists(f"/mnt/{os.path.basename(self.path)}"):
                time.sleep(0.05)
        if self.path.startswith("/slow"):
            time.sleep(float(self.path[5:] or 1))
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply)

    def _read_chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send_many(self, count):
        self.send_response(200)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        piece = b"x" * (1 << 20)
        while count > 0:
            self.wfile.write(piece[:count])
            count -= len(piece)

    def _send_file(self, path):
        """A file that a test put into the world's directory, below site/."""
        try:
            with open(f"/mnt{os.path.normpath(path)}", "rb") as file:
                body = file.read()
        except OSError:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _speak_websocket(self):
        """RFC 6455: accepts, echoes short text frames, ends with the client's close frame."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        digest = hashlib.sha1(key.encode()).digest()
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.close_connection = True
        while len(start := self.rfile.read(2)) == 2:
            mask = self.rfile.read(4)
            masked = self.rfile.read(start[1] & 127)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            self.wfile.write(bytes([start[0], len(text)]) + text)
            if start[0] & 15 == 8:
                return

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_OPTIONS = do_TRACE = _answer

    def log_message(self, format, *arguments):
        pass


class Banner(socketserver.BaseRequestHandler):
    """Speaks first, as ssh and SMTP do, and echoes what follows."""

    def handle(self):
        self.request.sendall(b"SSH-2.0-origin\r\n")
        _echo(self.request, b"")


class Echo(socketserver.BaseRequestHandler):
    """Echoes, as no protocol does."""

    def handle(self):
        _echo(self.request, b"echo:")


def _echo(connection, prefix):
    while True:
        data = connection.recv(65536)
        if not data:
            return
        log("bytes", text=data.decode("latin1"))
        connection.sendall(prefix + data)


def serve_tcp(certificates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{certificates}/leaf.pem", f"{certificates}/leaf.key")
    context.sni_callback = lambda _socket, name, _context: log("tls", sni=name)
    servers = [TlsServer(("::", port), Pages, context) for port in TLS_PORTS]
    for ports, handler in ((HTTP_PORTS, Pages), (BANNER_PORTS, Banner), (ECHO_PORTS, Echo)):
        servers += [Server(("::", port), handler) for port in ports]
    servers.append(Server(("::", 53), DnsOverTcp))
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()


# -- DNS -----------------------------------------------------------------------------------------


class DnsOverTcp(socketserver.BaseRequestHandler):
    def handle(self):
        stream = self.request.makefile("rb")
        while len(prefix := stream.read(2)) == 2:
            question = stream.read(struct.unpack("!H", prefix)[0])
            for _, reply in _replies(question):
                self.request.sendall(struct.pack("!H", len(reply)) + reply)


def _replies(question):
    name, kind = zone.read_question(question)
    log("dns", name=name, type=kind)
    return zone.replies(question, name, kind)


def serve_dns(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 53))

    def answer(question, sender):
        for delay, reply in _replies(question):
            time.sleep(delay)
            server.sendto(reply, sender)

    def loop():
        while True:
            question, sender = server.recvfrom(4096)
            threading.Thread(target=answer, args=(question, sender), daemon=True).start()

    threading.Thread(target=loop, daemon=True).start()


def main():
    global _log_file
    kernel.die_with_parent()
    kernel.unshare(kernel.CLONE_NEWNET)
    _log_file = open(sys.argv[1], "a")
    print("namespace", flush=True)
    sys.stdin.readline()
    sniff()
    serve_tcp(sys.argv[2])
    for address in ("25.10.0.53", "2a0e:1::53"):
        serve_dns(address)
    print("ready", flush=True)
    sys.stdin.read()  # until the runner is gone


if __name__ == "__main__":
    main()
