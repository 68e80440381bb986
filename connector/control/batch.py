"""One transaction in the making: pieces of work on top of each other, until a bound is reached."""

from __future__ import annotations

from connector.control.bounds import TRANSACTION_BYTES, TRANSACTION_RECORDS
from connector.control.records import StateRecord
from connector.control.state import State
from connector.control.transactions import DeadLetter, TransactionStep
from connector.control.work import Applied, Work
from connector.kite.feed.events import ConnectionEvent


class Batch:
    """The records of one transaction, and the state after it."""

    def __init__(self, state: State) -> None:
        # after all that was added so far; what is written next is applied on top of it
        self.state = state
        # kept in order, to be written one by one where Kafka refuses them together
        self.works: list[Work] = []
        self.events: list[ConnectionEvent] = []
        # counted here, and by the leader only once they are written
        self.messages = 0
        self.rejected = 0
        self.dead_letters: list[DeadLetter] = []
        self._records: list[StateRecord] = []
        self._replies: list[tuple[str, bytes]] = []
        # behind the last message; None: only commands that had waited, whose messages are passed
        # already
        self._next_offset: int | None = None
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether a bound is reached, so that the transaction is to end here."""
        count = len(self._records) + len(self._replies) + len(self.dead_letters)
        # asked before the next is added, so that one command is never split over two transactions
        return count >= TRANSACTION_RECORDS or self._bytes >= TRANSACTION_BYTES

    def add(self, work: Work, applied: Applied) -> None:
        """Add what a piece of work comes to, on top of what is there."""
        self.works.append(work)
        self.state = applied.state
        self._records += applied.records
        self._bytes += applied.size
        self.events += applied.events
        self.rejected += applied.rejected
        if applied.reply is not None:
            self._replies.append(applied.reply)
        if applied.dead_letter is not None:
            self.dead_letters.append(applied.dead_letter)
        if work.next_offset is not None:
            self.messages += 1
            self._next_offset = work.next_offset

    def finish(self) -> tuple[State, TransactionStep]:
        """Return the state and the records to be written for it, `@leader` last."""
        progress = self.state.progress
        offset = progress.offset if self._next_offset is None else self._next_offset
        state, leader = self.state.applied(offset)
        return state, TransactionStep((*self._records, leader), self._replies, self.dead_letters)
