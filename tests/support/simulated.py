"""Simulated sockets without a network: what is written is kept, and read back as messages."""

import asyncio
from datetime import date
from types import SimpleNamespace

from websockets.protocol import State

from connector.simulator.config import SimulatorConfig
from connector.simulator.feed import Feed
from connector.simulator.market import Market
from connector.simulator.sockets import SimulatedSocket, TappedTransport
from connector.simulator.universe import Universe


class FakeTransport:
    def __init__(self):
        self.written = []
        self.calls = []
        self.buffered = 0
        self.closing = False

    def write(self, data):
        self.written.append(bytes(data))

    def get_write_buffer_size(self):
        return self.buffered

    def is_closing(self):
        return self.closing

    def write_eof(self):
        self.calls.append("write_eof")

    def close(self):
        self.calls.append("close")
        self.closing = True

    def abort(self):
        self.calls.append("abort")
        self.closing = True

    def get_extra_info(self, name, default=None):
        return f"{name} of the real transport"


class FakeLoop:
    """Timers that a test fires by hand."""

    def __init__(self):
        self.timers = []

    def call_later(self, seconds, callback):
        timer = SimpleNamespace(seconds=seconds, callback=callback, cancelled=False)
        timer.cancel = lambda: setattr(timer, "cancelled", True)
        self.timers.append(timer)
        return timer

    def fire(self):
        """Run the timers that are there; returns how many ran."""
        timers, self.timers = self.timers, []
        live = [timer for timer in timers if not timer.cancelled]
        for timer in live:
            timer.callback()
        return len(live)


class FakeConnection:
    def __init__(self, loop=None):
        self.transport = FakeTransport()
        self.tap = TappedTransport(self.transport, loop or FakeLoop())
        self.protocol = SimpleNamespace(state=State.OPEN)
        self.drains = 0
        self.closed_with = None

    async def drained(self):
        self.drains += 1
        await asyncio.sleep(0)

    async def close(self, code, reason):
        self.closed_with = (code, reason)
        self.protocol.state = State.CLOSED


def fake_socket(number=0, *, user_id="SIM001", backlog_bytes=2**20, log_frames=0, loop=None):
    return SimulatedSocket(
        FakeConnection(loop),
        number,
        "simulated_key",
        user_id,
        backlog_bytes=backlog_bytes,
        log_frames=log_frames,
    )


def attached_feed(sockets):
    """The feed of a small market, with so many sockets that have asked for nothing."""
    market = Market(Universe(50, date(2026, 9, 1)), 1, 1_788_252_000)
    feed = Feed(SimulatorConfig(connect_messages=False), market, lambda: 1_788_252_000.0)
    for number in range(sockets):
        feed.attach(fake_socket(number))
    return feed


def messages(socket):
    """What the socket was sent since the last call: bytes and strings."""
    data = b"".join(socket.connection.transport.written)
    socket.connection.transport.written.clear()
    return parse_messages(data)


def parse_messages(data):
    found = []
    while data:
        opcode, size, start = data[0] & 0x0F, data[1], 2
        assert data[0] & 0x80, "unfragmented"
        assert size < 128, "a server does not mask"
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        payload = data[start : start + size]
        assert len(payload) == size, "a whole frame"
        found.append(payload.decode() if opcode == 1 else payload)
        data = data[start + size :]
    return found
