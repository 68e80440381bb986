"""The member's thread with a consumer in memory: what it decodes, and in which order things end."""

import json

import pytest
import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, TopicPartition
from confluent_kafka import KafkaError as Code

from connector.cluster import membership
from connector.cluster.items import CaughtUp, Halting, ReconnectSlot, SlotRecord
from connector.cluster.membership import Membership
from connector.control.records import Halt, Halted, Subscription
from connector.kite.wire.models import Mode
from connector.settings.models import ClusterSettings, KafkaSettings
from connector.testing import FakeClock
from tests.support.group_script import (
    NOTHING,
    TOPICS,
    Failure,
    FakeMember,
    Message,
    assign,
    end,
    lose,
    record,
    revoke,
)


async def test_slots_are_read_from_their_first_record_and_control_is_only_owned(run):
    consumer, said, joined = await run(assign(0, 2, control=True))
    calls = [call for call in consumer.calls if call[0] != "committed"]
    assert calls[:3] == [
        ("subscribe", [TOPICS.control, TOPICS.subscriptions]),
        (
            "assign",
            [
                (TOPICS.control, 0, OFFSET_END),
                (TOPICS.subscriptions, 0, OFFSET_BEGINNING),
                (TOPICS.subscriptions, 2, OFFSET_BEGINNING),
            ],
        ),
        ("pause", [(TOPICS.control, 0)]),
    ]
    assert said[0] == ("assigned", [0, 2], True)
    assert joined.joined


async def test_a_group_that_waits_for_a_killed_replica_is_told_from_one_that_is_joined(run):
    clock = FakeClock()
    told = []

    def after(seconds):
        def step(consumer):
            consumer.member_id = ""
            clock.now += seconds
            told.append(consumer.joined.joining)

        return step

    def known(consumer):
        consumer.member_id = "this-member"

    cluster = ClusterSettings(session_timeout_seconds=300)
    _, _, joined = await run(after(0), after(14), after(20), known, clock=clock, cluster=cluster)
    assert told[:2] == ["joining the cluster"] * 2
    assert told[2] == (
        "joining the cluster for 34 s; a killed one is missed after "
        "cluster.session_timeout_seconds, 300 s"
    )
    assert joined.joining is None


async def test_partitions_that_somebody_added_to_the_control_topic_make_no_second_leader(run):
    def more(consumer):
        consumer.on_assign(consumer, [TopicPartition(TOPICS.control, one) for one in (1, 2)])

    with structlog.testing.capture_logs() as log:
        consumer, said, _ = await run(more)
    assert said[0] == ("assigned", [], False)
    assert ("pause", [(TOPICS.control, 1), (TOPICS.control, 2)]) in consumer.calls
    (told,) = [line for line in log if line["event"] == "control_topic_has_partitions"]
    assert (told["topic"], told["log_level"]) == (TOPICS.control, "error")


async def test_the_leaders_progress_is_committed_each_second_and_at_its_end(run):
    clock = FakeClock()

    def after(seconds, applied):
        def step(consumer):
            clock.now += seconds
            consumer.member.applied = applied

        return step

    _, _, joined = await run(
        assign(0, control=True), NOTHING, after(0.5, 42), NOTHING, after(0.5, 43), NOTHING,
        after(0, 44), revoke(control=True), NOTHING, after(5, 45), NOTHING,
        applied=41, clock=clock,
    )  # fmt: skip
    assert joined.journal[:5] == [
        ("progress", 41), ("progress", 43), ("closed", [], True), ("progress", 44),
        ("unassign", [(TOPICS.control, 0)]),
    ]  # fmt: skip
    assert ("progress", 45) not in joined.journal


async def test_a_leader_that_has_not_begun_signs_the_progress_that_is_there(run):
    _, _, joined = await run(assign(control=True), NOTHING, clock=FakeClock())
    # as the fake group has it
    assert ("progress", 0) in joined.journal


@pytest.mark.parametrize("last", [assign(0), lose(0, control=True)])
async def test_a_member_that_does_not_lead_commits_no_progress(run, last):
    _, _, joined = await run(last, NOTHING, applied=41)
    assert ("progress", 41) not in joined.journal


