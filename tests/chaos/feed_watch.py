"""What the simulated Kite saw: which instrument was on a socket when, and whose sockets those were.

Each process has a path of its own in its feed's root, so a socket tells whose it is.
"""

import bisect
import itertools
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from connector.simulator.access import RefusedError

NEVER = float("inf")


@dataclass
class SeenSocket:
    number: int
    owner: str
    opened_ms: int
    tokens: dict = field(default_factory=dict)
    """Subscribed now."""
    ever: set = field(default_factory=set)
    blind: bool = False
    """Open over here, but nobody reads it, or nothing is sent."""
    was_reset: bool = False
    """By the test: what the client has not read then is lost, also where its close was answered."""
    closed_ms: int | None = None
    polite: bool = False
    """The client closed it, with a close frame that was answered."""
    packets: int = 0
    """Sent, of a socket that has closed."""


class FeedWatch:
    """Looks over a simulator's shoulder; open it before the first socket."""

    def __init__(self, server, clock=time.monotonic):
        self.server = server
        self.sockets = {}
        self.over_limit = []
        self.refusals = []
        """(time, HTTP status)"""
        self._clock = clock
        self._carried = {}
        """token → number of seeing sockets that have it"""
        self._dark_since = {}
        self._dark = []
        """(token, from, to): on no socket"""
        self._wanted = {}
        """token → [(from, to)]"""
        feed, access = server.feed, server.access
        self._attach, self._detach, self._request = feed.attach, feed.detach, feed.request
        self._admit = access.admit
        feed.attach, feed.detach, feed.request = self._attached, self._detached, self._requested
        access.admit = self._admitted

    # what the simulator calls

    def _admitted(self, api_key, access_token):
        try:
            return self._admit(api_key, access_token)
        except RefusedError as refused:
            self.refusals.append((self._clock(), refused.status))
            raise

    def _attached(self, socket):
        path = urlsplit(socket.connection.request.path).path
        self.sockets[socket.number] = SeenSocket(
            socket.number, path.strip("/"), time.time_ns() // 1_000_000
        )
        self._attach(socket)

    def _requested(self, socket, text):
        self._request(socket, text)
        seen, request = self.sockets[socket.number], self.server.feed.requests[-1]
        now = self._clock()
        if request.action == "subscribe":
            for token in request.value:
                if token not in socket.subscriptions:
                    self.over_limit.append((now, socket.number, token))
                elif token not in seen.tokens:
                    seen.tokens[token] = None
                    seen.ever.add(token)
                    if not seen.blind:
                        self._light(token, now)
        elif request.action == "unsubscribe":
            for token in request.value:
                if token in seen.tokens:
                    del seen.tokens[token]
                    if not seen.blind:
                        self._darken(token, now)

    def _detached(self, socket):
        seen, now = self.sockets[socket.number], self._clock()
        if seen.closed_ms is None:
            seen.closed_ms = time.time_ns() // 1_000_000
            connection = socket.connection
            seen.polite = (
                not seen.was_reset
                and connection.protocol.close_rcvd_then_sent is True
                and connection.connection_exc is None
            )
            seen.packets = socket.packets
            if not seen.blind:
                for token in seen.tokens:
                    self._darken(token, now)
            seen.tokens.clear()
        self._detach(socket)

    # what the test tells

    def reset(self, numbers):
        """These are about to be reset."""
        for number in numbers:
            self.sockets[number].was_reset = True

    def blind(self, sockets):
        """Nothing comes through these any more, although they are open."""
        now = self._clock()
        for seen in sockets:
            if not seen.blind and seen.closed_ms is None:
                seen.blind = True
                for token in seen.tokens:
                    self._darken(token, now)

    def seeing(self, sockets):
        """The end of `blind`."""
        now = self._clock()
        for seen in sockets:
            if seen.blind and seen.closed_ms is None:
                seen.blind = False
                for token in seen.tokens:
                    self._light(token, now)

    def wanted(self, tokens, since):
        """A reply said so at this time."""
        for token in tokens:
            self._wanted.setdefault(token, []).append([since, NEVER])
            if token not in self._carried and token not in self._dark_since:
                self._dark_since[token] = 0.0

    def unwanted(self, tokens, since):
        """The command that says so was written at this time."""
        for token in tokens:
            self._wanted[token][-1][1] = max(since, self._wanted[token][-1][0])

    # what it came to

    def open(self, owner=None):
        """Sockets that are open, of one process or all."""
        return [
            seen
            for seen in self.sockets.values()
            if seen.closed_ms is None and owner in (None, seen.owner)
        ]

    def dark(self):
        """(from, to, instruments) of each time in which wanted instruments were on no socket."""
        now = self._clock()
        open_ends = [(token, since, now) for token, since in self._dark_since.items()]
        spans = {}
        for token, start, end in itertools.chain(self._dark, open_ends):
            for since, until in self._wanted.get(token, ()):
                begin, finish = max(start, since), min(end, until)
                if finish > begin:
                    # requests of one chunk have the same time
                    spans.setdefault((begin, finish), set()).add(token)
        return sorted((begin, finish, len(tokens)) for (begin, finish), tokens in spans.items())

    def _light(self, token, now):
        count = self._carried.get(token, 0)
        self._carried[token] = count + 1
        if not count and (since := self._dark_since.pop(token, None)) is not None:
            self._dark.append((token, since, now))

    def _darken(self, token, now):
        count = self._carried[token] - 1
        if count:
            self._carried[token] = count
        else:
            del self._carried[token]
            self._dark_since[token] = now


class Excuses:
    """Times in which something was taken away on purpose: nothing can be streamed through them."""

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._spans = []

    def begin(self, why):
        """Returns what `end` wants."""
        span = [self._clock(), NEVER, why]
        bisect.insort(self._spans, span, key=lambda one: one[0])
        return span

    def end(self, span):
        span[1] = self._clock()

    def spans(self, *reasons):
        return [(start, end) for start, end, why in self._spans if not reasons or why in reasons]

    def covered(self, begin, finish):
        """Seconds of this time that are excused."""
        total, reached = 0.0, begin
        for start, end, _ in self._spans:
            start, end = max(start, reached), min(end, finish)
            if end > start:
                total += end - start
                reached = end
        return total
