"""Who is in a group: what brokers say of it, and a process of its own that asks."""

import json
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.embedded.broker import EmbeddedBroker
from connector.errors import KafkaError
from connector.kafka import group_members
from connector.kafka.group_members import Group, Member, assigned_partitions, read_group

ASSIGNMENTS = st.dictionaries(
    st.text(max_size=20), st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=4
)


def encoded(topics):
    found = struct.pack(">hi", 3, len(topics))
    for topic, partitions in topics.items():
        name = topic.encode()
        found += struct.pack(">h", len(name)) + name
        found += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return found


@given(ASSIGNMENTS, st.binary(max_size=8))
def test_an_assignment_is_read_as_consumers_write_it(topics, user_data):
    assert assigned_partitions(encoded(topics) + user_data) == tuple(
        (topic, partition) for topic, partitions in topics.items() for partition in partitions
    )


@given(st.binary())
def test_what_is_no_assignment_is_no_partition(anything):
    assert isinstance(assigned_partitions(anything), tuple)


@given(ASSIGNMENTS.filter(bool), st.data())
def test_an_assignment_that_is_cut_is_no_partition(topics, data):
    whole = encoded(topics)
    assert assigned_partitions(whole[: data.draw(st.integers(0, len(whole) - 1))]) == ()


@pytest.mark.parametrize("count", [-1, 2**31 - 1])
def test_a_count_that_cannot_be_is_no_partition(count):
    assert assigned_partitions(struct.pack(">hi", 0, count)) == ()
    assert assigned_partitions(struct.pack(">hih1si", 0, 1, 1, b"t", count)) == ()


def test_the_embedded_broker_tells_nothing_and_at_once():
    with EmbeddedBroker({"t": 1}) as broker:
        properties = {"bootstrap.servers": broker.bootstrap_servers, **broker.client}
        with pytest.raises(KafkaError, match="not supported by broker"):
            read_group(properties, "g", 600)


def asked(monkeypatch, tmp_path, source):
    """Ask brokers that are away, with a program of our own for the second question."""
    monkeypatch.setattr(group_members, "START_SECONDS", 60.0)
    program = tmp_path / "program.py"
    program.write_text(f"import json, os, sys\nasked = json.load(sys.stdin)\n{source}\n")
    properties = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}
    return read_group(properties, "g", 0.01, program=(sys.executable, str(program)))


def test_a_process_of_its_own_is_asked_where_brokers_are_away(monkeypatch, tmp_path):
    answer = {"settled": True, "members": [["m", "c", "/h", [["t", 0], ["t", 1]]]]}
    source = f"assert asked['group'] == 'g'\nprint({json.dumps(json.dumps(answer))})"
    assert asked(monkeypatch, tmp_path, source) == Group(
        settled=True, members=(Member("m", "c", "/h", (("t", 0), ("t", 1))),)
    )


def test_what_the_brokers_refuse_is_told(monkeypatch, tmp_path):
    with pytest.raises(KafkaError, match=r"^not allowed$"):
        asked(monkeypatch, tmp_path, "print(json.dumps({'refusal': 'not allowed'}))")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("os.abort()", "SIGABRT"),
        ("sys.exit(3)", "non-zero exit status 3"),
        ("print('{')", "Expecting property name"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_an_error_of_that_question(
    monkeypatch, tmp_path, source, reason
):
    with pytest.raises(KafkaError, match=f"the group g was not described: .*{reason}"):
        asked(monkeypatch, tmp_path, source)


def test_no_secret_is_told_where_the_process_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(group_members, "START_SECONDS", 60.0)
    properties = {"bootstrap.servers": "127.0.0.1:1", "log_level": 0, "sasl.password": "hush"}
    with pytest.raises(KafkaError) as told:
        read_group(properties, "g", 0.01, program=(sys.executable, "-c", "raise SystemExit(1)"))
    assert "hush" not in str(told.value)