async def test_records_arrive_in_order(run):
    value = Subscription(1, {"w": Mode.FULL}, "NSE:X", 7).encoded(257)
    _, said, _ = await run(
        assign(1),
        record(1, "257", value),
        record(1, "257", None, [("moved-to", b"2")]),
        record(1, "513", None),
        end(1),
        record(1, "@reconnect", json.dumps({"id": "c1", "time_ms": 1}).encode()),
        record(1, "@halt", Halted(Halt.STOPPED, "asha", 1).encoded()),
        record(1, "@halt", None),
    )
    assert said[1:8] == [
        SlotRecord(1, 257, Mode.FULL, "NSE:X", revision=7),
        SlotRecord(1, 257, None, moved_to=2),
        SlotRecord(1, 513, None),
        CaughtUp(1),
        ReconnectSlot(1, "c1"),
        Halting(1, Halt.STOPPED),
        Halting(1, None),
    ]


async def test_what_is_not_for_the_slots_owner_is_left_out(run):
    _, said, _ = await run(
        assign(0, control=True),
        record(0, "@leader", b"{}"),
        record(0, "257", b"not JSON"),
        end(0, TOPICS.control),
        Message(None, None, None, None, error=Failure(Code._TRANSPORT)),
    )
    assert said[:2] == [("assigned", [0], True), ("closing", [0], True)]


async def test_a_new_owner_is_told_when_the_last_frame_came(run):
    def left(consumer):
        consumer.left = '{"last_frame_us": 17}'

    _, _, joined = await run(left, assign(0, 2))
    assert joined.member.inherited == {0: 17, 2: 17}


@pytest.mark.parametrize("metadata", [None, "", "{}", "17", '{"last_frame_us": "x"}', "\ud800"])
async def test_what_nobody_has_left_is_not_known(run, metadata):
    def left(consumer):
        consumer.left = metadata

    _, said, joined = await run(left, assign(1))
    assert ("assigned", [1], False) in said
    assert joined.member.inherited == {}


async def test_the_last_frames_are_kept_once_a_second_where_they_change(run):
    clock = FakeClock()

    def later(_consumer):
        clock.now += 1.0

    script = [assign(0), NOTHING, NOTHING, later, NOTHING, later, NOTHING]
    _, _, joined = await run(*script, clock=clock, frames_us={0: 5, 7: 9})
    # slot 7 is another's; the last one is the hand-over
    commits = [entry[1] for entry in joined.journal if entry[0] == "commit"]
    kept = '{"last_frame_us": 5, "member": "m"}'
    given_up = '{"last_frame_us": 5, "free": true}'
    assert commits == [[(0, 0, kept)], [(0, 0, given_up)]]


@pytest.mark.parametrize(
    ("left", "waits"),
    [
        ('{"last_frame_us": 1007000000}', 2.5),
        ('{"last_frame_us": 1007000000, "free": true}', None),
        # by a session timeout ago whoever had it is gone
        ('{"last_frame_us": 990000000}', None),
        ("", None),
        # no answer: what cannot be told is not waited for
        (None, None),
    ],
)
async def test_replicas_that_come_while_others_stream_join_together(run, left, waits):
    with structlog.testing.capture_logs() as log:
        consumer, _, joined = await run(
            assign(0), slots=3, clock=FakeClock(1_007_500_000), waited=0, left=left
        )
    gathers = [line["seconds"] for line in log if line["event"] == "join_gathers"]
    assert gathers == ([] if waits is None else [waits])
    # each second it looks whether they still do
    assert joined.waited == ([] if waits is None else [1.0, 1.0, 0.5])
    assert consumer.calls[0] == ("committed", [0, 1, 2])
    assert joined.joined


async def test_one_that_gathers_joins_as_soon_as_nobody_streams_any_more(run):
    def the_last_one_stops(consumer):
        consumer.left = '{"last_frame_us": 1007400000, "free": true}'

    _, _, joined = await run(
        assign(0),
        slots=3,
        clock=FakeClock(1_007_500_000),
        waited=the_last_one_stops,
        left='{"last_frame_us": 1007000000}',
    )
    assert joined.waited == [1.0]
    assert joined.joined


async def test_lost_to_another_closes_first(run):
    consumer, said, _ = await run(assign(0, control=True), lose(0, control=True))
    assert said[1:3] == [("closing", [0], True), ("closed", [0], True)]
    assert consumer.calls[-2] == ("unassign", [(TOPICS.control, 0), (TOPICS.subscriptions, 0)])


