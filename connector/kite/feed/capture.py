r"""A recorded feed: the frames of one or more sockets, with their receive times.

The file, gzipped where its name ends in `.gz`:

    KITECAP1\n
    {"created_us": …, "comment": …}\n         one line of JSON; readers ignore keys they don't know
    record, record …

    record, big-endian, 15 bytes and the payload:
        uint64 receive_time_us   UTC microseconds
        uint16 slot              which connection received it
        uint8  kind              1 binary, 2 text
        uint32 length            of the payload, at most 16 MiB
        payload                  the WebSocket message as it came; text is UTF-8

Records stand in the order of arrival. A recorder that is killed leaves a file whose end is cut off,
and the reader takes that for its end. No URL and no header is ever recorded, so that no token is;
order postbacks are, unless the recorder leaves text out.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self, cast

from connector.errors import CaptureError
from connector.files import UnusableFileError, check_file, open_private
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.events import ConnectionEvent
from connector.kite.feed.handler import Flow, FlowControlled, Handler, Watching
from connector.kite.wire.models import Mode, TickerMessage

MAGIC = b"KITECAP1\n"
# four times a frame of the feed's at most; a length beyond it is damage, not a record to wait for
MAX_PAYLOAD_BYTES = 16 * 2**20
MAX_HEADER_BYTES = 64 * 1024
"""The line that says what the file is has at most so many bytes."""

_HEAD = struct.Struct(">QHBI")
_FLUSH_BYTES = 256 * 1024  # what a killed recorder loses at most, before compression


class PayloadKind(IntEnum):
    """The kinds of WebSocket message that a record may be."""

    BINARY = 1
    TEXT = 2


_KINDS = frozenset(PayloadKind)


class CapturedMessage(NamedTuple):
    """One message as it was received; `payload` of a text message is its UTF-8."""

    receive_time_us: int
    slot: int
    kind: PayloadKind
    payload: bytes


class CaptureWriter:
    """Writes a capture; a context manager. What was there under that name is replaced.

    The file is readable by its owner alone (0600): it holds order postbacks.

    Args:
        path: the file; gzipped where its name ends in `.gz`.
        created_us: UTC microseconds, for the header.
        comment: a line for whoever finds the file; no secret.
    """

    def __init__(self, path: Path, *, created_us: int, comment: str = "") -> None:
        self.path = path
        self.records = 0
        """Records written so far."""
        self._created_us = created_us
        self._comment = comment
        self._file: BinaryIO | None = None  # None: not open
        self._raw: BinaryIO | None = None  # beneath _file, where that packs
        self._unflushed = 0  # bytes since the last flush

    def __enter__(self) -> Self:
        raw = os.fdopen(open_private(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb")
        self._file = self._raw = raw
        if self.path.suffix == ".gz":
            # not gzip.open: the file has to be made with its mode, for its owner alone
            packed = gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=5)
            self._file = cast("BinaryIO", packed)
        header = json.dumps({"created_us": self._created_us, "comment": self._comment})
        self._file.write(MAGIC + header.encode() + b"\n")
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, receive_time_us: int, slot: int, payload: bytes | str) -> None:
        """Add a message: bytes are a binary one, a string is a text one.

        Raises:
            ValueError: the writer is not open, or the payload is larger than a record may be.
            OSError: the disk is full, say; what was written before stays readable.
        """
        if self._file is None:
            raise ValueError("the capture is not open")
        if isinstance(payload, str):
            kind, data = PayloadKind.TEXT, payload.encode()
        else:
            kind, data = PayloadKind.BINARY, payload
        if len(data) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"a payload of {len(data)} bytes does not fit into a record")
        self._file.write(_HEAD.pack(receive_time_us, slot, kind, len(data)) + data)
        self.records += 1
        self._unflushed += len(data) + _HEAD.size
        if self._unflushed >= _FLUSH_BYTES:
            self._file.flush()
            self._unflushed = 0

    def close(self) -> None:
        """Finish the file; harmless when it is done already."""
        file, self._file = self._file, None
        raw, self._raw = self._raw, None
        try:
            if file is not None:
                file.close()  # of gzip it does not close what is beneath
        finally:
            if raw is not None:
                raw.close()


class CaptureReader:
    """Reads a capture; iterate over it, as often as wanted.

    Raises:
        CaptureError: from iteration: it is no capture, or damaged elsewhere than at its end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.truncated = False
        """Whether the last iteration ended in the middle of a record."""

    def __iter__(self) -> Iterator[CapturedMessage]:
        self.truncated = False
        with _open(self.path) as file:
            self._read_header(file)
            try:
                yield from self._read_records(file)
            except EOFError:  # of gzip: its trailer is missing
                self.truncated = True
            except (zlib.error, gzip.BadGzipFile) as error:
                raise CaptureError(str(self.path), f"damaged gzip: {error}") from error

    def _read_header(self, file: BinaryIO) -> None:
        try:
            magic = file.read(len(MAGIC))
            if magic != MAGIC:
                raise CaptureError(str(self.path), "it does not begin as one")
            line = file.readline(MAX_HEADER_BYTES)
            header = json.loads(line) if line.endswith(b"\n") else None
        except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
            raise CaptureError(str(self.path), "its header cannot be read") from error
        if not isinstance(header, dict):
            raise CaptureError(str(self.path), "its header is not an object")

    def _read_records(self, file: BinaryIO) -> Iterator[CapturedMessage]:
        while head := file.read(_HEAD.size):
            # a recorder that was killed: all before it is whole
            if len(head) < _HEAD.size:
                self.truncated = True
                return
            receive_time_us, slot, kind, length = _HEAD.unpack(head)
            if kind not in _KINDS or length > MAX_PAYLOAD_BYTES:
                raise CaptureError(str(self.path), "damaged in the middle: no record begins here")
            payload = file.read(length)  # bounded just before
            if len(payload) < length:
                self.truncated = True
                return
            yield CapturedMessage(receive_time_us, slot, PayloadKind(kind), payload)


