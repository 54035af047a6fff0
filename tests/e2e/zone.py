"""What the outer DNS server answers; RFC 1035 by hand, no compression in what it sends."""

import collections
import socket
import struct
import threading

ALLOWED4, ALLOWED6, OTHER4, SSH4 = "25.10.0.10", "2a0e:1::10", "25.10.0.11", "25.10.0.12"
METADATA4 = "169.254.169.254"

# Name -> addresses. What is not here, and has no rule in `replies`, does not exist.
ADDRESSES = {
    "allowed.test": [ALLOWED4, ALLOWED6],
    "api.allowed.test": [ALLOWED4],
    "other.test": [OTHER4],
    "ssh.test": [SSH4],
    "db.test": ["10.20.0.5"],
    "v6.test": [ALLOWED6],
    "deep.wild.test": [ALLOWED4],
    "a.b.wild.test": [ALLOWED4],
    "wild.test": [ALLOWED4],
    # The walk-through's: docs/from-report-to-enforce.md.
    "git.example.com": [ALLOWED4],
    "registry.example.com": [ALLOWED4],
    "a.cdn.example.net": [ALLOWED4],
    "b.cdn.example.net": [ALLOWED4],
    "c.cdn.example.net": [ALLOWED4],
    "telemetry.example.org": [ALLOWED4],
    "mixed.test": [METADATA4, "10.0.0.5", "127.0.0.1", ALLOWED4],
    # Names of attackers who own their zone: they point wherever they like.
    "metadata.rebind.test": [METADATA4],
    "metadata6.rebind.test": ["fd00:ec2::254"],
    "alibaba.rebind.test": ["100.100.100.200"],
    "azure.rebind.test": ["168.63.129.16"],
    "oracle.rebind.test": ["192.0.0.192"],
    "private.rebind.test": ["10.0.0.5"],
    "cgnat.rebind.test": ["100.64.0.9"],
    "loopback.rebind.test": ["127.0.0.1"],
    "loopback6.rebind.test": ["::1"],
    "zero.rebind.test": ["0.0.0.0"],
    "self.rebind.test": ["25.10.0.1"],
    "self6.rebind.test": ["2a0e:1::1"],
    "mapped.rebind.test": ["::ffff:169.254.169.254"],
    "nat64.rebind.test": ["64:ff9b::a9fe:a9fe"],
    "sixtofour.rebind.test": ["2002:a9fe:a9fe::1"],
    "compatible.rebind.test": ["::169.254.169.254"],
    "linklocal.rebind.test": ["fe80::1"],
    "ula.rebind.test": ["fd12:3456::5"],
    "multicast.rebind.test": ["224.0.0.5"],
    "broadcast.rebind.test": ["255.255.255.255"],
    "synthetic.rebind.test": ["198.18.0.1"],
}
ALIASES = {"alias.rebind.test": "metadata.rebind.test"}
SILENT = {"silent.test"}  # never answered
SLOW = {"slow.test": (1.0, ALLOWED4)}
FORGED = {"forged.test": METADATA4}  # a first answer with the wrong id, then the right one

_asked = collections.Counter()
_asked_lock = threading.Lock()


def read_question(packet):
    """The name, lower case, and the type of the one question."""
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode("latin1").lower())
        at += 1 + packet[at]
    return ".".join(labels), struct.unpack("!H", packet[at + 1 : at + 3])[0]


def _encode(name):
    return b"".join(bytes([len(x)]) + x.encode("latin1") for x in name.split(".")) + b"\0"


def _record(name, kind, data, ttl=0):
    return _encode(name) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def _addresses(name, kind, texts):
    family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
    mine = [text for text in texts if (":" in text) == (kind == 28)] if family else []
    return [_record(name, kind, socket.inet_pton(family, text)) for text in mine]


def _reply(question, records, code=0, identity=None):
    identity = identity or question[:2]
    at = 12
    while question[at]:
        at += 1 + question[at]
    header = identity + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0)
    return header + question[12 : at + 5] + b"".join(records)


def _flipped(name):
    """`NAME.flip.test` is a public address once, and the metadata service ever after (TTL 0)."""
    with _asked_lock:
        _asked[name] += 1
        return [ALLOWED4] if _asked[name] == 1 else [METADATA4]


def replies(question, name, kind):
    """Pairs of (seconds to wait, packet to send)."""
    if name in SILENT:
        return []
    if name in SLOW:
        delay, address = SLOW[name]
        return [(delay, _reply(question, _addresses(name, kind, [address])))]
    if name in FORGED:
        wrong = bytes([question[0] ^ 0x55, question[1] ^ 0x55])
        bad = _reply(question, _addresses(name, kind, [FORGED[name]]), identity=wrong)
        return [(0, bad), (0.2, _reply(question, _addresses(name, kind, [ALLOWED4])))]
    if name in ALIASES:
        target = ALIASES[name]
        alias = _record(name, 5, _encode(target))
        return [(0, _reply(question, [alias, *_addresses(target, kind, ADDRESSES[target])]))]
    if name.endswith(".flip.test"):
        return [(0, _reply(question, _addresses(name, kind, _flipped(name)) if kind == 1 else []))]
    if name in ADDRESSES:
        return [(0, _reply(question, _addresses(name, kind, ADDRESSES[name])))]
    return [(0, _reply(question, [], code=3))]