async def test_lost_for_want_of_a_broker_is_held(run):
    def back(consumer):
        consumer.member_id = "m2"

    def away(consumer):
        consumer.member_id = ""

    _, said, _ = await run(
        assign(0, 1, control=True),
        away,
        lose(0, 1, control=True),
        NOTHING,
        back,
        NOTHING,
        assign(0),
        coordinator=False,
    )
    assert said[1:4] == [("held", [0, 1]), ("closing", [], True), ("closed", [], True)]
    # a member that is assigned nothing hears nothing: so there is a delayed look as well
    assert ("not_reassigned", 10.0 + membership.REASSIGN_SECONDS) in said
    assert said.index(("assigned", [0], False)) < said.index(("not_reassigned", 0))


async def test_a_fatal_error_leaves_and_joins_again(run, monkeypatch):
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)
    fatal = Message(None, None, None, None, error=Failure(Code._FATAL, fatal=True))
    consumer, said, _ = await run(assign(0), fatal, assign(1))
    assert [call[0] for call in consumer.calls].count("subscribe") == 2
    assert ("closed", [0], False) in said
    assert ("assigned", [1], False) in said


async def test_an_error_counts_until_the_group_knows_the_member_again(run, monkeypatch):
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)
    fatal = Message(None, None, None, None, error=Failure(Code._FATAL, fatal=True))

    _, _, joined = await run(assign(0), NOTHING, fatal, NOTHING)
    assert joined.joined
    assert joined.error is None


async def test_a_right_that_is_missing_is_said_once_and_shown(run):
    def without_id(consumer):
        consumer.member_id = ""

    refused = Message(None, None, None, None, error=Failure(Code.GROUP_AUTHORIZATION_FAILED))
    unread = Message("t", 0, None, None, error=Failure(Code.TOPIC_AUTHORIZATION_FAILED))
    with structlog.testing.capture_logs() as log:
        _, _, joined = await run(without_id, unread, refused, NOTHING, refused)
    advice = "grant this account Read on"
    assert joined.error == f"failure: {advice} the group group:kite"
    assert not joined.joined
    assert [line["event"] for line in log] == ["member_refused"] * 2
    assert [line["reason"] for line in log] == [f"t: failure: {advice} it", joined.error]


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        (Code.INVALID_SESSION_TIMEOUT, "cluster.session_timeout_seconds is 10"),
        (Code.GROUP_MAX_SIZE_REACHED, "group.max.size"),
        (Code.INCONSISTENT_GROUP_PROTOCOL, "cluster.group_protocol"),
        (Code.UNSUPPORTED_ASSIGNOR, "group.remote.assignor"),
        (Code.UNRELEASED_INSTANCE_ID, "group.instance.id"),
        (Code.UNSUPPORTED_VERSION, "cluster.group_protocol is classic"),
        (Code.INVALID_GROUP_ID, "name and topics.prefix"),
    ],
)
async def test_a_member_that_is_refused_says_why_and_what_to_change(run, code, setting):
    refused = Message(None, None, None, None, error=Failure(code))
    # a client of the protocol consumer has an id of its own making before it is refused
    with structlog.testing.capture_logs() as log:
        _, _, joined = await run(refused, NOTHING, refused, NOTHING)
    assert setting in joined.error
    assert [line["reason"] for line in log if line["event"] == "member_refused"] == [joined.error]


async def test_a_refusal_that_is_fatal_to_the_client_says_why_too(run, monkeypatch):
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)
    text = "Fatal error: Broker: API version not supported: ConsumerGroupHeartbeat fatal error"
    fatal = Message(None, None, None, None, error=Failure(Code._FATAL, text=text))
    _, _, joined = await run(fatal, NOTHING, fatal, NOTHING)
    assert joined.error.startswith("Broker: API version not supported: cluster.group_protocol is ")


@pytest.mark.parametrize("slots", [(), (0,)])
async def test_a_client_is_not_asked_for_a_member_id_that_nobody_needs(run, slots):
    """Once as it joins, and once a second for the word of its slots."""
    consumer, _, joined = await run(assign(*slots), *[NOTHING] * 20, clock=FakeClock())
    assert joined.joined
    assert consumer.asked_for_its_id == 1 + len(slots)


async def test_a_refusal_is_over_once_it_is_said_no_more(run):
    clock = FakeClock()

    def later(_consumer):
        clock.now += membership.REFUSED_SECONDS

    refused = Message(None, None, None, None, error=Failure(Code.GROUP_MAX_SIZE_REACHED))
    _, _, joined = await run(refused, NOTHING, later, NOTHING, clock=clock)
    assert joined.error is None
    assert joined.joined


