"""The register over the embedded broker."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka import KafkaError as Code
from hypothesis import given
from hypothesis import strategies as st

from connector.cluster import handover_register
from connector.cluster.handover_register import (
    MAX_ID_CHARACTERS,
    Entry,
    HandoverRegister,
    Stage,
    encoded,
    entry_of,
)
from connector.embedded.broker import EmbeddedBroker
from connector.errors import KafkaError
from connector.kafka.groups import handover_group
from connector.kafka.topics import TopicNames
from connector.settings.models import KafkaSettings
from connector.testing import wait_until

TOPICS = TopicNames()
OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 8, 9, 10
"""Numbers of Kafka's requests."""
ENTRIES = st.builds(
    Entry,
    st.text(max_size=MAX_ID_CHARACTERS),
    st.sampled_from(Stage),
    st.none() | st.integers(1, 2**63 - 1),
)


@pytest.fixture(scope="module")
def embedded():
    with EmbeddedBroker({TOPICS.subscriptions: 3}) as broker:
        yield broker


@pytest.fixture(scope="module")
def kafka(embedded):
    return KafkaSettings(bootstrap_servers=embedded.bootstrap_servers)


def register(kafka, name):
    return HandoverRegister(kafka, TOPICS, name)


@given(ENTRIES)
def test_an_entry_is_read_as_it_was_written(entry):
    assert entry_of(encoded(entry)) == entry


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


@given(st.text() | st.dictionaries(st.sampled_from(["handover", "stage", "last_frame_us"]), JSON)
       .map(json.dumps))  # fmt: skip
def test_what_another_program_wrote_is_an_entry_or_nothing(metadata):
    entry = entry_of(metadata)
    assert entry is None or entry_of(encoded(entry)) == entry


@pytest.mark.parametrize(
    "metadata",
    [
        None, "", "[]", "17", "{}", '{"handover": "x"}', '{"handover": 1, "stage": "leaving"}',
        '{"handover": "x", "stage": "gone"}', '{"handover": "x", "stage": ["leaving"]}',
        '{"handover": "%s", "stage": "leaving"}' % ("x" * (MAX_ID_CHARACTERS + 1)),
    ],
)  # fmt: skip
def test_what_is_no_entry_is_none(metadata):
    assert entry_of(metadata) is None


def test_what_one_replica_writes_another_reads(kafka):
    one, other = register(kafka, "pair"), register(kafka, "pair")
    assert other.read([0, 1, 2]) == {}
    entries = {0: Entry("a", Stage.LEAVING), 2: Entry("b", Stage.RELEASED, 17)}
    one.write(entries)
    assert other.read([0, 1, 2]) == entries
    other.write({0: Entry("a", Stage.WANTED)})
    assert one.read([0]) == {0: Entry("a", Stage.WANTED)}


def test_connectors_of_other_names_have_entries_of_their_own(kafka):
    one, other = register(kafka, "one"), register(kafka, "other")
    one.write({0: Entry("a", Stage.LEAVING)})
    assert other.read([0]) == {}


def test_an_offset_of_another_program_is_no_entry(kafka):
    foreign = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": handover_group("shared", TOPICS.prefix),
        }
    )
    place = TopicPartition(TOPICS.subscriptions, 1, 7, metadata="mine")
    foreign.commit(offsets=[place], asynchronous=False)
    foreign.close()
    own = register(kafka, "shared")
    assert own.read([0, 1]) == {}


@pytest.mark.parametrize(
    "code",
    [Code.COORDINATOR_LOAD_IN_PROGRESS, Code.COORDINATOR_NOT_AVAILABLE, Code.NOT_COORDINATOR],
)
def test_a_coordinator_that_moves_is_asked_again(embedded, kafka, code):
    """Brokers that are restarted one after the other; to read so ended the process."""
    own, entries = register(kafka, f"moved-{code}"), {0: Entry("a", Stage.LEAVING)}
    embedded.push_errors(OFFSET_COMMIT, code, code)
    own.write(entries)
    embedded.push_errors(OFFSET_FETCH, code, code)
    assert own.read([0, 1]) == entries


