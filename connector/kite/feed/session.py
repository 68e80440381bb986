"""What one connection's instruments should be, what the feed was asked for, what it has shown.

Sans-I/O: changes, confirmations and the time go in, requests and notices come out. Nothing here
reads a clock or touches a socket, so that every order of events can be tested.

Three states of an instrument are kept apart, since the feed acknowledges nothing:

- desired: what the user wants; survives reconnects.
- asked: what requests of this socket add up to.
- seen: the mode of its latest packet. Seen in the desired mode is confirmed.

An instrument that stays unconfirmed is asked for again, a bounded number of times; then it is
reported, once, and asked for with growing pauses as long as the socket lives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connector.kite.feed.events import EventType
from connector.kite.feed.rhythm import Rhythm
from connector.kite.wire.models import Mode, Request

# Tokens of one request. All 3000 could go in one, but nothing says what length the feed accepts,
# and a request that it drops is dropped whole: 500 tokens are 5 kB, the size of ordinary use, and
# a full replay is still only 6 + 6 messages.
CHUNK_TOKENS = 500

# what the feed streams for a token that was only subscribed
INITIAL_MODE = Mode.QUOTE


SLOW_ASK_MAX_SECONDS: Final = 300.0
"""The longest pause between two requests for an instrument that was given up."""
LATE_SECONDS: Final = 2.0
"""The end of a round is looked for each second; later than this, this process was held up."""
PROBE_TOKENS: Final = 3
"""Instruments that a quiet socket is asked for anew: one answer is enough."""


class Notice(NamedTuple):
    """Something to report; becomes a `ConnectionEvent`."""

    type: EventType
    instruments: int
    tokens: tuple[int, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class SessionStep:
    """What to do next, in this order: tell the handler, send the requests, report the notices."""

    forget: list[int] = field(default_factory=list)
    """The tokens that are no longer wanted."""
    expect: list[int] = field(default_factory=list)
    """The tokens whose next packet is a snapshot."""
    watch: list[int] = field(default_factory=list)
    """The tokens whose next packet is to be reported; it is no snapshot."""
    requests: list[Request] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """The tokens for which the connection has no room."""


@dataclass(slots=True)
class _Ask:
    """An instrument that was asked for and has not been seen in its mode."""

    since: float
    """When it was asked for first, monotonic seconds."""
    deadline: float
    repeats: int = 0
    pause: float = 0.0
    """The pause until the next request of an instrument that was given up: doubles each time."""


class Session:
    """The subscriptions of one connection, over all of its sockets."""

    def __init__(
        self,
        *,
        capacity: int,
        confirm_timeout_seconds: float,
        confirm_attempts: int,
        round_seconds: float = 60.0,
        chunk_tokens: int = CHUNK_TOKENS,
    ) -> None:
        self.desired: dict[int, Mode] = {}  # in the order in which they were wanted first
        self.is_open = False  # a socket is: requests are worth making
        self._capacity = capacity
        self._confirm_timeout = confirm_timeout_seconds
        self._confirm_attempts = confirm_attempts
        self._chunk_tokens = chunk_tokens
        # of this socket, both: what requests add up to, and the mode of each latest packet
        self._asked: dict[int, Mode] = {}
        self._seen: dict[int, Mode] = {}
        # while open, each desired token is in exactly one of: confirmed, _pending, _given_up
        self._pending: dict[int, _Ask] = {}
        self._given_up: dict[int, _Ask] = {}
        # instruments wanted, by segment: which markets' hours count is asked each second
        self._segments: Counter[int] = Counter()
        self._probe_at = 0  # where among `_seen` the next probe begins, so that each asks others
        # who has fallen silent, by its own past; looked at once in a round
        self._rhythm = Rhythm()
        self._round_seconds = round_seconds
        self._round_began = 0.0  # monotonic seconds
        # replayed on this socket and not seen since
        self._replaying: set[int] = set()
        self._replayed = 0  # how many there were; 0 once SNAPSHOT_DONE was said

    @property
    def confirmed_count(self) -> int:
        """How many instruments were seen in the mode that is wanted, on this socket."""
        return len(self.desired) - self.unconfirmed_count

    @property
    def unconfirmed_count(self) -> int:
        """Instruments not (yet) seen in the mode that is wanted, on this socket."""
        if not self.is_open:
            return len(self.desired)
        return len(self._pending) + len(self._given_up)

    @property
    def silent_count(self) -> int:
        """How many instruments have sent no packet on this socket, in whatever mode."""
        return len(self.desired) - len(self._seen)

    @property
    def given_up_count(self) -> int:
        """How many of the unconfirmed were asked for as often as is allowed."""
        return len(self._given_up)

    @property
    def segments(self) -> list[int]:
        """Segments (the low byte of a token) of the instruments that are wanted."""
        return [segment for segment, count in self._segments.items() if count]

    def wanted_of(self, segments: Collection[int]) -> int:
        """Return how many instruments of these segments are wanted."""
        return sum(self._segments[segment] for segment in segments)

    def unserved_of(self, segments: Collection[int]) -> int:
        """Return how many of these have sent no packet on this socket, although asked for again."""
        return sum(token not in self._seen and token & 0xFF in segments for token in self._given_up)

    def seen_of(self, segments: Collection[int]) -> int:
        """Return how many of these have sent a packet on this socket, in whatever mode."""
        return sum(token & 0xFF in segments for token in self._seen)

    @property
    def unserved_count(self) -> int:
        """Instruments that have sent no packet on this socket, although asked for again."""
        return sum(token not in self._seen for token in self._given_up)

    def unserved(self, segments: Collection[int]) -> Iterator[tuple[int, float]]:
        """Yield who of these segments has sent no packet on this socket, although asked again.

        Each with the time at which it was asked for first, monotonic seconds.
        """
        for token, ask in self._given_up.items():
            if token not in self._seen and token & 0xFF in segments:
                yield token, ask.since

    def silent_tokens(self) -> list[int]:
        """Instruments asked for on this socket that have sent no packet at all."""
        return [token for token in self._asked if token not in self._seen]

    def update(self, changes: Mapping[int, Mode | None], now: float) -> SessionStep:
        """Want instruments (in a mode) or no longer (None); the rest stays as it is.

        Tokens beyond the capacity come back in `refused` and change nothing.
        """
        step = SessionStep()
        # what goes first: its room counts for what comes with the same changes
        for token, mode in changes.items():
            if mode is None and self.desired.pop(token, None) is not None:
                self._segments[token & 0xFF] -= 1
                step.forget.append(token)
        self._rhythm.forget(step.forget)
        wanted: list[int] = []
        for token, mode in changes.items():
            if mode is None:
                continue
            if token not in self.desired and len(self.desired) >= self._capacity:
                step.refused.append(token)
            elif self.desired.get(token) is not mode:
                self._segments[token & 0xFF] += token not in self.desired
                self.desired[token] = mode
                wanted.append(token)
        if self.is_open:
            self._ask(wanted, step, now)
        return step

    def opened(self, now: float) -> SessionStep:
        """Ask for everything that is wanted: the socket is new."""
        self.closed()
        self.is_open = True
        self._rhythm.opened()
        self._round_began = now
        step = SessionStep()
        self._ask(self.desired, step, now)
        self._replaying = set(self.desired)
        self._replayed = len(self.desired)
        if self.desired:
            step.notices.append(Notice(EventType.RESUBSCRIBED, len(self.desired)))
        return step

    def closed(self) -> None:
        """The socket is gone, and with it everything that was asked for and seen."""
        self.is_open = False
        self._asked.clear()
        self._seen.clear()
        self._pending.clear()
        self._given_up.clear()
        self._replaying.clear()
        self._replayed = 0

    def confirm(self, packets: Iterable[tuple[int, Mode]], now: float) -> list[Notice]:
        """Packets of these tokens came, in these modes; repeats do no harm.

        A packet under way when its token was unsubscribed and subscribed again counts for the new
        subscription: packets carry nothing that could tell.
        """
        for token, mode in packets:
            if token not in self._asked:  # under way when it was given up
                continue
            first = token not in self._seen
            self._seen[token] = mode
            self._rhythm.heard(token, answered=first)
            self._replaying.discard(token)
            if mode is self.desired[token]:
                self._pending.pop(token, None)
                self._given_up.pop(token, None)
            elif token not in self._pending and (first or token not in self._given_up):
                # given up as silent, it speaks after all: it is the mode that is to be asked for
                self._given_up.pop(token, None)
                self._pending[token] = _Ask(now, now + self._confirm_timeout)
        return self._replay_done()

    def check(self, now: float) -> SessionStep:
        """Time has passed: ask again for what is silent, more slowly for what was given up."""
        step = SessionStep()
        silent: list[int] = []
        other_mode: list[int] = []
        given_up: list[int] = []
        for token, ask in self._given_up.items():
            if ask.deadline <= now:
                # for as long as the socket lives: it may begin to trade, or the feed mend itself
                ask.pause = min(ask.pause * 2, max(SLOW_ASK_MAX_SECONDS, self._confirm_timeout))
                ask.deadline = now + ask.pause
                (other_mode if token in self._seen else silent).append(token)
        for token, ask in self._pending.items():
            if ask.deadline > now:
                continue
            if ask.repeats >= self._confirm_attempts:
                given_up.append(token)
                continue
            ask.repeats += 1
            ask.deadline = now + self._confirm_timeout
            (other_mode if token in self._seen else silent).append(token)
        # one that was seen is subscribed: only its mode did not take
        self._request("subscribe", silent, step)
        # the mode even where it is the initial one: a silent token's mode over there is not known
        self._request_modes(silent + other_mode, step)
        for token in given_up:
            ask = self._given_up[token] = self._pending.pop(token)
            ask.pause = 2 * self._confirm_timeout
            ask.deadline = now + ask.pause
        for reason, tokens in [
            ("no packet", [token for token in given_up if token not in self._seen]),
            ("not in the mode asked for", [token for token in given_up if token in self._seen]),
        ]:
            if tokens:
                step.notices.append(
                    Notice(EventType.UNCONFIRMED, len(tokens), tuple(tokens), reason)
                )
        return step

    def probe(self) -> SessionStep:
        """Subscribe anew to a few instruments that have sent a packet, each time to others.

        The feed then sends a snapshot, also of an instrument that nobody trades: a proof that it
        serves the socket. What is known of the instruments stays as it is.
        """
        step = SessionStep()
        seen = list(self._seen)
        if not seen:
            return step
        start = self._probe_at % len(seen)
        tokens = (seen[start:] + seen[:start])[:PROBE_TOKENS]
        self._probe_at = start + len(tokens)
        step.expect += tokens
        # the cached packet comes with a new subscription; nobody promises it for one that is there
        self._request("unsubscribe", tokens, step)
        self._request("subscribe", tokens, step)
        # a new subscription begins in INITIAL_MODE, whatever it had before
        self._request_modes(tokens, step)
        return step

    def roll_call(
        self, segments: Collection[int], now: float, *, paused: bool = False
    ) -> SessionStep:
        """Once in a round: subscribe anew to what has fallen silent while others go on.

        Args:
            segments: those whose market is open.
            now: monotonic seconds.
            paused: reading is paused by our own side, so that silence proves nothing.
        """
        step = SessionStep()
        lasted = now - self._round_began
        if paused or lasted >= max(1.5 * self._round_seconds, self._round_seconds + LATE_SECONDS):
            # what came meanwhile may lie unread: this round says nothing
            self._rhythm.opened()
        elif lasted < self._round_seconds:
            return step
        self._round_began = now
        if paused:
            return step
        # silence of a shut market says nothing
        trading = [token for token in self._asked if token & 0xFF in segments]
        overdue = [token for token in self._rhythm.end_round(trading) if token in self._seen]
        step.watch += trading
        for token in overdue:
            # not seen until it answers: as if it had just been asked for the first time
            del self._seen[token]
            self._given_up.pop(token, None)
            self._pending[token] = _Ask(now, now + self._confirm_timeout)
        step.expect += overdue
        self._request("unsubscribe", overdue, step)
        self._request("subscribe", overdue, step)
        self._request_modes(overdue, step)
        return step

    def ask_all(self) -> SessionStep:
        """Ask for everything once more: the socket is silent."""
        step = SessionStep()
        tokens = list(self._asked)
        step.expect += tokens
        self._request("subscribe", tokens, step)
        self._request_modes(tokens, step)
        return step

    def _ask(self, wanted: Iterable[int], step: SessionStep, now: float) -> None:
        """Return the fewest requests from what was asked to what is desired."""
        # unsubscribe first: the feed must never count more than it allows
        gone = [token for token in step.forget if self._asked.pop(token, None) is not None]
        for token in gone:
            self._seen.pop(token, None)
            self._pending.pop(token, None)
            self._given_up.pop(token, None)
            self._replaying.discard(token)
        self._request("unsubscribe", gone, step)

        # back after having been wanted no longer in the same step cannot be: one value a token
        wanted = list(wanted)
        new = [token for token in wanted if token not in self._asked]
        step.expect += new
        # subscribe, then mode: a new token begins in INITIAL_MODE (kite.trade, websocket)
        self._request("subscribe", new, step)
        self._request_modes(
            [
                token
                for token in wanted
                if self._asked.get(token, INITIAL_MODE) is not self.desired[token]
            ],
            step,
        )
        for token in wanted:
            mode = self.desired[token]
            self._asked[token] = mode
            self._given_up.pop(token, None)
            # its latest packet has this mode already
            if self._seen.get(token) is mode:
                self._pending.pop(token, None)
            else:
                self._pending[token] = _Ask(now, now + self._confirm_timeout)
        step.notices += self._replay_done()

    def _replay_done(self) -> list[Notice]:
        if self._replaying or not self._replayed:
            return []  # some are missing, or it was said
        replayed, self._replayed = self._replayed, 0
        return [Notice(EventType.SNAPSHOT_DONE, replayed)]

    def _request(self, action: str, tokens: Sequence[int], step: SessionStep) -> None:
        step.requests += [Request(action, part) for part in self._chunks(tokens)]

    def _request_modes(self, tokens: Sequence[int], step: SessionStep) -> None:
        for mode in Mode:
            of_mode = [token for token in tokens if self.desired[token] is mode]
            step.requests += [Request.set_mode(mode, part) for part in self._chunks(of_mode)]

    def _chunks(self, tokens: Sequence[int]) -> Iterator[list[int]]:
        for start in range(0, len(tokens), self._chunk_tokens):
            yield list(tokens[start : start + self._chunk_tokens])
