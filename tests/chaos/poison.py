"""Messages on the control topic that are no commands: none may hold up the next one."""

import json

LIMIT_BYTES = 950_000
"""A broker takes a message of a million bytes by default."""


def poisons(seed):
    """Name → the bytes of a message without a usable id, so that nobody is answered."""
    big = "x" * LIMIT_BYTES
    return {
        "nothing but x": big.encode(),
        "tombstone": None,
        "empty": b"",
        "binary": bytes(range(256)) * 64,
        "UTF-16": json.dumps({"id": f"{seed}-utf16", "type": "status"}).encode("utf-16"),
        "nested": b"[" * 5000 + b"]" * 5000,
        "long unknown key": json.dumps({big: 1}).encode(),
        "long id": json.dumps({"id": big, "type": "status"}).encode(),
        "control characters": json.dumps({"id": "\x1b[2J\x00", "type": "status"}).encode(),
        "list": b'[{"id": "a", "type": "status"}]',
        "number": b"12345678901234567890123456789012345678901234567890",
        "two": b'{"id": "a", "type": "status"}{"id": "b", "type": "status"}',
        "not a number": b'{"id": NaN}',
        "cut short": b'{"id": "a", "type": "sub',
    }
