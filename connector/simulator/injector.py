"""Does the faults: turns a `FaultSpec` into what happens to sockets and handshakes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from connector.simulator import wire
from connector.simulator.access import Access
from connector.simulator.faults import LASTING, OF_CANDLES, FaultKind, FaultSpec
from connector.simulator.feed import Feed
from connector.simulator.historical import HistoricalApi
from connector.simulator.sockets import SimulatedSocket

GARBAGE_TEXTS = (
    "",
    "not json",
    "{",
    "null",
    "[]",
    '"order"',
    "1e999",
    "{}",
    '{"type":null}',
    '{"type":"order"}',
    '{"type":"order","data":null}',
    '{"type":"order","data":{"order_id":null}}',
    '{"type":"error"}',
    '{"type":"surprise","data":{"a":[1,2,{"b":null}]}}',
)
"""The text frames that a client has to survive."""

WILD_TIMES = (1, 2**31 - 1, 2**32 - 1)
"""Exchange times that exchanges and gateways have sent: 1970, 2038, 2106."""
UNKNOWN_SEGMENTS = (0, 10, 11, 13, 200, 255)
_UNKNOWN_LENGTHS = (12, 492)
_STAND_IN = wire.quote_packet(408065, 157315, volume=1175986)


class Injector:
    """Starts and ends faults on the sockets of a feed, and those of handshakes and candles."""

    def __init__(self, feed: Feed, access: Access, historical: HistoricalApi) -> None:
        self._feed = feed
        self._access = access
        self._historical = historical
        self._timers: set[asyncio.TimerHandle] = set()  # ends of lasting faults, still to come
        # lasting faults that sockets still to come meet too
        self._upcoming: dict[FaultKind, FaultSpec] = {}
        feed.on_attach = self._attached

    async def schedule(self, specs: Iterable[FaultSpec]) -> None:
        """Run faults at their times, for as long as one is left; cancel it to stop."""
        async with asyncio.TaskGroup() as group:
            for spec in specs:
                group.create_task(self._at_its_time(spec))

    async def _at_its_time(self, spec: FaultSpec) -> None:
        await asyncio.sleep(spec.at_seconds)
        await self.inject(spec)
        while spec.every_seconds is not None:
            await asyncio.sleep(spec.every_seconds)
            await self.inject(spec)

    async def inject(self, spec: FaultSpec) -> int:
        """Do one fault now, whatever its `at_seconds`.

        Returns:
            how many sockets it has met; 0 for those that concern handshakes or candles.
        """
        if spec.kind is FaultKind.REFUSE:
            self._access.refuse_next(spec.status, spec.count)
            return 0
        if spec.kind is FaultKind.GATEWAY:
            page = f"<html><head><title>{spec.text}</title></head><body>{spec.text}</body></html>"
            self._access.refuse_next(spec.status, spec.count, page)
            return 0
        if spec.kind in OF_CANDLES:
            self._historical.inject(spec)
            return 0
        if spec.kind is FaultKind.EXPIRE_TOKEN:
            self._access.expire_token()
            return 0
        sockets = self._feed.chosen(spec.sockets)
        if spec.upcoming and spec.kind in LASTING:
            self._upcoming[spec.kind] = spec
        for socket in sockets:
            if spec.kind in LASTING:
                self._begin(spec, socket)
            elif spec.kind is FaultKind.ABORT:
                socket.connection.tap.abort()
            elif spec.kind is not FaultKind.CLOSE:
                for number in range(spec.count):
                    self._send(spec, socket, number)
        # together, and last: each waits for its peer's answer
        if spec.kind is FaultKind.CLOSE:
            await asyncio.gather(
                *(socket.connection.close(spec.code, spec.text) for socket in sockets)
            )
        elif spec.kind in LASTING and spec.seconds is not None:
            self._end_later(spec, None if spec.upcoming else [one.number for one in sockets])
        await asyncio.sleep(0)
        return len(sockets)

    def clear(self, kind: FaultKind | None = None, sockets: Iterable[int] | None = None) -> None:
        """End lasting faults, and refusals that are still to come; None: of every kind."""
        for socket in self._feed.chosen(sockets):
            if kind in {None, FaultKind.SILENCE}:
                socket.connection.tap.silent = False
            if kind in {None, FaultKind.MUTE}:
                socket.muted = False
            if kind in {None, FaultKind.DEAF}:
                socket.deaf = False
            if kind in {None, FaultKind.HALF_SERVED}:
                socket.half_served = False
            if kind in {None, FaultKind.SLOW}:
                socket.connection.tap.flow()
        if sockets is None:  # of single sockets: those still to come are met all the same
            for ended in list(self._upcoming) if kind is None else [kind]:
                self._upcoming.pop(ended, None)
        if kind in {None, FaultKind.REFUSE, FaultKind.GATEWAY}:
            self._access.stop_refusing()
        if kind is None or kind in OF_CANDLES:
            self._historical.clear(kind)

    def close(self) -> None:
        """Forget the ends that are still to come."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def _begin(self, spec: FaultSpec, socket: SimulatedSocket) -> None:
        if spec.kind is FaultKind.SILENCE:
            socket.connection.tap.silent = True
        elif spec.kind is FaultKind.MUTE:
            socket.muted = True
        elif spec.kind is FaultKind.DEAF:
            socket.deaf = True
        elif spec.kind is FaultKind.HALF_SERVED:
            self._feed.serve_half(socket)
        else:
            socket.connection.tap.trickle(spec.chunk_bytes, spec.delay_seconds)

    def _attached(self, socket: SimulatedSocket) -> None:
        # before anything is sent on it: also the messages of the connect are dropped by silence
        for spec in self._upcoming.values():
            self._begin(spec, socket)

    def _end_later(self, spec: FaultSpec, numbers: list[int] | None) -> None:
        def end() -> None:
            self._timers.discard(timer)
            self.clear(spec.kind, numbers)

        timer = asyncio.get_running_loop().call_later(spec.seconds or 0, end)
        self._timers.add(timer)

    def _send(self, spec: FaultSpec, socket: SimulatedSocket, number: int) -> None:
        if spec.kind is FaultKind.GARBAGE_TEXT:
            socket.send_text(GARBAGE_TEXTS[number % len(GARBAGE_TEXTS)])
            return
        if spec.kind is FaultKind.ERROR_FRAME:
            socket.send_text(wire.error_text(spec.text))
            return
        good = self._good_packet(socket)
        if spec.kind is FaultKind.HALF_FRAME:
            # the last packet cut in the middle: two good ones stand before it
            payload = wire.encode_frame([good, good, good])[: -len(good) // 2]
        elif spec.kind is FaultKind.WILD_TIME:
            token = int.from_bytes(good[:4])
            wild = [
                wire.full_packet(wire.quote_packet(token, 157315), exchange_time=seconds)
                for seconds in WILD_TIMES
            ]
            payload = wire.encode_frame(wild)
        elif spec.kind is FaultKind.UNKNOWN_LENGTH:
            bad = [good[:4] + bytes(length - 4) for length in _UNKNOWN_LENGTHS]
            payload = wire.encode_frame([good, bad[0], good, bad[1], good])
        else:
            strange = [wire.ltp_packet(4711 << 8 | segment, 100_00) for segment in UNKNOWN_SEGMENTS]
            payload = wire.encode_frame([good, *strange, good])
        socket.send_binary(payload, len(wire.split_frame(payload)))

    def _good_packet(self, socket: SimulatedSocket) -> bytes:
        for token, mode in socket.subscriptions.items():
            if (packet := self._feed.source.packet(token, mode)) is not None:
                return packet[2:]  # without the length before it
        return _STAND_IN
