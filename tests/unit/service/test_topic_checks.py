"""Looks at the topics: by the leader, seldom, and told by their edges."""

import pytest
from structlog.testing import capture_logs

from connector.errors import BrokerUnreachableError
from connector.kafka.topics import TopicsReport
from connector.service.topic_checks import CHECK_SECONDS, MAX_TOLD, TURN_SECONDS, TopicChecks

FAULT = "topic kite.subscriptions: cleanup.policy is delete and must be compact"
LOSS = "topic kite.events: retention.ms is 1000 and must be 604800000"
DIFFERENCE = "kite.orders: retention.ms is 2, the settings say 1"


class Around:
    def __init__(self):
        self.now, self.leads, self.looks, self.told = 0.0, True, 0, []
        self.report = TopicsReport()
        self.checks = TopicChecks(
            self.look,
            lambda: self.leads,
            lambda kind, reason: self.told.append((kind, reason)),
            monotonic=lambda: self.now,
        )

    async def look(self):
        self.looks += 1
        if isinstance(self.report, Exception):
            raise self.report
        return self.report

    async def turn(self, report, after=CHECK_SECONDS):
        self.report = report
        self.now += after
        with capture_logs() as lines:
            await self.checks.turn()
        return [line["event"] for line in lines]


@pytest.fixture
def around():
    return Around()


async def test_what_is_wrong_is_told_once_and_its_end_too(around):
    wrong = TopicsReport(faults=[FAULT], losses=[LOSS], differences=[DIFFERENCE])
    assert await around.turn(wrong) == ["topic_misconfigured"] * 2 + ["topic_differs_from_settings"]
    assert around.told == [("topic_misconfigured", FAULT), ("topic_misconfigured", LOSS)]
    assert around.checks.faults == [FAULT]
    assert around.checks.status().losses == (LOSS,)
    assert await around.turn(wrong) == []
    assert await around.turn(TopicsReport()) == ["topics_configured_again"]
    assert (around.checks.faults, len(around.told)) == ([], 2)


async def test_only_the_leader_looks_and_a_new_one_at_once(around):
    around.leads = False
    await around.turn(TopicsReport(faults=[FAULT]))
    assert (around.looks, around.checks.status()) == (0, None)
    around.leads = True
    await around.turn(TopicsReport(faults=[FAULT]), after=0)
    assert (around.looks, around.checks.faults) == (1, [FAULT])
    await around.turn(TopicsReport(), after=CHECK_SECONDS - 1)
    assert around.looks == 1
    around.leads = False
    await around.turn(TopicsReport())
    assert (around.checks.faults, around.checks.missing) == ([], [])


async def test_what_is_missing_is_looked_for_at_each_turn_until_it_is_there(around):
    """It is made again within seconds: nobody is to be told of it for five minutes."""
    await around.turn(TopicsReport(missing=["kite.ticks.nse"]))
    await around.turn(TopicsReport(missing=["kite.ticks.nse"]), after=TURN_SECONDS)
    assert around.checks.missing == ["kite.ticks.nse"]
    await around.turn(TopicsReport(), after=TURN_SECONDS)
    assert (around.checks.missing, around.looks) == ([], 3)
    await around.turn(TopicsReport(), after=TURN_SECONDS)
    assert around.looks == 3


async def test_a_look_that_fails_leaves_what_is_known_and_is_said_once(around):
    await around.turn(TopicsReport(faults=[FAULT], missing=["kite.replies"]))
    away = BrokerUnreachableError("kafka:9092", "no answer")
    assert await around.turn(away) == ["topics_not_checked"]
    assert await around.turn(away) == []
    assert (around.checks.faults, around.checks.missing) == ([FAULT], ["kite.replies"])
    assert "no answer" in around.checks.status().problem
    await around.turn(TopicsReport())
    assert around.checks.status().problem is None


async def test_many_faults_at_once_are_few_events(around):
    await around.turn(TopicsReport(faults=[f"{FAULT} {n}" for n in range(100)]))
    assert (len(around.told), len(around.checks.faults)) == (MAX_TOLD, 100)


async def test_a_configuration_that_cannot_be_read_is_said_once(around):
    refused = TopicsReport(unreadable={"kite.events": "not authorized"})
    assert await around.turn(refused) == ["topic_configuration_unreadable"]
    assert await around.turn(refused) == []
    assert around.checks.status().unreadable == {"kite.events": "not authorized"}
