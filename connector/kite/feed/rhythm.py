"""Which instruments have fallen silent on a socket that streams the others. Pure.

Silence alone proves nothing: an illiquid option may not be traded for hours. So an instrument is
measured by its own past. The session is divided into rounds of a minute; of each round is known
which instruments sent a packet, for they are watched for their next one. An instrument is overdue
once it has been silent for more than twice as long as it ever was before it was heard again. It is
then asked for anew, once: the feed answers a subscription with a snapshot. An answer is only one
more silence of that length, so that the next question about it comes more than twice as late.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

LEARNED_ROUNDS: Final = 3
"""Rounds in which an instrument was heard by itself, before its silence tells anything."""
QUIET_ROUNDS: Final = 2
"""Rounds of silence that are nothing for any instrument."""
FEW: Final = 3
SAMPLE: Final = 100
"""Questions of a round. While all are answered they become fewer, down to `FEW`: the market is
quiet. Where one was not, all instruments that are overdue are asked for."""


@dataclass(slots=True)
class _Beat:
    """The past of one instrument, in rounds."""

    heard: bool = False
    """A packet came in this round."""
    answered: bool = False
    """The packet was the answer to a question, or to the subscription."""
    asked: bool = False
    """A question was put and not answered."""
    learned: int = 0
    """The rounds in which it was heard by itself."""
    silent: int = 0
    """The rounds since it was heard last."""
    longest: int = 0
    """The longest silence that ended."""

    @property
    def overdue(self) -> bool:
        return (
            self.learned >= LEARNED_ROUNDS
            and not self.asked
            and self.silent >= 2 * self.longest + QUIET_ROUNDS
        )

    def end_round(self) -> None:
        if not self.heard:
            self.silent += 1
            return
        self.longest = max(self.longest, self.silent)
        # an answer says that it is served, not how often it is traded
        self.learned += not self.answered
        self.silent = 0
        self.heard = self.answered = self.asked = False


class Rhythm:
    """What is known of the instruments of one connection, over all of its sockets."""

    def __init__(self) -> None:
        self._beats: dict[int, _Beat] = {}  # by token, of those that were ever heard
        self._watched: list[int] = []  # in this round; the round says nothing of others
        self._asked: list[int] = []  # at the end of the last round
        self._budget = SAMPLE  # questions that the next round may put

    def opened(self) -> None:
        """A new socket: nothing is silent yet, and nothing is watched."""
        self._watched.clear()
        self._asked.clear()
        for beat in self._beats.values():
            beat.heard = beat.answered = beat.asked = False
            beat.silent = 0

    def heard(self, token: int, *, answered: bool) -> None:
        """A packet came, the first one since its instrument was watched.

        Args:
            token: of the instrument.
            answered: it was asked for.
        """
        beat = self._beats.get(token)
        if beat is None:
            beat = self._beats[token] = _Beat()
        # a second packet in the round came by itself
        beat.answered = answered and not beat.heard
        beat.heard = True

    def forget(self, tokens: Iterable[int]) -> None:
        """These are no longer wanted."""
        for token in tokens:
            self._beats.pop(token, None)

    def end_round(self, trading: Collection[int]) -> list[int]:
        """A round is over, and the next one begins.

        Args:
            trading: tokens whose market is open; they are watched from now on.

        Returns:
            Tokens to be asked for anew: those that are overdue, or some of them.
        """
        beats = self._beats
        trading = set(trading)
        for token in self._watched:
            beat = beats.get(token)
            # a market that shut within the round leaves no silence behind
            if beat is not None and token in trading:
                beat.end_round()
        self._watched = list(trading)
        if self._asked:
            unanswered = any(token in beats and beats[token].asked for token in self._asked)
            self._budget = len(beats) if unanswered else max(FEW, self._budget // 2)
        overdue = [token for token in self._watched if token in beats and beats[token].overdue]
        if not overdue:
            self._budget = min(SAMPLE, max(FEW, self._budget * 2))
        self._asked = overdue[: self._budget]
        for token in self._asked:
            beats[token].asked = True
        return list(self._asked)
