"""The state that was committed last, for a topic of it that is made anew. Pure.

`kite.subscriptions` is the whole memory of a cluster, and somebody may delete it. Whoever leads
still has the state then, and writes all of it into the topic that takes the deleted one's place.
That is right however old the state is: it says up to which message of `kite.control` it goes, and
whatever was commanded since is applied again from there.
"""

from __future__ import annotations

from dataclasses import replace

from connector.control.draft import Draft
from connector.control.halts import halt_records
from connector.control.held_rules import rule_records
from connector.control.limits import limits_records
from connector.control.records import (
    HALT_KEY,
    LEADER_PARTITION,
    REPLY_PREFIX,
    WAITING_PREFIX,
    LeaderProgress,
    StateRecord,
)
from connector.control.state import Layout, State
from connector.kite.web.instruments import InstrumentMaster


class Memory:
    """What a process remembers over its leaderships; belongs to one leader's thread at a time."""

    def __init__(self) -> None:
        self.state: State | None = None
        """As last committed by a leader of this process; None before there was one."""
        self.topic_id: str | None = None
        """The id of the `kite.subscriptions` that has this state; None where there are no ids."""

    def lost_to(self, topic_id: str | None, found: State) -> State | None:
        """Return the state that a topic lacks which was made anew; None where it lacks none.

        Args:
            topic_id: of the topic that is there now.
            found: what this topic says. Where another leader has begun anew, that counts.
        """
        if self.state is None or None in (topic_id, self.topic_id) or topic_id == self.topic_id:
            return None
        # what was committed before this leader knew of it stands in the new topic already
        begun = found.progress not in (LeaderProgress(), self.state.progress)
        return None if begun else self.state


def all_records(
    state: State, layout: Layout, partitions: int
) -> tuple[State, tuple[StateRecord, ...]]:
    """Return a state in a topic of its own: with this layout, and all records that say it.

    Each partition of a slot gets a record at least, by which the slot's owner knows that the state
    was written: `@halt`, as a tombstone where the slot streams.

    Args:
        state: what is to be written.
        layout: the slots that there are now.
        partitions: of the topic; what waits for room in one that is no more stands in another.
    """
    if any(one.slot >= partitions for one in state.subscriptions.values()):
        draft = state.subscriptions.draft()
        draft.change(
            {
                token: one._replace(slot=one.slot % partitions)
                for token, one in state.subscriptions.items()
                if one.slot >= partitions
            }
        )
        state = replace(state, subscriptions=draft.finish())
    state, _ = Draft(replace(state, layout=layout), InstrumentMaster(), 0).finish()
    rules, _ = rule_records({}, state.rules)
    return state, (
        *(
            StateRecord(one.slot, str(token), one.encoded(token))
            for token, one in state.subscriptions.items()
        ),
        *(
            StateRecord(LEADER_PARTITION, REPLY_PREFIX + command_id, one.encoded())
            for command_id, one in state.replies.items()
        ),
        *(
            StateRecord(LEADER_PARTITION, WAITING_PREFIX + command_id, value)
            for command_id, value in state.waiting.items()
        ),
        *rules,
        *limits_records({}, state.limits),
        *halt_records({}, state.halted),
        *(StateRecord(slot, HALT_KEY, None) for slot in layout.slots if slot not in state.halted),
    )
