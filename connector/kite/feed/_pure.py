"""The frame reader in Python: where no extension can be built, and the reference of its twin."""

from __future__ import annotations

from collections.abc import Callable

from connector.kite.feed.framing import (
    BINARY,
    BUFFER_BYTES,
    FIN,
    FRAMES_PER_TURN,
    LARGE_READ_BYTES,
    MASKED,
    MAX_FRAME_BYTES,
    OPCODES,
    TEXT,
    WHOLE_BINARY,
    turn_cost,
)


class FrameReader:
    """A socket's read buffer, out of which whole binary frames go straight to who takes them.

    It finds the frames in the bytes that asyncio reads into it (`get_buffer`, `buffer_updated`),
    and knows of each where it ends. Of all other frames, and of binary ones that are fragmented,
    masked, too large, or begun in any other way that is not the feed's, the bytes are handed out
    by `next_piece`, for a WebSocket library; while that has a part of a message, everything goes
    there.

    Args:
        deliver: takes the payload of a whole binary frame.
        work: called after a read where `deliver` was not enough: with what is left of the turn's
            `FRAMES_PER_TURN`, and whether the read was a large one.
    """

    def __init__(
        self, deliver: Callable[[bytes], object], work: Callable[[int, bool], object]
    ) -> None:
        self.direct = False
        """Whole binary frames may be delivered: the owner sets it, and takes it back to stop."""
        self.working = False
        """`deliver` is being called, or whatever else the owner says."""
        self.framed = False
        """What is read are frames; until then, and behind the last one, `next_piece` is all."""
        self._deliver = deliver
        self._work = work
        # asyncio reads into it, frames are copied out of it: larger only while a read asks for it
        self._memory = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._memory)
        # what is read and not consumed
        self._start = 0
        self._end = 0
        # bytes of the present frame that the library has not got yet
        self._rest = 0
        # the library has the beginning of a message, whose end is another frame
        self._fragmented = False

    # asyncio.BufferedProtocol

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 -- asyncio's
        """Room for what is read next, behind what is not consumed yet."""
        size = self._end - self._start
        if self._start:
            # to the front: less than one frame, as a rule, so the next read has all the room
            self._view[:size] = self._view[self._start : self._end]
            self._start, self._end = 0, size
        if not size and len(self._memory) > BUFFER_BYTES:
            self._room_of(BUFFER_BYTES)
        elif size == len(self._memory):
            # a transport that reads on although it was asked to pause; it does so once
            self._room_of(size + BUFFER_BYTES)
        return self._view[size:] if size else self._view

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes were read: deliver what can be, and leave the rest to the owner."""
        self._end += nbytes
        left = FRAMES_PER_TURN
        large = nbytes >= LARGE_READ_BYTES
        if self.direct:
            self.working = True
            try:
                left = self.deliver_binary(left)
            finally:
                self.working = False
            # nearly always: no task, no call of the owner beside those of `deliver`
            if left > 0 and self.direct and not large and not self.ready():
                return
        self._work(left, large)

    # the owner's

    def __len__(self) -> int:
        """Bytes that are read and not consumed."""
        return self._end - self._start

    @property
    def at_boundary(self) -> bool:
        """The library has no part of a message: a binary frame may pass it by."""
        return self.framed and self._rest == 0 and not self._fragmented

    def deliver_binary(self, budget: int) -> int:
        """Deliver whole binary frames, one by one, until something else comes.

        Ends where `direct` is taken back too, or nothing is left of the budget; only to be called
        at a boundary.

        Returns:
            What is left of the budget, less the `turn_cost` of each.
        """
        view = self._view
        while budget > 0 and self.direct:
            start = self._start
            head, size = self._header()
            if head <= 0 or self._memory[start] != WHOLE_BINARY:
                break
            stop = start + head + size
            if stop > self._end:
                break
            # a copy: whoever keeps it must not see the next read; and consumed before the call,
            # which may pause, clear or end the socket
            frame = bytes(view[start + head : stop])
            self._start = stop
            budget -= turn_cost(frame)
            self._deliver(frame)
            view = self._view  # the owner may have had it made anew
        return budget

    def ready(self) -> bool:
        """Whether `deliver_binary` or `next_piece` has something."""
        size = self._end - self._start
        if size == 0 or not self.framed or self._rest:
            return size > 0
        head, length = self._header()
        if head <= 0:
            return head < 0
        # the rest of one that passes the library by is waited for; others go there in pieces
        return head + length <= size or not (
            self._memory[self._start] == WHOLE_BINARY
            and head + length <= BUFFER_BYTES
            and not self._fragmented
        )

    def next_piece(self) -> bytes:
        """Consume what the library gets next: of one frame at most; b"" where it is not `ready`."""
        size = self._end - self._start
        if not self.ready():
            return b""
        if not self.framed:
            return self.take(size)
        if not self._rest:
            head, length = self._header()
            if head < 0:
                # the library fails the connection, and drops whatever follows
                self.framed = False
                return self.take(size)
            self._rest = head + length
            first = self._memory[self._start]
            # pings, pongs and closes may come between fragments (RFC 6455, 5.4) and change nothing
            if first & 0x0F in (TEXT, BINARY):
                self._fragmented = not first & FIN
            elif first & 0x0F == 0 and first & FIN:
                self._fragmented = False
        size = min(size, self._rest)
        self._rest -= size
        return self.take(size)

    def take(self, size: int) -> bytes:
        """Consume bytes, whatever they are."""
        start = self._start
        self._start = min(start + size, self._end)
        return bytes(self._view[start : self._start])

    def peek(self) -> bytes:
        """All that is read and not consumed."""
        return bytes(self._view[self._start : self._end])

    def clear(self) -> None:
        """Drop what is read and not consumed."""
        self.direct = False
        self._start = self._end = 0

    def _header(self) -> tuple[int, int]:
        """Bytes of the next frame's header and of its payload.

        Instead of the former, 0: not all of the header is read; -1: no frame of a server's.
        """
        data, start = self._memory, self._start
        size = self._end - start
        if size < 2:
            return 0, 0
        head, length = 2, data[start + 1]
        if data[start] & 0x0F not in OPCODES or length & MASKED:
            return -1, 0
        # 126 and 127 say that a length of two or eight bytes follows (RFC 6455, 5.2)
        if length == 126:
            head = 4
        elif length == 127:
            head = 10
        if size < head:
            return 0, 0
        if head > 2:
            length = int.from_bytes(data[start + 2 : start + head])
        # too large to wait for: websockets fails it with 1009 (message too big)
        return (-1, 0) if length > MAX_FRAME_BYTES else (head, length)

    def _room_of(self, size: int) -> None:
        # another one: a view of the old one may still be in somebody's hands
        memory = bytearray(size)
        memory[: self._end] = self._view[: self._end]
        self._memory, self._view = memory, memoryview(memory)
