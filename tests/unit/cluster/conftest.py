"""The member's thread, over a consumer in memory."""

import asyncio

import pytest

from connector.cluster import membership
from connector.cluster.membership import Membership
from connector.kafka.renewals import Standing
from connector.settings.models import ClusterSettings, KafkaSettings
from tests.support.group_script import NOTHING, TOPICS, FakeConsumer, FakeMember


@pytest.fixture
def run(monkeypatch):
    """Run a script to its end; returns the consumer and what the member was told."""

    async def run(
        *script, coordinator=True, frames_us=None, left="", waited=None, cluster=None,
        applied=None, **options
    ):  # fmt: skip
        loop = asyncio.get_running_loop()
        finished = asyncio.Event()
        journal = []
        end_of_script = [NOTHING, lambda _: loop.call_soon_threadsafe(finished.set)]
        consumer = FakeConsumer([*script, *end_of_script], journal)
        monkeypatch.setattr(membership, "Consumer", lambda *_, **__: consumer)
        consumer.made = []

        def standing(kafka):
            consumer.made.append(Standing())
            return consumer.made[-1]

        monkeypatch.setattr(membership, "standing", standing)
        monkeypatch.setattr(Membership, "_coordinator_answers", lambda _: coordinator)
        monkeypatch.setattr(
            membership, "topics_gone", lambda _, topics: consumer.missing.intersection(topics)
        )
        monkeypatch.setattr(membership, "POLL_SECONDS", 0)
        monkeypatch.setattr(membership, "REVOKE_SECONDS", 0 if waited is None else 0.75)
        member = FakeMember(journal)
        member.frames_us = frames_us or {}
        member.applied = applied
        consumer.left, consumer.member = left, member
        cluster = cluster or ClusterSettings()
        joined = Membership(KafkaSettings(), cluster, TOPICS, "group", member, **options)
        consumer.joined = joined
        joined.waited = []
        if waited is not None:

            def wait(seconds):
                joined.waited.append(seconds)
                if "clock" in options:
                    options["clock"].now += seconds
                if callable(waited):
                    waited(consumer)

            joined._stopping.wait = wait
        joined.start()
        await asyncio.wait_for(finished.wait(), 20)
        await joined.stop()
        joined.journal = journal
        joined.member = member
        return consumer, member.said, joined

    return run
