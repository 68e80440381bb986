"""The morning after: contracts have expired, and a token that was one's means another."""

from dataclasses import replace
from datetime import date

from connector.simulator import SimulatorConfig
from connector.simulator.rest import instruments_csv
from connector.simulator.universe import Universe
from connector.testing import until
from tests.support.stack import TOPICS, delivered, service, stack, streaming

TODAY = date(2026, 1, 5)
MARKET = Universe(300, TODAY)
STOCK = MARKET.named("NSE", "INFY")
FUTURES = [one for one in MARKET.listings if one.exchange == "NFO"]
# the name and the token of GONE end; MOVED has the token of REUSED, whose name ends
GONE, MOVED, REUSED = FUTURES[:3]
CARRIED = (STOCK, GONE, MOVED, REUSED)
TWO_DAYS = (
    MARKET.listings,
    [
        *(one for one in MARKET.listings if one not in (GONE, MOVED, REUSED)),
        replace(MOVED, instrument_token=REUSED.instrument_token),
    ],
)


def name(listing):
    return f"{listing.exchange}:{listing.tradingsymbol}"


async def test_nothing_is_streamed_under_yesterdays_name(tmp_path):
    file = tmp_path / "instruments.csv"
    file.write_text(instruments_csv(TWO_DAYS[0]))
    config = SimulatorConfig(stepped=True, instruments=300, today=TODAY, instruments_file=file)
    around = stack(
        config,
        cluster={"enabled": True, "session_timeout_seconds": 6.0},
        instruments=[{"mode": "full", "instruments": [name(one) for one in CARRIED]}],
    )
    async with around as around, service(around, announced_seconds=0.0) as running:
        feed = around.simulator
        await until(lambda: len(feed.subscriptions()) == len(CARRIED))
        await streaming(around, running)
        await until(lambda: running.status().instruments == len(MARKET) + 1)

        events = running.status().events
        file.write_text(instruments_csv(TWO_DAYS[1]))
        await feed.send_text(
            {"type": "instruments_meta", "data": {"count": 298, "etag": "of the next day"}}
        )
        left = {STOCK.instrument_token, REUSED.instrument_token}
        await until(lambda: set(feed.subscriptions()) == left)
        # a new one under the key that stays, and two keys without a value
        await until(lambda: running.status().instruments == len(MARKET) + 4)
        await until(lambda: running.status().unresolved)
        unresolved = running.status().unresolved
        assert unresolved == [
            f"{name(one)}: not in the instrument master" for one in (GONE, REUSED)
        ]
        await until(lambda: running.status().events >= events + 3)
        await feed.step(20)
        await delivered(running)

        records = await around.records(TOPICS.events, TOPICS.instruments)
        told = {
            (event.value["reason"], event.value["type"], tuple(event.value["tokens"]))
            for event in records[TOPICS.events]
            if event.value["type"].startswith("instrument_")
        }
        assert told == {
            (name(GONE), "instrument_expired", (GONE.instrument_token,)),
            (name(REUSED), "instrument_expired", (REUSED.instrument_token,)),
            (
                name(MOVED),
                "instrument_changed",
                (MOVED.instrument_token, REUSED.instrument_token),
            ),
        }

        held = {record.key: record.value for record in records[TOPICS.instruments]}
        assert held[str(GONE.instrument_token)] is None
        assert held[str(MOVED.instrument_token)] is None
        assert held[str(REUSED.instrument_token)]["tradingsymbol"] == MOVED.tradingsymbol

        ticks = [
            tick
            for session in (await around.ticks()).values()
            for tick in session
            if tick["instrument_token"] == REUSED.instrument_token
        ]
        ticks.sort(key=lambda tick: tick["receive_time_us"])
        names = [tick["tradingsymbol"] for tick in ticks]
        before = names.count(REUSED.tradingsymbol)
        assert names == [REUSED.tradingsymbol] * before + [MOVED.tradingsymbol] * (
            len(names) - before
        )
        assert 0 < before < len(names)
