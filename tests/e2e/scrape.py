"""What a running sluiced shows at /metrics."""

import http.client
import socket

from shared import FOLDER


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("admin", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def page():
    connection = Unix(f"{FOLDER}/admin.sock")
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.status != 200:
        raise AssertionError(f"/metrics answers {answer.status}")
    return text


def series():
    """{'name{labels}': value}"""
    lines = [line.rpartition(" ") for line in page().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
