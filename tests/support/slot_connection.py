"""A slot's connection in memory, which notes what it is asked for."""

from types import SimpleNamespace

from connector.errors import CapacityError
from connector.kite.feed.events import ConnectionState


class FakeConnection:
    def __init__(self, capacity=3):
        self.capacity = capacity
        self.state = ConnectionState.IDLE
        self.stats = SimpleNamespace(silent=0, unserved=0)
        self.wanted = {}
        self.updates = []
        self.reconnects = 0
        self.last_frame_us = self.gap_from_us = 0
        self.continues_from = "nothing"

    def continue_from(self, last_frame_us):
        self.continues_from = last_frame_us

    def start(self):
        self.state = ConnectionState.CONNECTED

    async def close(self):
        self.state = ConnectionState.CLOSED

    async def reconnect(self):
        self.reconnects += 1

    def update(self, changes):
        self.updates.append(dict(changes))
        for token, mode in changes.items():
            if mode is None:
                self.wanted.pop(token, None)
            else:
                self.wanted[token] = mode
        if len(self.wanted) > self.capacity:
            refused = list(self.wanted)[self.capacity :]
            for token in refused:
                del self.wanted[token]
            raise CapacityError(refused, self.capacity)

    def desired(self):
        return dict(self.wanted)
