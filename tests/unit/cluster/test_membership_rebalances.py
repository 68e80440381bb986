"""What a member gives up in a rebalance, and in which order."""

import pytest

from connector.cluster.frames import KEEP_SECONDS
from connector.settings.models import ClusterSettings
from connector.testing import FakeClock
from tests.support.group_script import NOTHING, TOPICS, assign, end, lose, revoke


async def test_a_slot_is_closed_before_its_partition_is_given_up(run):
    _, _, joined = await run(assign(0, 1), revoke(1))
    assert joined.journal[:4] == [
        ("closed", [1], False),
        ("unassign", [(TOPICS.subscriptions, 1)]),
        ("closed", [0], False),
        ("unassign", [(TOPICS.subscriptions, 0)]),
    ]


async def test_the_last_frame_is_handed_over_after_the_close_and_before_the_slot(run):
    _, _, joined = await run(assign(0, 1), end(1), revoke(1), frames_us={1: 5})
    committed = ("commit", [(1, 4, '{"last_frame_us": 5, "free": true}')])
    at = joined.journal.index(("closed", [1], False))
    assert joined.journal[at + 1 : at + 3] == [
        committed,
        ("unassign", [(TOPICS.subscriptions, 1)]),
    ]


@pytest.mark.parametrize(("protocol", "waited"), [("classic", [0.75]), ("consumer", [])])
async def test_a_revoked_slot_streams_on_until_another_can_have_it(run, protocol, waited):
    settings = ClusterSettings(group_protocol=protocol)
    _, _, member = await run(assign(0, 1), revoke(1), waited=0, cluster=settings)
    # the slot that it has at its end is given up at once
    assert member.waited == waited


def hands_over(consumer):
    consumer.member.hands_over = True


async def test_a_slot_that_is_handed_over_is_given_up_as_soon_as_that_is_announced(run):
    """Its socket stays open; the time of its last frame so far stands beside it."""
    _, said, joined = await run(
        hands_over, assign(0, 1), end(1), revoke(1), frames_us={1: 5}, waited=0
    )
    announced = joined.journal.index(("announced", [1]))
    assert joined.journal[announced + 1 : announced + 3] == [
        ("commit", [(1, 4, '{"last_frame_us": 5, "free": true}')]),
        ("unassign", [(TOPICS.subscriptions, 1)]),
    ]
    assert ("closing", [1], False) not in said
    assert joined.waited == []


async def test_a_leader_ends_before_it_is_given_up_although_its_slots_are_handed_over(run):
    _, _, joined = await run(hands_over, assign(0, control=True), revoke(0, control=True))
    announced = joined.journal.index(("announced", [0]))
    assert joined.journal[announced + 1 : announced + 3] == [
        ("closed", [], True),
        ("unassign", [(TOPICS.control, 0), (TOPICS.subscriptions, 0)]),
    ]


async def test_a_held_slot_is_closed_as_soon_as_another_member_has_signed_it(run):
    """Under KIP-848 a member that is assigned nothing is told nothing."""
    clock = FakeClock()

    def away(consumer):
        consumer.member_id = ""

    def back(consumer):
        consumer.member_id = "m"
        consumer.left = '{"last_frame_us": 9, "member": "another"}'

    def later(_consumer):
        clock.now += KEEP_SECONDS

    _, said, _ = await run(
        assign(0), NOTHING, away, lose(0), NOTHING, back, NOTHING, later, NOTHING, later, NOTHING,
        coordinator=False, clock=clock, frames_us={0: 5},
    )  # fmt: skip
    assert said.index(("held", [0])) < said.index(("closing", [0], False))
    assert said.count(("closing", [0], False)) == 1


@pytest.mark.parametrize(("named", "joins"), [("m", 2), ("another", 1)])
async def test_a_member_steps_back_so_that_everything_is_shared_out_anew(run, named, joins):
    """It leaves, with a hand-over of its slots, and joins again at once."""
    consumer, _, joined = await run(
        hands_over, assign(0), lambda consumer: consumer.joined.step_back(named), NOTHING, NOTHING
    )
    assert [one[0] for one in consumer.calls].count("subscribe") == joins
    announced = [entry for entry in joined.journal if entry[0] == "announced"]
    assert announced == [("announced", [0])]
