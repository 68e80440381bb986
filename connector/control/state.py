"""What the cluster remembers, and how it is rebuilt from its topic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from connector.control.held_rules import HeldRule
from connector.control.limits import Limits
from connector.control.records import (
    HALT_KEY,
    LEADER_KEY,
    LEADER_PARTITION,
    LIMITS_PREFIX,
    REPLY_PREFIX,
    RULE_PREFIX,
    WAITING_PREFIX,
    Halted,
    LeaderProgress,
    Remembered,
    StateRecord,
    Subscription,
    token_of,
)
from connector.control.remembered_replies import Replies
from connector.control.subscriptions import Subscriptions


class Layout(NamedTuple):
    """Where instruments may be placed: from the settings, not from the log."""

    slots: tuple[int, ...]
    capacity: int
    """How many instruments each slot carries."""
    watchlist_quota: int | None = None
    """How many instruments one watchlist may claim; None is unlimited."""
    accounts: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """The slots of each api_key, by the name of its account."""

    def slots_of(self, account: str | None) -> tuple[int, ...]:
        """Return the slots of an account, none where there is no such account; None: all slots."""
        return self.slots if account is None else dict(self.accounts).get(account, ())

    def no_account(self, account: str) -> str | None:
        """Explain that there is no account of this name; None where there is one."""
        names = [name for name, _ in self.accounts]
        if account in names:
            return None
        return f"account: there is no account of this name; there are {', '.join(names)}"

    @property
    def total(self) -> int:
        """How many instruments all slots carry."""
        return len(self.slots) * self.capacity


@dataclass(frozen=True)
class State:
    """All that the cluster remembers."""

    layout: Layout
    subscriptions: Subscriptions = field(default_factory=Subscriptions)
    replies: Replies = field(default_factory=Replies)
    progress: LeaderProgress = field(default_factory=LeaderProgress)
    waiting: Mapping[str, bytes] = field(default_factory=dict)
    """The commands that wait for the list of instruments: id to JSON, in the order they came."""

    halted: Mapping[int, Halted] = field(default_factory=dict)
    """The slots that are paused or stopped."""

    rules: Mapping[str, HeldRule] = field(default_factory=dict)
    """The rules of watchlists, by the name under which each claims."""

    limits: Mapping[str, Limits] = field(default_factory=dict)
    """The limits of watchlists that have other ones than usual."""

    @property
    def revision(self) -> int:
        """How many changes there have been so far."""
        return self.progress.revision

    @classmethod
    def replay(
        cls, layout: Layout, records: Iterable[tuple[int, str, bytes | None]]
    ) -> tuple[State, tuple[StateRecord, ...]]:
        """Build the state from the topic, read from its beginning or after compaction.

        Args:
            layout: where instruments may be.
            records: (partition, key, value), in order within each partition.

        Returns:
            The state, and tombstones for what does not belong there: an instrument in two
            partitions, which only a broker without transactions leaves, and values that are not
            what their key says.
        """
        latest: dict[tuple[int, str], bytes] = {}
        for partition, key, value in records:
            # first taken out, so that keys stand in the order of their last writes: what waits is
            # in the order in which it came
            latest.pop((partition, key), None)
            if value is not None:
                latest[partition, key] = value

        progress = LeaderProgress()
        replies: dict[str, Remembered] = {}
        waiting: dict[str, bytes] = {}
        halted: dict[int, Halted] = {}
        rules: dict[str, HeldRule] = {}
        limits: dict[str, Limits] = {}
        found: list[tuple[int, Subscription]] = []
        unexpected: list[StateRecord] = []
        for (partition, key), value in latest.items():
            try:
                if key == LEADER_KEY:
                    progress = LeaderProgress.decode(value)
                elif key.startswith(REPLY_PREFIX):
                    replies[key.removeprefix(REPLY_PREFIX)] = Remembered.decode(value)
                elif key.startswith(WAITING_PREFIX):
                    # as it is: what another version of the connector wrote is answered, not removed
                    # (`WaitingWork`)
                    waiting[key.removeprefix(WAITING_PREFIX)] = value
                elif key.startswith(RULE_PREFIX):
                    rules[key.removeprefix(RULE_PREFIX)] = HeldRule.decode(value)
                elif key.startswith(LIMITS_PREFIX):
                    limits[key.removeprefix(LIMITS_PREFIX)] = Limits.decode(value)
                elif key == HALT_KEY:
                    halted[partition] = Halted.decode(value)
                # keys of the leader's own that this version does not know are a later one's, and
                # left alone
                elif not key.startswith("@"):
                    found.append((token_of(key), Subscription.decode(partition, value)))
            except (ValueError, RecursionError):
                # a value that nobody can read is ended, else each leader would meet it again
                unexpected.append(StateRecord(partition, key, None))

        # the newest place of an instrument is the true one
        found.sort(key=lambda item: item[1].revision)
        subscriptions: dict[int, Subscription] = {}
        for token, subscription in found:
            if (older := subscriptions.pop(token, None)) is not None:
                unexpected.append(StateRecord(older.slot, str(token), None))
            subscriptions[token] = subscription
        state = cls(
            layout,
            Subscriptions.of(subscriptions),
            Replies(replies),
            progress,
            waiting,
            halted,
            rules,
            limits,
        )
        return state, tuple(unexpected)

    def applied(self, offset: int) -> tuple[State, StateRecord]:
        """The state after all messages of `kite.control` below `offset`, and its `@leader`."""
        after = replace(self, progress=self.progress._replace(offset=offset))
        return after, StateRecord(LEADER_PARTITION, LEADER_KEY, after.progress.encoded())
