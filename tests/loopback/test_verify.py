"""What the connector counts, held against what the topics have."""

import asyncio
import contextlib
import io
import json
import re

import pytest
from confluent_kafka import Producer

from connector.cli.program import run
from connector.codec.partitioning import partition_of
from connector.embedded.broker import EmbeddedBroker
from connector.errors import SettingsError
from connector.kafka.reader import Reader
from connector.kafka.verify import Verifier
from connector.testing import until
from tests.support.stack import TOPICS, delivered, service, stack

TICKS = list(TOPICS.all_ticks().values())


async def stream(around, running):
    for _ in range(20):
        await around.simulator.step(5)
    await delivered(running)


def verify(around, since_ms=None):
    with Reader(around.settings.kafka, "k", "verify") as reader:
        return Verifier(
            reader, around.settings.kafka, TOPICS, since_ms=since_ms, wait_seconds=0
        ).run()


async def test_every_session_of_a_service_is_proven_complete():
    async with stack() as around:
        async with service(around) as running:
            await stream(around, running)
            going_on = await asyncio.to_thread(verify, around)
            await around.simulator.inject("abort", sockets=[1])
            await until(lambda: sum(one.connects for one in running.status().connections) == 4)
            await until(lambda: running.status().ready)
            await stream(around, running)
        found = await asyncio.to_thread(verify, around)
        recent = await asyncio.to_thread(verify, around, since_ms=1)
        ticks = await around.ticks()
        records = await around.records(*TICKS)
    assert going_on.complete
    assert not any(session.ended for session in going_on.sessions)
    assert found.complete
    assert all(session.ended for session in found.sessions)
    assert {(one.slot, one.session_id): one.ticks for one in found.sessions if one.ticks} == {
        session: len(received) for session, received in ticks.items()
    }
    # the embedded broker cannot look a time up: everything is read
    assert (recent.complete, recent.ticks) == (True, found.ticks)
    assert found.ticks == sum(map(len, ticks.values())) > 100
    # the partitions that were counted are those that librdkafka chose
    for record in (one for of_topic in records.values() for one in of_topic):
        assert record.partition == partition_of(record.key.encode(), 2)


async def test_the_program_says_which_tick_is_not_there():
    async with stack() as around:
        async with service(around) as running:
            await stream(around, running)
        records = await around.records(*TICKS)
        lost = records["kite.ticks.nse"][3]
        messages = await asyncio.to_thread(raw, around, TOPICS.events, *records)
    place = (lost.topic, lost.partition, lost.offset)
    kept = [one for one in messages if (one.topic(), one.partition(), one.offset()) != place]
    assert len(kept) == len(messages) - 1
    with EmbeddedBroker(
        dict.fromkeys(TICKS, 2) | {TOPICS.events: 1, TOPICS.deadletter: 1}
    ) as other:
        await asyncio.to_thread(copy, other, kept)
        arguments = ["verify", "--bootstrap", other.bootstrap_servers, "--wait", "0"]
        (code, text), (again, document), (alone, _) = [
            await asyncio.to_thread(output, [*arguments, *more])
            for more in ([], ["--json"], ["nfo", "kite.ticks.indices"])
        ]
    assert (code, again, alone) == (3, 3, 0)
    assert re.search(
        rf"{lost.topic} \[{lost.partition}\]: 1 of \d+ missing, .* nothing in kite.events", text
    )
    sessions = json.loads(document)["sessions"]
    (missing,) = [one for session in sessions for one in session["missing"]]
    assert (missing["topic"], missing["partition"]) == (lost.topic, lost.partition)
    assert missing["first_sequence"] <= lost.value["sequence"] <= missing["last_sequence"]


def test_zeros_are_no_tick():
    with EmbeddedBroker(
        dict.fromkeys(TICKS, 2) | {TOPICS.events: 1, TOPICS.deadletter: 1}
    ) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
        producer.produce(TICKS[0], bytes(300), b"408065")
        assert producer.flush(10) == 0
        _, text = output(["verify", "--bootstrap", broker.bootstrap_servers, "--wait", "0"])
    assert "1 records could not be read, or are none of a connector's" in text
    assert "0 of 0 sessions complete" in text


def raw(around, *topics):
    with Reader(around.settings.kafka, "k", "copy") as reader:
        return [message for topic in topics for message in reader.read_to_end(topic)]


def copy(broker, messages):
    producer = Producer({"bootstrap.servers": broker.bootstrap_servers})
    for one in messages:
        producer.produce(
            one.topic(), one.value(), one.key(), one.partition(), timestamp=one.timestamp()[1]
        )
    assert producer.flush(10) == 0


def output(arguments):
    written = io.StringIO()
    with contextlib.redirect_stdout(written):
        code = run(arguments)
    return code, written.getvalue()


@pytest.mark.parametrize(
    "words",
    [["lse"], *(["--since", time] for time in ("yesterday", "99999999d", "2999-01-01T09:15"))],
)
def test_what_is_no_exchange_and_what_is_no_time_is_refused_by_name(words):
    with pytest.raises(SettingsError) as caught:
        run(["verify", *words])
    assert words[-1] in str(caught.value)
