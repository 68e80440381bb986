"""The groups of everything that reads begin with the connector's name: one ACL is enough."""

import asyncio
import re
import threading

import confluent_kafka
import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.control.client import ControlClient
from connector.embedded.broker import EmbeddedBroker
from connector.kafka.groups import cluster_group, leader_transactional_id, reader_group
from connector.kafka.instruments import read_latest
from connector.kafka.tail import tail
from connector.kafka.topics import TopicNames
from connector.settings.models import DEFAULT_NAME
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.replicas import Steering, replicas, settings, settled
from tests.support.stack import TOPICS, stack
from tests.support.stack import service as running

MODULES = ("connector.kafka.reader", "connector.cluster.membership")


@pytest.fixture
def groups(monkeypatch):
    """The groups of all consumers that are made."""
    made = []

    def recorded(properties, *arguments, **options):
        made.append(properties["group.id"])
        return confluent_kafka.Consumer(properties, *arguments, **options)

    for module in MODULES:
        monkeypatch.setattr(f"{module}.Consumer", recorded)
    return made


def kinds(groups):
    return {re.sub(r"-[0-9a-f]{8}$", "", group) for group in groups}


def test_each_reader_has_a_group_of_its_own():
    first, second = reader_group("trading", "tail"), reader_group("trading", "tail")
    assert re.fullmatch(r"trading-tail-[0-9a-f]{8}", first)
    assert first != second


async def test_the_name_of_the_settings_is_the_prefix(groups, monkeypatch):
    async with stack(name="trading", cluster={}) as around:
        settings = around.settings
        async with running(around, settings, ready=False):
            # the member and its leader, the watch of the orders, the list of instruments
            await until(lambda: len(kinds(groups)) == 3 and groups.count("trading:kite") == 2)

        def read():
            read_latest(settings.kafka, TOPICS.instruments, threading.Event(), hash, name="trading")
            with ControlClient(settings.kafka, TOPICS, name="trading") as client:
                client.subscribed()

        await asyncio.to_thread(read)
        monkeypatch.setenv("KITE_NAME", "trading")
        for arguments in (["ctl", "list"], ["tail", "events", "--until-end"]):
            options = ["--bootstrap", settings.kafka.bootstrap_servers]
            result = await asyncio.to_thread(CliRunner().invoke, app, arguments + options)
            assert result.exit_code == 0, result.output
        assert kinds(groups) == {
            "trading:kite", "trading-tail", "trading-instruments", "trading-ctl",
        }  # fmt: skip
        groups.clear()
        events = [TOPICS.events]
        assert [r async for r in tail(settings.kafka, None, TOPICS, events, follow=False)] == []
        assert groups[0].startswith(f"{DEFAULT_NAME}-tail-")


def test_another_prefix_is_another_group_and_another_leader():
    pairs = [("a", "b"), ("a", "c"), ("a-b", "c"), ("a", "b-c"), ("a.b", "c"), ("a", "b.c")]
    assert len({cluster_group(*pair) for pair in pairs}) == len(pairs)
    assert len({leader_transactional_id(*pair) for pair in pairs}) == len(pairs)


async def test_two_connectors_of_one_name_with_two_prefixes_leave_each_other_alone():
    topics = [TopicNames("kite"), TopicNames("other")]
    parts = {"control": 1, "replies": 1, "subscriptions": 3, "deadletter": 1}
    names = {getattr(of, part): count for of in topics for part, count in parts.items()}
    accounts = [{"api_key": "one"}, {"api_key": "two"}]
    async with SimulatorServer(SimulatorConfig(stepped=True, accounts=accounts)) as feed:
        with EmbeddedBroker(names) as kafka:
            trees = [
                settings(
                    kafka.bootstrap_servers,
                    feed.ws_url,
                    accounts=[{**account, "access_token": "simulated_token"}],
                    topics={"prefix": of.prefix, "replication_factor": 1},
                )
                for of, account in zip(topics, accounts, strict=True)
            ]
            async with replicas(trees[0]) as first, replicas(trees[1]) as second:
                for members, of, token in ((first, topics[0], 257), (second, topics[1], 513)):
                    await settled(members, [0, 1, 2])
                    steering = Steering(kafka.bootstrap_servers, of)
                    assert (await steering.send("subscribe", instruments=[token]))["accepted"] == 1
                    steering.close()
                await until(lambda: feed.subscriptions().keys() == {257, 513})
                fenced = [m.cluster.status()["commands"]["fenced"] for m in (*first, *second)]
                assert fenced == [0, 0]
