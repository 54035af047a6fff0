"""TLS ClientHello messages byte by byte (RFC 8446 4.1.2, RFC 6066 3), also such as nobody makes."""

import os
import struct

CIPHERS = (0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030)
ECH = 0xFE0D


def _vector(width, data):
    return len(data).to_bytes(width, "big") + data


def _extension(kind, data):
    return struct.pack("!H", kind) + _vector(2, data)


def server_name(*names):
    """The server_name extension with these host names in its one list."""
    entries = b"".join(b"\0" + _vector(2, name.encode("latin1")) for name in names)
    return _extension(0, _vector(2, entries))


def message(*extensions):
    """The handshake message, with what an origin needs to answer it."""
    usual = [
        _extension(43, b"\x04\x03\x04\x03\x03"),  # supported_versions
        _extension(10, _vector(2, b"\x00\x1d\x00\x17")),  # supported_groups
        _extension(13, _vector(2, b"\x04\x03\x08\x04\x04\x01")),  # signature_algorithms
        _extension(51, _vector(2, b"\x00\x1d" + _vector(2, os.urandom(32)))),  # key_share
    ]
    body = (
        b"\x03\x03"
        + os.urandom(32)
        + _vector(1, os.urandom(32))
        + _vector(2, b"".join(struct.pack("!H", cipher) for cipher in CIPHERS))
        + b"\x01\x00"
        + _vector(2, b"".join([*extensions, *usual]))
    )
    return b"\x01" + _vector(3, body)


def records(handshake, count=1):
    """The message in `count` TLS records."""
    size = -(-len(handshake) // count)
    parts = [handshake[at : at + size] for at in range(0, len(handshake), size)]
    return [b"\x16\x03\x01" + _vector(2, part) for part in parts]


def hello(*names, extra=()):
    """One record; no names: no server_name extension."""
    sni = [server_name(*names)] if names else []
    return records(message(*sni, *extra))[0]


def grease_ech():
    """What browsers send to servers without ECH keys: outer form, random content."""
    body = b"\x00" + struct.pack("!HH", 1, 1) + os.urandom(1)
    return _extension(ECH, body + _vector(2, os.urandom(32)) + _vector(2, os.urandom(144)))


def text(data):
    """Bytes as inside/wire.py takes them."""
    return data.decode("latin1")
