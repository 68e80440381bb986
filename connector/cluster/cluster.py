"""The connector as one member of a cluster: the slots that it owns, and leadership while it has it.

Whoever owns partition k of `kite.subscriptions` owns slot k, and its socket; whoever owns the
partition of `kite.control` leads. A replica that owns neither is a standby. Nothing here decides
who owns what: the consumer group does.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final

import structlog

from connector.cluster.foreign import ForeignMembers, GroupReader, Held, reasons
from connector.cluster.handover_register import HandoverRegister
from connector.cluster.handovers import Handovers
from connector.cluster.intake import Intake
from connector.cluster.items import Item
from connector.cluster.layout import layout, partitions, slots_by_account
from connector.cluster.leadership import LEADER_STOP_SECONDS, Leadership
from connector.cluster.leaving import HAND_OVER_SECONDS, LeavingSlots
from connector.cluster.membership import Membership
from connector.cluster.slot import Slot, SlotPhase
from connector.cluster.spots import SpotReader
from connector.control.leader import Leader
from connector.control.memory import Memory
from connector.control.records import Halt
from connector.control.settings_claims import InstrumentGroup
from connector.control.status import rule_statuses, status
from connector.control.transactions import ControlLog
from connector.errors import KafkaError
from connector.kafka.groups import cluster_group
from connector.kafka.topics import TopicNames
from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.connection import Connection
from connector.kite.feed.credentials import Credentials
from connector.kite.feed.events import ConnectionEvent, ConnectionState, EventType
from connector.kite.feed.stats import ConnectionStats
from connector.kite.feed.wait import within
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import SubscribedInstrument
from connector.settings.models import Settings

# commands that wait for the list are refused after so long, and not left without an answer
REFRESH_SECONDS: Final = 60.0
# with the second that a socket has to close, well below the `CLOSE_SECONDS` that the member grants
DRAIN_SECONDS: Final = 4.0
LEAD_LOOK_SECONDS: Final = 0.05
"""So often it is looked whether the slots stream that a new leader waits for."""


class Cluster:
    """One replica: a `connector.service.slot_owner.SlotOwner`.

    Everything belongs to the event loop, but for the threads it holds.

    Args:
        settings: the whole tree.
        credentials: by the accounts' names.
        connect: makes a slot's connection; the default is a real one.
        clock: for timers and times.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Mapping[str, Credentials],
        *,
        connect: Callable[[int], Connection] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._settings = settings
        self._credentials = credentials
        self._connect = connect or self._connection
        self._clock = clock
        self._log = structlog.get_logger("connector.cluster")
        self._topics = TopicNames(settings.topics.prefix)
        self._group = cluster_group(settings.name, settings.topics.prefix)
        # slot → its account's place in the settings; a slot without an entry has no connection
        self._accounts = slots_by_account(settings.accounts)
        # what is owned, or held while the group is away; only the loop changes it, threads read
        # copies
        self._slots: dict[int, Slot] = {}
        # what becomes of the frames; set by `start`, before there is any slot
        self._intake: Intake | None = None
        # replaced whole by the loop at each new list, since the leader's thread reads it
        self._names = InstrumentMaster()
        self._membership = Membership(
            settings.kafka,
            settings.cluster,
            self._topics,
            settings.name,
            self,
            slots=partitions(settings.accounts),
            clock=clock,
        )
        self._foreign = ForeignMembers(
            GroupReader(settings.kafka, self._topics, settings.name).read,
            settings.name,
            self._foreign_changed,
            self._unowned,
        )
        self._handovers = Handovers(
            lambda: HandoverRegister(settings.kafka, self._topics, settings.name), clock
        )
        # slots that were given up and stream on, each until it is taken
        self._leaving = LeavingSlots(
            self._handovers, self._close, min(HAND_OVER_SECONDS, settings.grace_seconds / 2)
        )
        # at a stop: whether others are there to take what is given up
        self._hands_over = True
        # asked by the leader's thread; outlives a leadership, and has no thread of its own without
        # rules
        self._spots = SpotReader(settings.kafka, self._topics, settings.name)
        self._leadership = Leadership(self._make_leader)
        self._memory = Memory()  # of all leaders of this process
        # where the leader's thread hands over what belongs to the loop; set by `start`
        self._loop: asyncio.AbstractEventLoop | None = None
        # set once, at the end: slots that are assigned after it are not opened
        self._intake_stopped = False
        # as the service told last how its slots are; replaced whole, since the member's thread
        # reads it
        self._notes: Mapping[int, Mapping[str, Any]] = {}
        # what the leader's state says, made once a revision
        self._claims: tuple[SubscribedInstrument, ...] = ()
        self._claims_of: tuple[Leader | None, int] = (None, 0)

    # life

    async def start(self, intake: Intake) -> None:
        """Join the group; slots come as it assigns them, and each gets its handler."""
        self._loop = asyncio.get_running_loop()
        self._intake = intake
        self._membership.start()

    async def watch(self) -> None:
        """Look for other programs' members of the group, for as long as this runs."""
        await self._foreign.run()

    def _foreign_changed(self, held: Held) -> None:
        if not held:
            self._log.info("foreign_member_gone")
        for reason in reasons(held, self._group):
            self._log.error("foreign_member", reason=reason)
            if self._speaks_of(held):
                now_ms = self._clock.time_us() // 1000
                slot = min((one for one in held if one is not None), default=0)
                self._publish_event(
                    ConnectionEvent(EventType.FOREIGN_MEMBER, slot, now_ms, reason=reason)
                )

    def _unowned(self, slots: Collection[int], idlest: str) -> None:
        self._log.error("slots_without_owner", slots=slots)
        self._membership.step_back(idlest)

    def _speaks_of(self, held: Held) -> bool:
        """Whether this replica tells of it: the leader, or each where nobody can lead."""
        return self.leads or None in held

    async def stop_intake(self, hurry: asyncio.Event) -> None:
        """Close every socket, those that others take as soon as they are ready for them.

        Where nobody can take them this stays a member: nobody owns the slots before `release`.
        """
        self._intake_stopped = True
        if self._leader is not None:
            # it has come to its end by the time that the slots are given up
            self._leader.stop()
        self._hands_over = bool(self._slots) and not await self._handovers.alone()
        if self._hands_over:
            await self._membership.stop()
            await self._leaving.taken(hurry)
        await asyncio.gather(*(slot.close() for slot in self._slots.values()))

    async def release(self) -> None:
        """Leave the group: its slots and its leadership are free for others at once."""
        self._intake_stopped = True
        await self._membership.stop()
        # what is held is no partition of the member any more, so nobody has revoked it
        await self.revoked(list(self._slots), leads=True)

    def set_master(self, master: InstrumentMaster) -> None:
        """Use today's names; a leader gives every symbol its token of today."""
        self._names = master
        if self._leader is not None:
            self._leader.refreshed()

    def note(self, notes: Mapping[int, Mapping[str, Any]]) -> None:
        """Let other replicas know how the slots are."""
        self._notes = notes

    # looking at it

    @property
    def leads(self) -> bool:
        """Whether this replica is the leader."""
        return self._leader is not None

    @property
    def slots(self) -> dict[int, Slot]:
        """The slots that this replica owns, or holds while Kafka is away."""
        return dict(self._slots)

    def stats(self) -> list[ConnectionStats]:
        """The counts of this replica's connections, in order of their slots."""
        return [
            slot.connection.stats
            for _, slot in sorted(self._slots.items())
            if slot.connection is not None
        ]

    def not_ready(self) -> list[str]:
        """Explain why this replica does not do its part; a standby does its part by waiting."""
        if self._membership.error is not None:
            return [f"no member of the cluster: {self._membership.error}"]
        if (joining := self._membership.joining) is not None:
            return [joining]
        held = self._foreign.held
        found = reasons(held, self._group) if self._speaks_of(held) else []
        if self._leader is not None and (trouble := self._leader.trouble) is not None:
            found.append(f"the leader hears no command: {trouble}")
        for number, slot in sorted(self._slots.items()):
            where = f"slot {number} ({self._account_name(number)})"
            if slot.connection is None:
                if slot.phase is not SlotPhase.IDLE and slot.halt is not Halt.STOPPED:
                    found.append(f"{where} is {slot.phase}")
            elif slot.connection.state is not ConnectionState.CONNECTED:
                words = slot.connection.state.value.replace("_", " ")
                last_error = slot.connection.stats.last_error
                found.append(f"{where} is {words}{f': {last_error}' if last_error else ''}")
            elif trouble := slot.connection.stats.trouble:
                found.append(f"{where}: {trouble}")
            if slot.unwritten:
                found.append(
                    f"{where} streams what it did: {self._topics.subscriptions} was made anew, and "
                    "no leader has written it yet"
                )
            if slot.kept:
                found.append(
                    f"{where} streams {len(slot.kept)} instruments that "
                    f"{self._topics.subscriptions}, made anew, lacks: subscribe them again, or "
                    f"let them go with kite-connector ctl reconnect {number}"
                )
        return found

    def missing_topics(self) -> frozenset[str]:
        """Return the topics of the control plane that were found missing."""
        leader = self._leader
        return self._membership.missing.union(leader.missing if leader is not None else ())

    def claims(self) -> Sequence[SubscribedInstrument]:
        """The instruments that are subscribed; only a leader knows them."""
        leader = self._leader
        state = leader.state if leader is not None else None
        if state is None:
            return ()
        if (revision := (leader, state.revision)) != self._claims_of:
            self._claims_of = revision
            self._claims = tuple(
                SubscribedInstrument(token, subscription.symbol, subscription.expiry)
                for token, subscription in list(state.subscriptions.items())
            )
        return self._claims

    def unresolved(self) -> list[str]:
        """The instruments of the settings that have no slot; only a leader knows them."""
        return list(self._leader.unresolved) if self._leader is not None else []

    def names(self) -> InstrumentMaster:
        """Return today's names of instruments."""
        return self._names

    def subscriptions(self) -> None:
        """Return nothing: `kite.subscriptions` tells, of all slots."""

    def carried(self, slot: int) -> list[int] | None:
        """Return the instruments of a slot; only a leader that has read its state knows them."""
        leader = self._leader
        state = leader.state if leader is not None else None
        if state is None:
            return None
        return [token for token, one in state.subscriptions.items() if one.slot == slot]

    def silent_tokens(self, slot: int) -> Collection[int] | None:
        """Return who has sent no packet on a slot's socket; None where it is not this replica's."""
        known = self._slots.get(slot)
        if known is None or known.connection is None:
            return None
        return known.connection.silent_tokens()

    def unserved(self) -> list[tuple[int, int, float]]:
        """Return who has sent nothing although asked again: (slot, token, seconds)."""
        return [
            (number, token, seconds)
            for number, slot in self._slots.items()
            if slot.connection is not None
            for token, seconds in slot.connection.unserved()
        ]

    def status(self) -> dict[str, Any]:
        """Describe what this replica knows of the cluster, for the status page."""
        leader = self._leader
        state = leader.state if leader is not None else None
        revision = max((slot.revision for slot in self._slots.values()), default=0)
        watchlists: dict[str, int] | None = None
        rules: list[dict[str, Any]] | None = None
        if state is not None:
            revision = state.revision
            watchlists = status(state).watchlists
            rules = [rule.model_dump(mode="json") for rule in rule_statuses(state)]
        return {
            "name": self._settings.name,
            "leader": leader is not None,
            "role": "standby" if not self._slots else "owner",
            "revision": revision,
            "rebalances": self._membership.rebalances,
            "slots": {
                number: {
                    "account": self._account_name(number),
                    "phase": slot.phase.value,
                    "state": slot.connection.state.value if slot.connection else None,
                    "halt": slot.halt.value if slot.halt else None,
                    "instruments": len(slot.desired),
                    "kept": len(slot.kept),
                }
                for number, slot in sorted(self._slots.items())
            },
            "watchlists": watchlists,
            "rules": rules,
            "waiting_for_room": None
            if leader is None
            else {account or "": count for account, count in leader.waiting_for_room.items()},
            "foreign": {
                "leader" if one is None else str(one): owner
                for one, owner in self._foreign.held.items()
            },
            "spots_problem": self._spots.problem if leader is not None else None,
            "commands": None
            if leader is None
            else {
                "serving": leader.serves,
                "applied": leader.commands,
                "rejected": leader.rejected,
                "dead_letters": leader.dead_letters,
                "aborted": leader.aborted,
                "refused": leader.refused,
                "fenced": leader.fenced,
            },
        }

    # Member: what the group says

    def assigned(
        self, slots: Sequence[int], *, leads: bool, last_frames_us: Mapping[int, int]
    ) -> None:
        """Own these slots; a connection that was held, or has not been taken yet, goes on."""
        ready = self._handovers.arriving(slots) if slots else None
        for number in slots:
            slot = self._slots.get(number)
            if slot is not None and slot.phase is not SlotPhase.CLOSED:
                if slot.phase is SlotPhase.LEAVING:
                    self._leaving.take_back(number)
                slot.reload()
                continue
            if self._intake_stopped:
                # another one that left before had it; it goes back with the rest in a moment
                continue
            self._slots[number] = Slot(
                number,
                self._connector(number),
                self._settings.connection.max_symbols_per_connection,
                self._clock,
                # it may come back while its old socket is still closing
                after=slot.closed if slot is not None else None,
                last_frame_us=last_frames_us.get(number),
                ready=functools.partial(ready, number) if ready is not None else None,
                on_event=self._publish_event,
            )
        if leads:
            self._leadership.start()
            self._let_lead()

    def apply(self, items: Sequence[Item]) -> None:
        """Give each slot the records of its partition."""
        by_slot: dict[int, list[Item]] = {}
        for item in items:
            by_slot.setdefault(item.slot, []).append(item)
        for number, own in by_slot.items():
            slot = self._slots.get(number)
            if slot is not None and slot.phase is not SlotPhase.CLOSED:
                slot.apply(own)

    async def hand_over(self, slots: Sequence[int]) -> Collection[int]:
        """Let the slots that stream go on after they were given up, until they are taken."""
        if not self._hands_over:
            return ()
        return await self._leaving.announce(
            [slot for number in slots if (slot := self._slots.get(number)) is not None]
        )

    async def revoked(self, slots: Sequence[int], *, leads: bool) -> dict[int, int]:
        """Close these slots' sockets and end a leadership, all at the same time."""
        given_up = [slot for number in slots if (slot := self._slots.get(number)) is not None]
        ends = [self._close(slots), *([self._leadership.stop()] if leads else [])]
        for outcome in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(outcome, Exception):
                self._log.error("close_failed", exc_info=outcome)
        return {slot.number: time_us for slot in given_up if (time_us := slot.gap_from_us)}

    def last_frames_us(self) -> dict[int, int]:
        """When each slot's last frame came, UTC microseconds; called from the member's thread."""
        frames = {number: slot.last_frame_us for number, slot in list(self._slots.items())}
        return {number: time_us for number, time_us in frames.items() if time_us is not None}

    def slot_notes(self) -> Mapping[int, Mapping[str, Any]]:
        """How each slot is, as `note` was told last; called from the member's thread."""
        return self._notes

    def applied_offset(self) -> int | None:
        """The offset of `kite.control` that the present or the last leader of here has come to."""
        last = self._leadership.last
        return None if last is None else last.applied_offset

    def held(self, slots: Sequence[int], *, topic_gone: bool = False) -> None:
        """Keep streaming: nobody can take these slots over while there is no group or no topic."""
        for number in slots:
            if (slot := self._slots.get(number)) is not None:
                slot.hold(topic_gone=topic_gone)

    async def not_reassigned(self, after_seconds: float) -> None:
        """Close the held slots that the group, which is back, has not assigned to us again."""
        if after_seconds:
            waited = asyncio.Event()
            self._clock.call_later(after_seconds, waited.set)
            await waited.wait()
        held = [n for n, slot in self._slots.items() if slot.phase is SlotPhase.HELD]
        if held:
            self._log.warning("slots_reassigned", slots=held)
            await self._close(held)

    # slots

    def _started(self) -> Intake:
        assert self._intake is not None  # noqa: S101 - start() comes first
        return self._intake

    def _connector(self, number: int) -> Callable[[], Connection] | None:
        if number not in self._accounts:
            return None
        return lambda: self._connect(number)

    def _connection(self, number: int) -> Connection:
        account = self._settings.accounts[self._accounts[number]]
        return Connection(
            number,
            self._credentials[account.name],
            self._settings.connection,
            self._started().handler(number),
            root=self._settings.feed.root,
            clock=self._clock,
        )

    def _account_name(self, number: int) -> str | None:
        account = self._accounts.get(number)
        return None if account is None else self._settings.accounts[account].name

    async def _close(self, numbers: Sequence[int]) -> None:
        async def close(number: int) -> None:
            slot = self._slots.get(number)
            if slot is None:
                return
            try:
                await slot.close()
                intake = self._intake if slot.opened else None
                if intake is not None and not await within(DRAIN_SECONDS, intake.drained(number)):
                    self._log.warning("slot_released_undrained", slot=number)
            finally:
                # also where the member waits no more, as in a process that was frozen: the slot is
                # another's by then; it may have been assigned anew while this one closed
                if self._slots.get(number) is slot:
                    del self._slots[number]

        # each to its end: a partition may be given up behind this, whatever one of them came to
        outcomes = await asyncio.gather(*map(close, numbers), return_exceptions=True)
        if errors := [one for one in outcomes if isinstance(one, Exception)]:
            raise errors[0]

    # leadership

    @property
    def _leader(self) -> Leader | None:
        return self._leadership.leader

    def _let_lead(self) -> None:
        """Let a new leader begin as soon as the slots stream; looks again until then."""
        if not self._leadership.waits:
            return
        if any(slot.begins for slot in self._slots.values()):
            self._clock.call_later(LEAD_LOOK_SECONDS, self._let_lead)
        else:
            self._leadership.begin()

    def _make_leader(self) -> Leader:
        settings = self._settings
        wanted: dict[InstrumentGroup, list[int | str]] = {}
        for group in settings.instruments:
            wanted.setdefault(InstrumentGroup(group.mode, group.account), []).extend(
                group.instruments
            )
        return Leader(
            self._open_log,
            layout(settings),
            lambda: self._names,
            wanted=wanted,
            max_bytes=settings.cluster.command_max_bytes,
            clock=self._clock,
            refresh=self._begin_refresh if self._started().can_refresh else None,
            on_event=self._publish_event,
            prices=self._spots,
            memory=self._memory,
            # a stale leader has lost the partition and has ended by then: the rightful one is left
            # alone
            fenced_seconds=settings.cluster.session_timeout_seconds + LEADER_STOP_SECONDS,
        )

    def _open_log(self) -> ControlLog:
        return ControlLog(self._settings.kafka, self._topics, self._settings.name)

    def _begin_refresh(self, accept_list: bool) -> Future[None]:
        """Begin to load the list; called in the leader's thread, which polls the future."""
        assert self._loop is not None  # noqa: S101 - start() comes first
        intake = self._started()

        async def refresh() -> None:
            try:
                await asyncio.wait_for(intake.refresh(accept_list), REFRESH_SECONDS)
            except TimeoutError as error:
                raise KafkaError(
                    f"the instrument master was not loaded within {REFRESH_SECONDS:g} s"
                ) from error

        return asyncio.run_coroutine_threadsafe(refresh(), self._loop)

    def _publish_event(self, event: ConnectionEvent) -> None:
        """Hand an event to the event loop; called in the leader's thread."""
        assert self._loop is not None  # noqa: S101 - start() comes first
        self._loop.call_soon_threadsafe(self._started().event, event)
