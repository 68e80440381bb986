"""Membership of the consumer group: which slots this process owns, and what their topic says.

confluent_kafka's consumer blocks, and tells of rebalances from within `poll`: so it has a thread
of its own, and nobody else touches it. What it learns goes to the event loop in batches; where a
slot is taken away, the thread waits (a bounded time) until the loop has announced its hand-over, or
closed its socket, and only then gives the partition up. The loop never waits for the thread but in
`stop`, so the two cannot wait for each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaException,
    TopicPartition,
)
from confluent_kafka import KafkaError as Code

from connector.cluster.frames import KEEP_SECONDS, READ_SECONDS, SlotFrames, signed
from connector.cluster.items import Assignee, CaughtUp, Item, item_of
from connector.cluster.loop_calls import CLOSE_SECONDS, LoopCalls
from connector.cluster.member_client import METADATA_REFRESH_MS, member_properties
from connector.cluster.probe import PROBE_SECONDS, coordinator_answers, topics_gone
from connector.cluster.refusals import fenced, refusal
from connector.errors import ConnectorError
from connector.kafka.config import ClientLog
from connector.kafka.groups import cluster_group
from connector.kafka.logins import Borrowed, follow
from connector.kafka.reader import fetched
from connector.kafka.renewals import standing
from connector.kafka.topics import TopicNames
from connector.kite.clock import SYSTEM_CLOCK, Clock, ClockWatch
from connector.settings.models import ClusterSettings, KafkaSettings

POLL_SECONDS: Final = 0.2
"""So often confluent-kafka (2.16) wakes a thread that polls, however long it is to wait."""
REJOIN_SECONDS: Final = 5.0
"""A member joins again so long after an error that the client cannot mend by itself."""
JOIN_SECONDS: Final = 10.0
"""Replicas that come while others stream join at full multiples of it."""
USUAL_JOIN_SECONDS: Final = 15.0
"""A member that the group does not know by then waits for something: a gathering takes less."""
REVOKE_SECONDS: Final = 0.75
"""A revoked slot that cannot be handed over streams on for so long, and a leader leads on.
librdkafka (2.16) asks to join at most once a second, and has just done so: before that second is
over nobody can be given either."""
REASSIGN_SECONDS: Final = 5.0
"""How long slots that were held wait for an assignment once a coordinator has answered, on top of
the session timeout: so long it may wait for the members that it knew before the outage."""
MISSING_SECONDS: Final = 2.0
"""So often a missing topic is looked for."""
REFUSED_SECONDS: Final = 15.0
"""How long a refusal counts: the client asks again at least as often, and is refused again."""
# other members wait for the slots while this one leaves, so it looks often
_LEAVE_POLL_SECONDS: Final = 0.02

_ONE_PARTITION: Final = (
    "only commands in partition 0 are read: stop all replicas and delete the topic; the start "
    "makes it anew with one partition"
)


class Membership:
    """One member of the group, in a thread.

    Args:
        kafka: how brokers are reached.
        cluster: session timeout and protocol.
        topics: the topics' names.
        name: the connector's, the first part of the group's.
        member: told of everything.
        slots: partitions that the accounts need, to look whether others stream already.
        clock: for how long a refusal counts, and for when to join.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        cluster: ClusterSettings,
        topics: TopicNames,
        name: str,
        member: Assignee,
        *,
        slots: int = 0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._kafka = kafka
        self._slots = slots
        self._clock = clock
        self._watch = ClockWatch(lambda: clock.time_us() / 1e6, clock.monotonic)
        self._cluster = cluster
        self._topics = topics
        self._name = name
        self._member = member
        self._log = structlog.get_logger("connector.cluster")
        # set by the event loop, looked at by the thread between polls
        self._stopping = threading.Event()
        self._stepping_back: str | None = None  # who is to leave the group and join it anew
        # the only user of the consumer: it blocks, and calls back from within `poll`
        self._thread: threading.Thread | None = None
        # resolved in the loop when the thread has left the group
        self._done: asyncio.Future[None] | None = None
        # slots that were lost while no coordinator answered: their sockets stay open
        self._held = False
        self._renewing = False  # by a client that the group takes for the same member
        # … or their topic was not there
        self._topic_gone = False
        self._rejoining = False  # one answers again; the assignment is awaited with slots held
        # what brokers refuse this member, each logged once while it lasts, and until when the
        # last refusal counts: the client asks again for ever, and says nothing when it succeeds
        self._refusals: set[str] = set()
        self._refused_until = 0.0
        # topics that were not there: the client tells once of each
        self._missing: set[str] = set()
        # slots that are held, which others may own
        self._held_slots: set[int] = set()
        # slots of the present assignment, as the thread knows them
        self._owned: set[int] = set()
        # what the brokers know this process by, over its restarts; of the classic protocol alone:
        # the other one refuses a restarted process's until the session of the dead one has ended
        classic = cluster.group_protocol == "classic"
        self._instance = cluster.instance if classic else None
        # whether it owns the partition of `kite.control`, and when its progress is kept next
        self._leads = False
        self._progress_after = 0.0
        # when each slot's last frame came, kept in the group for the next owner
        self._frames = SlotFrames(topics.subscriptions, clock, self._instance)
        # assignments, revocations and losses: a metric, by which a flapping group is seen
        self.rebalances = 0
        self._began = 0.0  # when `start` was called
        self.joined = False
        """Whether the group has known this member at some time."""
        self.error: str | None = None
        """Why it is no member at the moment, where that is not simply new."""

    @property
    def missing(self) -> frozenset[str]:
        """The topics of the group that do not exist; any thread may ask."""
        return frozenset(self._missing)

    @property
    def joining(self) -> str | None:
        """Say that the group does not know this member yet, and after a while why; else None."""
        if self.joined:
            return None
        seconds = self._clock.monotonic() - self._began
        if seconds < USUAL_JOIN_SECONDS:
            return "joining the cluster"
        timeout = f"cluster.session_timeout_seconds, {self._cluster.session_timeout_seconds:g} s"
        return f"joining the cluster for {seconds:.0f} s; a killed one is missed after {timeout}"

    def start(self) -> None:
        """Join the group; returns at once."""
        self._began = self._clock.monotonic()
        loop = asyncio.get_running_loop()
        self._done = loop.create_future()
        # where the thread hands what it learns, since sockets belong to the loop
        self._loop = LoopCalls(loop)
        self._thread = threading.Thread(target=self._run, name="cluster-member", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Leave the group: what is owned is revoked first, as in any rebalance."""
        self._stopping.set()
        if self._done is not None:
            await self._done

    def step_back(self, member_id: str) -> None:
        """Leave the group and join it again, where this is the member; slots stream on."""
        self._stepping_back = member_id

    def properties(self) -> dict[str, Any]:
        """The properties of the member's consumer, as librdkafka has them."""
        return member_properties(
            self._kafka, self._cluster, self._topics.prefix, self._name, self._instance
        )

    # in the thread

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._be_member()
                    if not self._stopping.is_set():
                        continue  # with what its files hold now
                except KafkaException as error:
                    if self._instance is not None and fenced(error.args[0]):
                        # whoever has the name now has the slots: this one goes on without it
                        self._log.error("instance_taken", instance=self._instance)
                        self._instance = None
                    if not self._refused(error.args[0], None):
                        # of this client alone: the next one may not meet it
                        self.error = error.args[0].str()
                        self._log.warning("membership_failed", reason=self.error)
                except ConnectorError as error:  # a file of certificates that is being replaced
                    self.error = str(error)
                    self._log.warning("membership_failed", reason=self.error)
                except Exception as error:  # noqa: BLE001 - a bug; without a member nobody streams
                    self.error = repr(error)
                    self._log.exception("membership_failed")
                # whatever it was not told of, it must not keep either
                self._loop.wait(self._member.revoked(sorted(self._owned), leads=True), closes=True)
                self._owned.clear()
                self._leads = False
                if not self._stopping.is_set():
                    self._stopping.wait(REJOIN_SECONDS)
        finally:
            self._loop.call(self._finish)

    def _be_member(self) -> None:
        """Be a member until the end, or until the client has to read its files anew."""
        # before the client reads the files: one that changes meanwhile outdates it
        made = standing(self._kafka)
        consumer = Consumer(self.properties(), logger=ClientLog("member"))
        login = Borrowed(consumer)
        follow(self._kafka, login)
        try:
            # one that joins again after an error does not wait: its slots may have no owner
            if not self.joined:
                self._gather(consumer)
            consumer.subscribe(
                [self._topics.control, self._topics.subscriptions],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            while not (self._stopping.is_set() or made.outdated or self._steps_back(consumer)):
                self._poll(consumer)
            # only by its instance id does the group take the next client for this member; without
            # one the slots are revoked, as in any rebalance
            named = self._instance is not None
            self._renewing = named and made.outdated and not self._stopping.is_set()
            if named and not self._renewing:
                self._leave(consumer)
        finally:
            # first: no login may reach a client that is being closed
            login.give_back()
            # revokes what is owned, through the same callback
            consumer.close()
            self._renewing = False

    def _steps_back(self, consumer: Consumer) -> bool:
        named, self._stepping_back = self._stepping_back, None
        return named is not None and consumer.memberid() == named

    def _leave(self, consumer: Consumer) -> None:
        """Give everything up before the end.

        A member with an instance id that only closes is expected back, and nobody gets its slots
        before the session timeout. It has left when its member id is gone: closed sooner, it only
        closes.
        """
        consumer.unsubscribe()
        end = self._clock.monotonic() + CLOSE_SECONDS
        while consumer.memberid() and self._clock.monotonic() < end:
            consumer.poll(_LEAVE_POLL_SECONDS)

    def _gather(self, consumer: Consumer) -> None:
        """Let replicas that start together join together, where others stream already.

        Each join moves slots, and a slot that moves is closed for a moment: ten replicas that came
        one by one would move them ten times. Nobody has to agree on anything: all wait for the
        next full `JOIN_SECONDS` of the wall clock. A group that streams nothing, or no more, is
        joined at once; there the brokers' group.initial.rebalance.delay.ms gathers. So is one that
        still knows this process by its instance id: it takes up what it had, and moves nothing.
        """
        streaming = self._streaming(consumer)
        if not streaming or (self._instance is not None and self._instance in streaming.values()):
            return
        wait_seconds = JOIN_SECONDS - self._clock.time_us() / 1e6 % JOIN_SECONDS
        self._log.info("join_gathers", seconds=round(wait_seconds, 1), streaming=len(streaming))
        end = self._clock.monotonic() + wait_seconds
        # the last one of them may be stopped meanwhile: it knows of nobody who could take its slots
        while streaming and (left_seconds := end - self._clock.monotonic()) > 0:
            if self._stopping.wait(min(left_seconds, KEEP_SECONDS)):
                return
            streaming = self._streaming(consumer)

    def _streaming(self, consumer: Consumer) -> dict[int, str | None]:
        """Return the slots that others stream, by what they have left, with their instances."""
        now = self._clock.time_us() / 1e6
        return {
            slot: left.instance
            for slot, left in self._frames.read(consumer, list(range(self._slots))).items()
            if left.owned
            and abs(now - left.last_frame_us / 1e6) < self._cluster.session_timeout_seconds
        }

    def _finish(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _poll(self, consumer: Consumer) -> None:
        if self._watch.was_set_back():
            self._log.warning("clock_set_back")
            # asks librdkafka's main thread, whose heartbeats would wait for the time that it was
            consumer.memberid()
        if items := self._received(consumer):
            self._loop.call(self._member.apply, items)
        self._frames.keep(
            consumer, self._member.last_frames_us, self._owned, self._member.slot_notes()
        )
        if self._clock.monotonic() >= self._progress_after:
            self._progress_after = self._clock.monotonic() + KEEP_SECONDS
            self._keep_progress(consumer)
        if self._rejoining and (taken := self._frames.signed_by_others(consumer, self._held_slots)):
            self._held_slots -= taken
            self._log.warning("held_slots_taken", slots=sorted(taken))
            self._loop.begin(self._member.revoked(sorted(taken), leads=False))
        self._check_joined(consumer)

    def _received(self, consumer: Consumer) -> list[Item]:
        """Return what has come, after a wait for the first of it."""
        items: list[Item] = []
        for message in fetched(consumer, POLL_SECONDS):
            error = message.error()
            self._frames.reached(message)
            if error is None:
                if (item := item_of(message, self._topics)) is not None:
                    items.append(item)
            elif error.code() == Code._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                if message.topic() == self._topics.subscriptions:
                    items.append(CaughtUp(message.partition() or 0, message.offset() == 0))
            # this client does nothing any more: `_run` makes another
            elif error.fatal() or error.code() == Code._FATAL:  # noqa: SLF001
                raise KafkaException(error)
            elif not self._refused(error, message.topic()):
                self._log.debug("consumer_error", reason=error.str())
        # all in one turn of the event loop, in which no frame is read: `AT_ONCE` at the most
        return items

    def _check_joined(self, consumer: Consumer) -> None:
        """See whether the group knows the member, and has given it what it holds."""
        joins = not self.joined or self.error is not None
        waits = self._topic_gone and bool(self._missing)
        rejoins = self._held and not self._rejoining and not waits
        # only while it matters: librdkafka's main thread has to be asked
        if not (joins or rejoins) or not consumer.memberid():
            return
        # a client may have a member id, and be refused all the same
        if joins and self._clock.monotonic() >= self._refused_until:
            if self._still_missing(consumer):
                self._refused_until = self._clock.monotonic() + MISSING_SECONDS
                return
            self.joined = True
            self.error = None
        if rejoins:
            # a member that gets nothing is told nothing, so this is the only sign
            self._rejoining = True
            patience = self._cluster.session_timeout_seconds + REASSIGN_SECONDS
            if self._topic_gone:  # so long the client needs to see it again
                patience += METADATA_REFRESH_MS / 1000
                self._topic_gone = False
            self._loop.begin(self._member.not_reassigned(patience))

    def _keep_progress(self, consumer: Consumer) -> None:
        """Commit how far `kite.control` is applied, for whoever monitors the group's lag.

        A leader goes by its own record of the state, not by this. What others need of it is who
        has written it: another program's member writes none (`connector.cluster.foreign`). So one
        that cannot lead yet signs what stands there. What is refused, as in a rebalance, is left
        to the next time.
        """
        if not self._leads:
            return
        place = TopicPartition(self._topics.control, 0)
        with contextlib.suppress(KafkaException, ValueError):
            offset = self._member.applied_offset()
            if offset is None:
                (found,) = consumer.committed([place], timeout=READ_SECONDS)
                offset = max(found.offset, 0)
            word = signed(consumer.memberid() or "")
            place = TopicPartition(self._topics.control, 0, offset, word)
            consumer.commit(offsets=[place], asynchronous=True)

    def _refused(self, error: Any, topic: str | None) -> bool:
        """Whether a broker refuses the member, which asks again for ever: somebody has to act."""
        group = cluster_group(self._name, self._topics.prefix)
        reason = refusal(error, topic, group, self._cluster)
        if reason is None:
            return False
        if error.code() == Code.UNKNOWN_TOPIC_OR_PART and topic is not None:
            self._missing.add(topic)
        if reason not in self._refusals:
            self._refusals.add(reason)
            self._log.error("member_refused", reason=reason)
        self.error = reason
        counts_seconds = MISSING_SECONDS if topic in self._missing else REFUSED_SECONDS
        self._refused_until = self._clock.monotonic() + counts_seconds
        return True

    def _still_missing(self, consumer: Consumer) -> bool:
        """Whether a topic that was missing is so yet: without one nothing is assigned."""
        for topic in list(self._missing):
            with contextlib.suppress(KafkaException):
                found = consumer.list_topics(topic, timeout=PROBE_SECONDS).topics[topic]
                if found.error is None:
                    self._missing.discard(topic)
        return bool(self._missing)

    # callbacks, from within poll or close

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        slots, leads = self._split(partitions)
        for partition in partitions:
            # the leader reads the control topic with a consumer of its own: this one only owns it
            control = partition.topic == self._topics.control
            partition.offset = OFFSET_END if control else OFFSET_BEGINNING
        # a cooperative rebalance names only what is new, on top of what is owned
        self._incremental(consumer.incremental_assign, partitions)
        controls = [p.partition for p in partitions if p.topic == self._topics.control]
        if controls:
            consumer.pause([TopicPartition(self._topics.control, number) for number in controls])
        if any(controls):
            self._log.error(
                "control_topic_has_partitions", topic=self._topics.control, advice=_ONE_PARTITION
            )
        self._missing.difference_update(one.topic for one in partitions)
        self._owned.update(slots)
        self._leads = self._leads or leads
        if partitions:
            self.rebalances += 1
            self._log.info("partitions_assigned", slots=slots, leads=leads)
        # before the loop hears of the slots, since a connection begins with the gap that this tells
        left = self._frames.read(consumer, slots)
        last_frames_us = {slot: one.last_frame_us for slot, one in left.items()}
        # before any record of these slots: those come out of later polls, and the loop keeps the
        # order of calls
        self._loop.call(self._assigned, slots, leads, last_frames_us)
        if self._held and self._topics.subscriptions not in self._missing:
            # what is not among these, others own or are about to
            self._held = self._rejoining = self._topic_gone = False
            self._held_slots.clear()
            self._loop.begin(self._member.not_reassigned(0))

    def _assigned(self, slots: list[int], leads: bool, last_frames_us: dict[int, int]) -> None:
        self._member.assigned(slots, leads=leads, last_frames_us=last_frames_us)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        slots, leads = self._split(partitions)
        self.rebalances += 1
        if self._renewing:
            self._log.info("membership_renewed", slots=slots, leads=leads)
            # well within the session: as long as it lasts, nobody else is given the slots
            patience = self._cluster.session_timeout_seconds / 2
            self._keep_streaming(consumer, partitions, for_seconds=patience)
            return
        self._look_for(partitions)
        if slots and self._topic_is_gone():
            self._keep_streaming(consumer, partitions)
            return
        self._log.info("partitions_revoked", slots=slots, leads=leads)
        streaming = self._loop.wait(self._member.hand_over(slots)) or ()
        closing = [slot for slot in slots if slot not in streaming]
        # only the classic protocol has that second, and at a stop what is not handed over is closed
        waits = self._cluster.group_protocol == "classic" and not self._stopping.is_set()
        if streaming or waits:
            # as it is now, should the next owner hear nothing later
            now_us = self._member.last_frames_us()
            self._frames.hand_over(consumer, {s: now_us[s] for s in slots if s in now_us})
        if closing or leads:
            if waits:
                self._stopping.wait(REVOKE_SECONDS)
            last_frames_us = self._loop.wait(
                self._member.revoked(closing, leads=leads), closes=True
            )
            # while the group still knows this member as their owner
            self._frames.hand_over(consumer, last_frames_us or {})
        if leads:
            if self._member.applied_offset() is not None:
                self._keep_progress(consumer)
            self._leads = False
        self._owned.difference_update(slots)
        self._incremental(consumer.incremental_unassign, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        slots, leads = self._split(partitions)
        self.rebalances += 1
        if slots and self._topic_is_gone():
            self._keep_streaming(consumer, partitions)
        # at a stop all is given up in any case, and the question may take `PROBE_SECONDS`
        elif self._stopping.is_set() or self._coordinator_answers():
            self._log.warning("partitions_lost", slots=slots, leads=leads)
            self._loop.wait(self._member.revoked(slots, leads=leads), closes=True)
            self._disown(consumer, partitions)
        else:
            self._log.warning("coordinator_unreachable", slots=slots, leads=leads)
            self._keep_streaming(consumer, partitions)

    def _keep_streaming(
        self,
        consumer: Consumer,
        partitions: list[TopicPartition],
        *,
        for_seconds: float | None = None,
    ) -> None:
        """Give the partitions up while their slots' sockets stay open: nobody else has them."""
        slots, leads = self._split(partitions)
        self._held = True
        self._held_slots.update(slots)
        self._loop.call(partial(self._member.held, slots, topic_gone=self._topic_gone))
        if for_seconds is not None:
            self._loop.begin(self._member.not_reassigned(for_seconds))
        # it could write nothing now, and begins anew with the next assignment
        if leads:
            self._loop.wait(self._member.revoked([], leads=True), closes=True)
        self._disown(consumer, partitions)

    def _look_for(self, partitions: Sequence[TopicPartition]) -> None:
        """Note which topics are gone; by `consumer` they are taken away before the client knows."""
        if self._cluster.group_protocol == "classic" or self._stopping.is_set():
            return
        for topic in topics_gone(self._probing(), {one.topic for one in partitions}):
            self._missing.add(topic)
            self.error = f"{topic} does not exist"

    def _topic_is_gone(self) -> bool:
        """Whether the slots are taken away since their topic was deleted: then nobody has them."""
        gone = self._topics.subscriptions in self._missing and not self._stopping.is_set()
        if gone:
            self._topic_gone = True
            self._log.error("subscriptions_topic_missing", slots=sorted(self._owned))
        return gone

    def _disown(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        slots, leads = self._split(partitions)
        self._leads = self._leads and not leads
        self._owned.difference_update(slots)
        self._incremental(consumer.incremental_unassign, partitions)

    def _coordinator_answers(self) -> bool:
        """Whether the group can be reached at all.

        librdkafka reports partitions as lost both when the coordinator says so and when it has not
        been heard for a session timeout. Only in the first case may another own them.
        """
        return coordinator_answers(self._probing(), self._topics.control)

    def _probing(self) -> dict[str, Any]:
        return {**self.properties(), "client.id": f"{self._name}-probe"}

    def _split(self, partitions: Sequence[TopicPartition]) -> tuple[list[int], bool]:
        slots = [p.partition for p in partitions if p.topic == self._topics.subscriptions]
        # it has one partition; of more, which somebody has added since the start, the first counts:
        # else two members would lead
        control = [p.partition for p in partitions if p.topic == self._topics.control]
        return sorted(slots), 0 in control

    def _incremental(self, change: Any, partitions: list[TopicPartition]) -> None:
        try:
            change(partitions)
        except KafkaException as error:
            # a rebalance that was overtaken by the next one: librdkafka settles it itself
            self._log.debug("assignment_superseded", reason=error.args[0].str())
