"""An upstream proxy that knows CONNECT alone, for namespace O.

    upstream.py LOG [USER:PASSWORD]

Listens on port 3128 of every address and says "ready". LOG gets one JSON object a line: what it was
asked for, by which credentials, and what it answered.
"""

import base64
import json
import socket
import socketserver
import sys
import threading

import zone

PORT = 3128

_log_lock = threading.Lock()


def _log(**values):
    with _log_lock, open(sys.argv[1], "a") as file:
        file.write(json.dumps(values) + "\n")


def _copy(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _connect(target):
    host, _, port = target.rpartition(":")
    host = host.strip("[]")
    return socket.create_connection((zone.ADDRESSES.get(host, [host])[0], int(port)), 60)


class Proxy(socketserver.StreamRequestHandler):
    rbufsize = 0  # what follows the head is the tunnel's

    def handle(self):
        method, target, _ = self.rfile.readline().decode("latin1").split()
        fields = {}
        while (line := self.rfile.readline().strip()) and ":" in line.decode("latin1"):
            name, _, value = line.decode("latin1").partition(":")
            fields[name.lower()] = value.strip()
        status, origin = self._answer(method, target, fields)
        _log(method=method, target=target, fields=fields, status=status)
        self.wfile.write(f"HTTP/1.1 {status} as it is\r\nVia: 1.1 upstream\r\n\r\n".encode())
        if origin:
            thread = threading.Thread(target=_copy, args=(origin, self.request), daemon=True)
            thread.start()
            _copy(self.request, origin)
            thread.join()
            origin.close()

    def _answer(self, method, target, fields):
        if len(sys.argv) > 2:
            expected = "Basic " + base64.b64encode(sys.argv[2].encode()).decode()
            if fields.get("proxy-authorization") != expected:
                return 407, None
        if method != "CONNECT":
            return 405, None
        try:
            return 200, _connect(target)
        except OSError:
            return 503, None


class Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    server = Server(("::", PORT), Proxy)
    print("ready", flush=True)
    server.serve_forever()