async def test_a_topic_that_is_missing_is_missing_until_it_is_there(run):
    clock = FakeClock()

    def later(_consumer):
        clock.now += membership.REFUSED_SECONDS

    def made(consumer):
        consumer.missing.clear()
        later(consumer)

    def begin(consumer):
        consumer.missing.add(TOPICS.control)

    gone = Message(TOPICS.control, 0, None, None, error=Failure(Code.UNKNOWN_TOPIC_OR_PART))
    _, _, joined = await run(begin, gone, NOTHING, later, NOTHING, later, NOTHING, clock=clock)
    assert "it does not exist" in joined.error
    assert not joined.joined
    _, _, joined = await run(begin, gone, NOTHING, later, NOTHING, made, NOTHING, clock=clock)
    assert joined.error is None
    assert joined.joined


GONE = Message(TOPICS.subscriptions, 0, None, None, error=Failure(Code.UNKNOWN_TOPIC_OR_PART))


async def test_the_other_protocol_takes_slots_away_before_the_client_knows_why(run):
    def gone(consumer):
        consumer.missing.add(TOPICS.subscriptions)

    cluster = ClusterSettings(group_protocol="consumer")
    _, said, joined = await run(assign(0), gone, revoke(0), NOTHING, cluster=cluster)
    assert said[1] == ("held", [0], "topic_gone")
    assert (joined.missing, joined.error) == (
        {TOPICS.subscriptions},
        f"{TOPICS.subscriptions} does not exist",
    )


@pytest.mark.parametrize("take", [lose, revoke])
async def test_slots_whose_topic_was_deleted_stream_on_until_others_may_have_them(run, take):
    clock = FakeClock()

    def gone(consumer):
        consumer.missing.add(TOPICS.subscriptions)

    def back(consumer):
        consumer.missing.clear()
        clock.now += membership.MISSING_SECONDS

    script = assign(0, 1, control=True), gone, GONE, take(0, 1), assign(), NOTHING
    _, said, joined = await run(*script, clock=clock)
    assert said[1] == ("held", [0, 1], "topic_gone")
    assert joined.missing == {TOPICS.subscriptions}
    # an assignment without slots closes nothing as long as the topic is missing
    assert not any(one[0] == "not_reassigned" for one in said)
    _, said, joined = await run(*script, back, NOTHING, NOTHING, assign(1), clock=clock)
    assert (joined.missing, joined.error) == (set(), None)
    patience = 10.0 + membership.REASSIGN_SECONDS + 10.0
    assert ("not_reassigned", patience) in said
    assert said.index(("assigned", [1], False)) < said.index(("not_reassigned", 0))


async def test_a_partition_that_was_never_written_is_told_apart(run):
    written, fresh = end(0), end(1)
    fresh.offset = lambda: 0
    _, said, _ = await run(assign(0, 1), written, fresh)
    assert [item for item in said if isinstance(item, CaughtUp)] == [
        CaughtUp(0, never_written=False), CaughtUp(1, never_written=True),
    ]  # fmt: skip


async def test_a_slot_that_fails_to_close_does_not_end_the_membership(run, monkeypatch):
    async def fail(self, slots, *, leads):
        self.said.append(("failed", list(slots)))
        raise RuntimeError("cannot close")

    monkeypatch.setattr(FakeMember, "revoked", fail)
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)
    fatal = Message(None, None, None, None, error=Failure(Code._FATAL, fatal=True))
    with structlog.testing.capture_logs() as log:
        _, said, _ = await run(assign(0), fatal, assign(1), revoke(1))
    assert ("assigned", [1], False) in said
    assert "slot_close_failed" in [line["event"] for line in log]


def test_only_the_classic_protocol_has_a_use_for_its_name():
    def properties(**cluster):
        settings = ClusterSettings(**cluster)
        return Membership(KafkaSettings(), settings, TOPICS, "group", FakeMember()).properties()

    assert properties(instance="pod-7")["group.instance.id"] == "pod-7"
    assert "group.instance.id" not in properties()
    assert "group.instance.id" not in properties(instance="pod-7", group_protocol="consumer")


NAMED = ClusterSettings(instance="pod-7")


