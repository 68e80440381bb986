"""Other programs' consumers in the connector's group: who they are, and what is said of them."""

import asyncio

import pytest

from connector.cluster.foreign import (
    CONFIRM_SECONDS,
    LOOK_SECONDS,
    ForeignMembers,
    GroupReader,
    Owner,
    Owners,
    held_by_others,
    reasons,
    silent_members,
)
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings
from tests.support.replicas import broker

OURS = "kite-connector-kite-0 /10.0.0.1"
JAVA = "consumer-kite-connector:kite-1 /10.0.0.9"
GROUP = "kite-connector:kite"


def owners(held, words=None):
    """Members whose ids are their names; each has written a word for all that it holds."""
    holders = {one: Owner(name, name) for one, name in held.items()}
    return Owners(holders, held if words is None else words)


@pytest.mark.parametrize(
    ("found", "held"),
    [
        ({None: OURS, 0: OURS}, {}),
        ({None: OURS, 0: OURS, 1: JAVA}, {1: JAVA}),
        ({None: "rdkafka /10.0.0.9"}, {None: "rdkafka /10.0.0.9"}),
        ({2: "kite-connectors /10.0.0.9"}, {2: "kite-connectors /10.0.0.9"}),
        ({}, {}),
    ],
)
def test_a_member_whose_client_id_does_not_begin_with_the_name_is_no_connector(found, held):
    assert held_by_others(owners(found), "kite-connector") == held


@pytest.mark.parametrize(
    ("words", "silent_before", "held"),
    [
        ({0: "other"}, {OURS}, {0: OURS, 1: OURS, None: OURS}),
        ({}, {OURS}, {0: OURS, 1: OURS, None: OURS}),
        # it has had no time yet
        ({}, (), {}),
        ({1: OURS}, {OURS}, {}),
        ({None: OURS}, {OURS}, {}),
    ],
)
def test_a_member_of_a_connectors_name_that_writes_nothing_is_none(words, silent_before, held):
    found = owners(
        {0: OURS, 1: OURS, None: OURS, 2: "kite-connector-1 x"}, {2: "kite-connector-1 x", **words}
    )
    assert held_by_others(found, "kite-connector", silent_before) == held


@pytest.mark.parametrize("words", [{}, {None: "the leader before"}])
def test_one_that_holds_the_leadership_alone_is_known_by_its_silence_too(words):
    found = owners({None: OURS, 0: "kite-connector-1 x"}, {0: "kite-connector-1 x", **words})
    assert held_by_others(found, "kite-connector", silent_members(found)) == {None: OURS}


async def test_it_is_named_at_the_second_look():
    told, looks = [], []

    async def read():
        looks.append(list(told))
        return owners({0: OURS}, {})

    async def sleep(_seconds):
        if len(looks) == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await ForeignMembers(read, "kite-connector", told.append, None, sleep=sleep).run()
    assert looks == [[], [], [{0: OURS}]]


def test_each_is_named_with_all_that_it_holds_and_what_to_do():
    (one, other) = reasons({None: JAVA, 2: JAVA, 0: JAVA, 1: "rdkafka /10.0.0.8"}, GROUP)
    assert one.startswith(
        f"{JAVA} holds slots 0, 2 and the leadership in the group {GROUP} and is no connector"
    )
    assert other.startswith(f"rdkafka /10.0.0.8 holds slot 1 in the group {GROUP} and")
    assert "another group.id" in one


async def test_changes_are_told_once_and_no_answer_changes_nothing():
    answers = [{0: OURS}, {0: JAVA}, {0: JAVA}, None, {0: OURS}]
    told = []

    async def read():
        answer = answers.pop(0)
        return None if answer is None else owners(answer)

    async def sleep(_seconds):
        if not answers:
            raise asyncio.CancelledError

    members = ForeignMembers(read, "kite-connector", told.append, None, sleep=sleep)
    with pytest.raises(asyncio.CancelledError):
        await members.run()
    assert (told, members.held) == ([{0: JAVA}, {}], {})


async def test_brokers_that_tell_nothing_accuse_nobody():
    with broker() as kafka:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, client=kafka.client)
        assert await GroupReader(settings, TopicNames(), "kite-connector").read() is None


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([{1}, {1}, set()], [[1]]),
        # it moves; it is another one; a moment without an answer is no look
        ([{1}, set(), {1}], []),
        ([{1}, {2}, {2}], [[2]]),
        ([{1}, None, {1}], [[1]]),
        # asked for once, not with each look
        ([{1}, {1}, {1}, {1}], [[1], [1]]),
    ],
)
async def test_a_slot_that_nobody_owns_at_two_looks_is_told_of(looks, told):
    answers, said, slept = list(looks), [], []

    async def read():
        answer = answers.pop(0)
        return None if answer is None else owners({0: OURS})._replace(unowned=frozenset(answer))

    async def sleep(seconds):
        slept.append(seconds)
        if not answers:
            raise asyncio.CancelledError

    members = ForeignMembers(
        read, "kite-connector", None, lambda slots, _: said.append(slots), sleep=sleep
    )
    with pytest.raises(asyncio.CancelledError):
        await members.run()
    assert said == told
    assert slept[:2] == [LOOK_SECONDS, CONFIRM_SECONDS]
