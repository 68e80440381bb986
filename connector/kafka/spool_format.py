"""How records stand in a spool file: each by itself, so that damage costs what it hit and no more.

A file is a magic word and then frames. A frame has a marker, by which it is found again behind
damage, its index in the file, its length, and a CRC of all that and of the file's name. So a frame
counts only in the file that it was written to: what an older file left on the same blocks, or a
record whose value looks like a frame, is none.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Headers = Sequence[tuple[str, bytes | None]]

# for whoever looks into a file: nothing is decided by it, each frame proves itself
MAGIC = b"KITESP02"

# no text, and as a length, should it be read as one, far beyond any file
_MARKER = b"\xf1KR\xe7"
_HEAD = struct.Struct("<4sII")  # marker, index, length of the body
_CRC = struct.Struct("<I")
FRAME_BYTES = _HEAD.size + _CRC.size
"""A frame has so many bytes besides its body."""
_BODY = struct.Struct("<qHiiH")  # timestamp, lengths of topic, key, value (-1: none), headers
_ITEM = struct.Struct("<Hi")  # lengths of a header's name and value (-1: none)
_TIMESTAMP = struct.Struct("<q")

_CRC_BUDGET = 64
"""A scan computes CRCs of so many times the file's size, and then takes the rest for damaged."""


class Record(NamedTuple):
    """The arguments of one call of `produce`; `timestamp_ms` is never 0 in the spool."""

    topic: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Records that are lost, and the span of their timestamps; 0 where nobody knows it."""

    count: int
    first_timestamp_ms: int
    last_timestamp_ms: int
    examples: tuple[Record, ...] | None = None
    """One of them for each topic and key; None where nobody knows which they were."""

    @classmethod
    def of(cls, records: Iterable[Record]) -> Dropped:
        """Return what is lost with these records."""
        return cls.of_bodies([encode(record) for record in records])

    @classmethod
    def of_bodies(cls, bodies: Sequence[bytes]) -> Dropped:
        """Return what is lost with the records of these bodies."""
        times_ms: list[int] = []
        found: dict[tuple[int, bytes], bytes] = {}
        for body in bodies:
            timestamp_ms, topic_size, key_size, _, _ = _BODY.unpack_from(body)
            times_ms.append(timestamp_ms)
            named = body[_BODY.size : _BODY.size + topic_size + max(0, key_size)]
            # the size too: without it topic 'ab' with key 'c' would be topic 'a' with key 'bc'
            found[topic_size, named] = body
        examples = tuple(map(decode, found.values()))
        return cls(len(bodies), min(times_ms, default=0), max(times_ms, default=0), examples)


def encode(record: Record) -> bytes:
    """Return the body of a record's frame."""
    topic, key, value, timestamp_ms, headers = record
    name = topic.encode()
    parts = [
        _BODY.pack(
            timestamp_ms,
            len(name),
            # an empty key or value is not a missing one: Kafka tells them apart
            -1 if key is None else len(key),
            -1 if value is None else len(value),
            len(headers) if headers else 0,
        ),
        name,
        key or b"",
        value or b"",
    ]
    for header, content in headers or ():
        label = header.encode()
        parts += (
            _ITEM.pack(len(label), -1 if content is None else len(content)),
            label,
            content or b"",
        )
    return b"".join(parts)


def decode(body: bytes) -> Record:
    """Return the record of a body that `encode` made and a CRC has proved."""
    timestamp_ms, topic_size, key_size, value_size, header_count = _BODY.unpack_from(body)
    at = _BODY.size + topic_size
    topic = body[_BODY.size : at].decode()
    key, at = _field(body, at, key_size)
    value, at = _field(body, at, value_size)
    if not header_count:
        return Record(topic, key, value, timestamp_ms)
    headers: list[tuple[str, bytes | None]] = []
    for _ in range(header_count):
        name_size, content_size = _ITEM.unpack_from(body, at)
        at += _ITEM.size
        name = body[at : at + name_size].decode()
        content, at = _field(body, at + name_size, content_size)
        headers.append((name, content))
    return Record(topic, key, value, timestamp_ms, headers)


def timestamp_of(body: bytes) -> int:
    """Return the timestamp_ms of a body."""
    timestamp_ms: int = _TIMESTAMP.unpack_from(body)[0]
    return timestamp_ms


def seed_of(name: str) -> int:
    """Return what the CRCs of a file begin with: its name, as far as it never changes."""
    return zlib.crc32(name.encode())


def frame(seed: int, index: int, body: bytes) -> bytes:
    """Return a body with its head, ready to be written."""
    head = _HEAD.pack(_MARKER, index, len(body))
    # the CRC begins with the seed, then head, then body: `_sound` computes it the same way
    return head + _CRC.pack(zlib.crc32(body, zlib.crc32(head, seed))) + body


def contiguous(data: bytes, seed: int, index: int) -> Iterator[bytes]:
    """The bodies of the sound frames at the start of `data`, the first of which has this index."""
    at, end = 0, len(data)
    while at + FRAME_BYTES <= end:
        marker, found, length = _HEAD.unpack_from(data, at)
        start = at + FRAME_BYTES
        # sound so far; what is behind is the next piece, or damaged
        if marker != _MARKER or found != index or start + length > end:
            return
        body = data[start : start + length]
        if not _sound(data, at, body, seed):
            return
        yield body
        index += 1
        at = start + length


def announced_bytes(data: bytes, index: int) -> int:
    """The size of the frame of this index that begins `data`, by its head; 0 where none does."""
    if len(data) < FRAME_BYTES:
        return 0
    marker, found, length = _HEAD.unpack_from(data)
    return FRAME_BYTES + int(length) if marker == _MARKER and found == index else 0


def scan(data: bytes, seed: int) -> tuple[dict[int, bytes], int]:
    """Every sound frame of a file, wherever it stands.

    Returns:
        index → body, in the order of the indices, and the offset behind the last sound frame.
    """
    found: dict[int, bytes] = {}
    at, end, budget = 0, 0, _CRC_BUDGET * len(data)
    while budget > 0 and (at := data.find(_MARKER, at)) >= 0:
        if at + FRAME_BYTES > len(data):
            break
        _, index, length = _HEAD.unpack_from(data, at)
        start = at + FRAME_BYTES
        # a length from damaged bytes may be anything: it is looked at before bytes are copied
        body = data[start : start + length] if length <= len(data) - start else b""
        # bytes that hold marker after marker would else cost the square of the file's size
        budget -= len(body)
        if len(body) >= _BODY.size and _sound(data, at, body, seed):
            found[index] = body
            at = end = start + length
        else:
            # not behind it: the true frame may begin within what this one claimed to have
            at += 1
    return dict(sorted(found.items())), end


def cut_short(end: bytes, index: int) -> bool:
    """Whether what stands behind the last sound frame is the begin of the next one, or nothing.

    So ends the file of a process that was killed. Zeros or other bytes are something else.
    """
    if len(end) < FRAME_BYTES:
        return _HEAD.pack(_MARKER, index, 0)[: _CRC.size * 2].startswith(end[: _CRC.size * 2])
    return announced_bytes(end, index) > len(end)


def _sound(data: bytes, at: int, body: bytes, seed: int) -> bool:
    crc = zlib.crc32(body, zlib.crc32(data[at : at + _HEAD.size], seed))
    return bool(_CRC.unpack_from(data, at + _HEAD.size)[0] == crc)


def _field(body: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (body[at : at + size], at + size)