@pytest.mark.parametrize(("instance", "waited"), [("pod-7", []), ("pod-8", [1.0, 1.0, 0.5])])
async def test_one_that_comes_back_within_its_session_joins_at_once(run, instance, waited):
    left = json.dumps({"last_frame_us": 1_007_000_000, "instance": instance})
    _, _, joined = await run(
        left=left, waited=0, cluster=NAMED, slots=3, clock=FakeClock(1_007_500_000)
    )
    assert joined.waited == waited


async def test_it_says_whose_frames_it_leaves(run):
    _, _, joined = await run(assign(0), frames_us={0: 5}, cluster=NAMED)
    commits = [entry[1][0][2] for entry in joined.journal if entry[0] == "commit"]
    assert commits[-1] == '{"last_frame_us": 5, "instance": "pod-7", "free": true}'


async def test_a_named_member_gives_all_up_before_it_closes(run):
    """Else the brokers would keep its slots for it."""
    consumer, said, _ = await run(assign(0, 1), cluster=NAMED)
    assert consumer.calls[-3:] == [
        ("unsubscribe",),
        ("unassign", [(TOPICS.subscriptions, 0), (TOPICS.subscriptions, 1)]),
        ("close",),
    ]
    assert ("closed", [0, 1], False) in said
    unnamed, _, _ = await run(assign(0, 1))
    assert ("unsubscribe",) not in unnamed.calls


async def test_one_whose_name_was_taken_closes_its_slots_and_goes_on_without_it(run, monkeypatch):
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)
    named = []
    monkeypatch.setattr(
        Membership,
        "_gather",
        lambda self, _: named.append("group.instance.id" in self.properties()),
    )
    taken = Failure(Code._FATAL, text=f"Fatal error: {Code(Code.FENCED_INSTANCE_ID).str()}")

    def unknown(consumer):
        consumer.owned, consumer.member_id = [], ""

    script = [unknown, assign(0), unknown, Message(None, None, None, None, error=taken)]
    with structlog.testing.capture_logs() as log:
        _, said, joined = await run(*script, cluster=NAMED)
    assert named == [True, False]
    assert ("closed", [0], True) in said
    assert [line["instance"] for line in log if line["event"] == "instance_taken"] == ["pod-7"]
    assert "cluster.instance" in joined.error


def renewed(consumer):
    """Its files were changed, and brokers took a client that has read them."""
    consumer.made[-1].outdated = True


async def test_a_named_member_goes_on_with_a_new_client_while_its_sockets_stay_open(run):
    consumer, said, joined = await run(
        assign(0, 1, control=True), renewed, NOTHING, assign(0, 1, control=True), cluster=NAMED
    )
    assert ("unsubscribe",) not in consumer.calls[: consumer.calls.index(("close",))]
    again = said.index(("assigned", [0, 1], True), 1)
    assert said[1:again] == [
        ("held", [0, 1]), ("not_reassigned", 5.0), ("closing", [], True), ("closed", [], True),
    ]  # fmt: skip
    # what it is not assigned again, others may have
    assert said[again + 1] == ("not_reassigned", 0)
    assert joined.error is None


async def test_one_without_a_name_hands_its_slots_over_and_joins_again(run):
    consumer, said, _ = await run(assign(0, control=True), renewed, NOTHING, assign(1))
    assert [call[0] for call in consumer.calls].count("subscribe") == 2
    assert said[1:4] == [
        ("closing", [0], True), ("closed", [0], True), ("assigned", [1], False),
    ]  # fmt: skip


async def test_slots_that_were_held_for_a_client_that_fails_are_closed_in_time(run, monkeypatch):
    monkeypatch.setattr(membership, "REJOIN_SECONDS", 0)

    def broken(consumer):
        renewed(consumer)
        consumer.fail_to_subscribe = True

    with structlog.testing.capture_logs() as log:
        _, said, _ = await run(assign(0), broken, NOTHING, assign(1), cluster=NAMED)
    assert "membership_failed" in [line["event"] for line in log]
    # half the session: the group gives them to nobody else meanwhile
    assert said.index(("held", [0])) < said.index(("not_reassigned", 5.0))


async def test_librdkafka_is_woken_where_the_clock_was_set_back(run):
    """Its heartbeats would go on an hour later: no other replica is to get the slots meanwhile."""
    clock = FakeClock()
    steps = [NOTHING, lambda _: clock.step(-3600), *[NOTHING] * 3]
    consumer, _, joined = await run(assign(), *steps, clock=clock)
    assert joined.joined
    assert consumer.asked_for_its_id == 2
