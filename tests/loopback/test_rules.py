"""Rules over the whole service: the simulated market moves, and the chain follows it."""

import pytest

from connector.control import held_rules
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.replicas import Steering
from tests.support.stack import TOPICS, service, stack

NIFTY = 256265
CHAIN = {"type": "option-chain", "underlying": "NIFTY", "strikes": 2}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """A window may move as often as the price does."""
    monkeypatch.setattr(held_rules, "MOVE_MS", 0)


@pytest.fixture
async def around():
    config = SimulatorConfig(stepped=True, instruments=400)
    cluster = {"enabled": True, "session_timeout_seconds": 6.0}
    async with stack(config, cluster=cluster, instruments=[]) as opened:
        yield opened


class Market:
    """The simulated market, seen by strikes."""

    def __init__(self, around):
        self.feed = around.simulator
        self.universe = around.simulator.market.universe

    def streamed(self):
        """What is streamed: tokens beside options, and options as (expiry, strike, type).

        Between the messages that add and remove it is any mixture: to be compared, not asserted.
        """
        options, others = [], set()
        for token in self.feed.subscriptions():
            one = self.universe.by_token[token]
            if one.name == "NIFTY" and one.strike:
                options.append((one.expiry, one.strike, one.instrument_type))
            else:
                others.add(token)
        return others, sorted(options)

    async def around(self, middle):
        """Wait until the index and the chain around a price are streamed, and nothing else."""
        listed = self.universe.by_token.values()
        nearest = min(one.expiry for one in listed if one.name == "NIFTY" and one.strike)
        strikes = [middle + step * 50 for step in range(-2, 3)]
        chain = sorted((nearest, strike, kind) for strike in strikes for kind in ("CE", "PE"))
        await until(lambda: self.streamed() == ({NIFTY}, chain))


async def rule_events(around):
    events = (await around.records(TOPICS.events))[TOPICS.events]
    return [one.value["reason"] for one in events if one.value["type"].startswith("rule_")]


async def test_a_chain_follows_the_market_and_a_new_leader_goes_on_with_its_window(around):
    market = Market(around)
    steering = Steering(around.broker.bootstrap_servers)
    try:
        async with service(around, ready=False) as running:
            await until(lambda: running.status().instruments is not None)
            reply = await steering.send(
                "set-rule", watchlist="w", rule="chain", claims=CHAIN, mode="full"
            )
            assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
            # the snapshot of the index brings the first price
            await market.around(24_800)
            await around.simulator.trade(NIFTY, 24_830)  # past the border, within the hysteresis
            await around.simulator.trade(NIFTY, 24_990)
            await market.around(25_000)
            (rule,) = running.status().cluster["rules"]
            assert (rule["instruments"], rule["middle"], rule["problem"]) == (11, 25_000, None)
        async with service(around, ready=False) as running:
            await until(lambda: running.status().cluster["rules"])
            await market.around(25_000)
            await around.simulator.trade(NIFTY, 24_700)
            await market.around(24_700)
        # what is told is in Kafka once the service that tells it has stopped; a new leader tells
        # nothing of what it found
        moves = [line.partition(" around ")[2] for line in await rule_events(around)]
        assert moves == ["", "24800", "25000", "24700"]
    finally:
        steering.close()