@pytest.mark.parametrize(
    ("request_kind", "ask"),
    [
        (OFFSET_COMMIT, lambda own: own.write({0: Entry("a", Stage.LEAVING)})),
        (OFFSET_FETCH, lambda own: own.read([0])),
    ],
)
def test_a_right_that_lacks_is_an_error_that_says_what_helps(embedded, kafka, request_kind, ask):
    own = register(kafka, "refused")
    embedded.push_errors(request_kind, Code.GROUP_AUTHORIZATION_FAILED)
    with pytest.raises(KafkaError, match="grant this account Read on the group refused:kite-"):
        ask(own)


def test_a_right_that_lacks_to_find_the_coordinator_is_told_each_time_until_it_is_there(
    monkeypatch,
):
    """Brokers refuse it there; the consumer only waits for a coordinator then."""
    monkeypatch.setattr(handover_register, "ANSWER_SECONDS", 1.0)
    with EmbeddedBroker({TOPICS.subscriptions: 3}) as broker:
        # first: a consumer looks for the coordinator as soon as it is made
        broker.push_errors(FIND_COORDINATOR, *[Code.GROUP_AUTHORIZATION_FAILED] * 1000)
        own = register(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "hidden")
        for _ in range(2):
            with pytest.raises(KafkaError, match="grant this account Read on the group hidden:"):
                own.read([0])
        broker.clear_errors(FIND_COORDINATOR)
        wait_until(lambda: reads(own))


def reads(own):
    try:
        return own.read([0]) == {}
    except KafkaError:
        return False


def test_brokers_that_do_not_answer_are_an_error_within_a_bound():
    with EmbeddedBroker({TOPICS.subscriptions: 3}) as broker:
        own = register(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "away")
        broker.set_down()
        with pytest.raises(KafkaError, match=r"answer|Timed out"):
            own.write({0: Entry("a", Stage.LEAVING)})
        with pytest.raises(KafkaError, match=r"answer|Timed out"):
            own.read([0])
        broker.set_up()


def test_it_is_let_go_without_a_wait_while_a_commit_is_unanswered(monkeypatch):
    monkeypatch.setattr(handover_register, "ANSWER_SECONDS", 0.5)
    with EmbeddedBroker({TOPICS.subscriptions: 3}) as broker:
        own = register(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "let-go")
        broker.set_down()
        with pytest.raises(KafkaError, match="no broker answered"):
            own.write({0: Entry("a", Stage.LEAVING)})
        own.close()
        (closing,) = [one for one in threading.enumerate() if one.name == "handover-close"]
        assert closing.daemon
        broker.set_up()
        closing.join(60)
        assert not closing.is_alive()


def test_a_question_under_way_is_ended_before_the_client_is_closed(monkeypatch):
    """Whoever asked may have been cancelled, and its thread goes on."""
    monkeypatch.setattr(handover_register, "ANSWER_SECONDS", 1.0)
    with EmbeddedBroker({TOPICS.subscriptions: 3}) as broker:
        own = register(KafkaSettings(bootstrap_servers=broker.bootstrap_servers), "under-way")
        broker.set_down()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(own.read, [0])
            wait_until(lambda: own._users)
            own.close()
            (closing,) = [one for one in threading.enumerate() if one.name == "handover-close"]
            assert isinstance(asked.exception(60), KafkaError)
        broker.set_up()
        closing.join(60)
        assert not closing.is_alive()


def test_answers_of_several_writers_are_not_mixed_up(embedded, kafka):
    own = register(kafka, "several")
    embedded.push_errors(OFFSET_COMMIT, Code.GROUP_AUTHORIZATION_FAILED)

    def write(slot):
        try:
            own.write({slot: Entry("a", Stage.LEAVING)})
        except KafkaError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(3) as threads:
        refused = [one for one in threads.map(write, range(3)) if one is not None]
    assert len(refused) == 1
    assert len(own.read([0, 1, 2])) == 2


def test_the_embedded_broker_cannot_count_members(kafka):
    own = register(kafka, "counted")
    with pytest.raises(KafkaError, match="not supported by broker"):
        own.members()
