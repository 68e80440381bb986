"""Moves a tick in time: each time in its framed value by the same amount, and nothing else.

Not in two twins: a replay does it, never the tick path.
"""

from __future__ import annotations

from connector.codec._pure import Body, identity, long_of


def moved(value: bytes, by_ms: int) -> bytes:
    """Return the framed value of the same tick at another time; of any version of the schema.

    What moves: event_time, receive_time_us, last_trade_time, exchange_timestamp, and session_id,
    which is the time when the session was opened. So all of them stand to each other as before, and
    a replay that is moved is a session of its own, not a repeat of the one that was recorded.

    Raises:
        ValueError: it is not the value of a tick, or is moved beyond what a long holds.
    """
    body = _Moving(value, by_ms)
    identity(body)
    return body.moved()


class _Moving(Body):
    def __init__(self, value: bytes, by_ms: int) -> None:
        super().__init__(value, 0)
        self._by_ms = by_ms
        self._parts: list[bytes] = []
        self._copied = 0

    def time(self, units_a_ms: int = 1) -> int:
        self._parts.append(self.value[self._copied : self.at])
        number = self.long()
        time = number + self._by_ms * units_a_ms
        if not -(2**63) <= time < 2**63:
            raise ValueError("a time that no long holds")
        self._parts.append(long_of(time))
        self._copied = self.at
        return number

    def moved(self) -> bytes:
        return b"".join((*self._parts, self.value[self._copied :]))
