"""A connection with everything around it in a test's hand."""

from connector import ConnectionConfig, StaticCredentials
from connector.kite.feed.connection import Connection
from tests.support.clock import FakeClock, settle
from tests.support.feed_socket import FakeFeed, RecordingHandler


class Kit:
    """A connection over a fake feed and a fake clock."""

    def __init__(self, *answers, token="token", random=0.5, **config):
        self.clock = FakeClock()
        self.feed = FakeFeed(*answers)
        self.handler = RecordingHandler()
        self.credentials = StaticCredentials("key", token, "main")
        self.connection = Connection(
            2, self.credentials, ConnectionConfig(**config), self.handler, root="ws://feed",
            clock=self.clock, random=lambda: random, opener=self.feed,
        )  # fmt: skip

    @property
    def state(self):
        return self.connection.state

    @property
    def stats(self):
        return self.connection.stats

    async def open(self):
        self.connection.start()
        await settle()
        return self.feed.socket

    async def advance_alive(self, seconds):
        """Time with a heartbeat each second."""
        for _ in range(int(seconds)):
            self.feed.socket.heartbeat()
            await self.clock.advance(1)
