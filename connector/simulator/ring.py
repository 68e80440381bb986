"""Whose turn it is to move: the instruments that sockets subscribe to, in a ring."""

from __future__ import annotations

from collections.abc import Iterator

from connector.simulator.market import Quote
from connector.simulator.sockets import SimulatedSocket

Watchers = dict[SimulatedSocket, str]
"""Who subscribes to an instrument, and in which mode."""


class Ring:
    """Instruments in the order in which somebody first subscribed to them.

    A change costs what it touches: a socket that comes to a large market asks for thousands, and
    a ring that was made anew with each of them left the market no time to move.
    """

    def __init__(self) -> None:
        # some have no watchers any more, and stay until they are more than the others
        self._places: list[tuple[Quote, Watchers]] = []
        self._watchers: dict[int, Watchers] = {}  # of the same, by token
        self._watched = 0  # how many have watchers
        self._cursor = 0  # whose turn it is

    def __len__(self) -> int:
        return self._watched

    def put(self, quote: Quote, socket: SimulatedSocket, mode: str) -> None:
        """Let a socket have an instrument in a mode."""
        watchers = self._watchers.get(quote.token)
        if watchers is None:
            watchers = self._watchers[quote.token] = {}
            self._places.append((quote, watchers))
        self._watched += not watchers
        watchers[socket] = mode

    def remove(self, token: int, socket: SimulatedSocket) -> None:
        """Let a socket have an instrument no more; also where it had not."""
        watchers = self._watchers.get(token)
        if watchers and watchers.pop(socket, None) is not None and not watchers:
            self._watched -= 1
            if 2 * self._watched < len(self._places):
                self._clear_out()

    def turns(self, count: int) -> Iterator[tuple[Quote, Watchers]]:
        """Yield the next instruments, with who watches them; none where nobody watches any."""
        while count and self._watched:
            quote, watchers = self._places[self._cursor]
            self._cursor = self._cursor + 1 if self._cursor + 1 < len(self._places) else 0
            if watchers:
                count -= 1
                yield quote, watchers

    def _clear_out(self) -> None:
        before = self._places[: self._cursor]
        self._cursor = sum(bool(watchers) for _, watchers in before)
        self._places = [place for place in self._places if place[1]]
        self._watchers = {quote.token: watchers for quote, watchers in self._places}
        if self._cursor == len(self._places):
            self._cursor = 0