class CapturingHandler:
    """A `Handler` that records what its connection receives and hands everything on.

    When recording fails, `error` says why, and the feed goes on without it.

    Args:
        slot: the connection's number.
        inner: who gets the frames besides.
        writer: an open capture; several handlers may share it.
        clock: for the times of text frames, whose receive time is not handed on.
        text: record text frames, and with them order postbacks.
    """

    def __init__(
        self,
        slot: int,
        inner: Handler,
        writer: CaptureWriter,
        *,
        clock: Clock = SYSTEM_CLOCK,
        text: bool = True,
    ) -> None:
        self._slot = slot
        self._inner = inner
        self._writer = writer
        self._clock = clock
        self._text = text
        self.error: OSError | None = None
        """Why recording has stopped: the disk is full, say."""

    def flow(self, flow: Flow) -> None:
        """Hand the flow on, where the inner handler wants it."""
        if isinstance(self._inner, FlowControlled):
            self._inner.flow(flow)

    def opened(self, session_id: int) -> None:
        """Hand the opening of a socket on."""
        self._inner.opened(session_id)

    def expect(self, tokens: Iterable[int]) -> None:
        """Hand the expected tokens on."""
        self._inner.expect(tokens)

    def forget(self, tokens: Iterable[int]) -> None:
        """Hand the forgotten tokens on."""
        self._inner.forget(tokens)

    def watch(self, tokens: Iterable[int]) -> None:
        """Hand on, where the inner handler can."""
        if isinstance(self._inner, Watching):
            self._inner.watch(tokens)

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        """Record a frame and hand it on."""
        self._record(receive_time_us, data)
        return self._inner.frame(data, receive_time_us)

    def message(self, message: TickerMessage, raw: str) -> None:
        """Record a text frame and hand it on."""
        if self._text:
            self._record(self._clock.time_us(), raw)
        self._inner.message(message, raw)

    def event(self, event: ConnectionEvent) -> None:
        """Hand an event on, unrecorded."""
        self._inner.event(event)

    def _record(self, receive_time_us: int, payload: bytes | str) -> None:
        if self.error is None:
            try:
                self._writer.write(receive_time_us, self._slot, payload)
            except OSError as error:
                self.error = error  # once: a disk that is full would be tried with each frame


def _open(path: Path) -> BinaryIO:
    try:
        check_file(path)  # it is read as often as wanted: no pipe is
    except UnusableFileError as error:
        raise CaptureError(str(path), str(error)) from error
    if path.suffix == ".gz":
        return cast("BinaryIO", gzip.open(path, "rb"))
    return path.open("rb")
