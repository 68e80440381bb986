"""Mute and half-served sockets, over a real WebSocket and into Kafka: mended while trading."""

from connector.kite.feed.rhythm import LEARNED_ROUNDS
from connector.settings.models import InstrumentSettings
from connector.simulator import FaultKind, SimulatorConfig
from connector.testing import until
from tests.support.clock import TradingClock
from tests.support.stack import TOPICS, delivered, service, stack

# a market that moves by itself, whatever the day; thresholds that a test need not wait for
SIMULATOR = SimulatorConfig(instruments=200, heartbeat_seconds=0.05, updates_per_second=20)
CONNECTION = {
    "reconnect_min_delay_seconds": 0.01, "reconnect_max_delay_seconds": 0.1,
    "slot_wait_seconds": 0.05,
    "stall_threshold_seconds": 0.6, "confirm_timeout_seconds": 0.2, "confirm_attempts": 2,
}  # fmt: skip


def confirmed(running):
    return all(one.confirmed == one.desired for one in running.status().connections)


async def events(around, kind):
    records = (await around.records(TOPICS.events))[TOPICS.events]
    return [record.value for record in records if record.value["type"] == kind]


async def test_a_socket_that_goes_mute_is_told_and_replaced():
    async with stack(SIMULATOR, connection=CONNECTION) as around, service(
        around, ready=False, clock=TradingClock()
    ) as running:  # fmt: skip
        await until(lambda: running.status().ready and confirmed(running))
        first = {socket.number for socket in around.simulator.sockets}
        await around.simulator.inject(FaultKind.MUTE)
        await until(lambda: any("no ticks" in why for why in running.status().not_ready))
        await until(lambda: running.status().ready and confirmed(running))
        streaming = [one for one in running.status().connections if one.desired]
        assert all(one.renewals >= 1 and one.trouble is None for one in streaming)
        assert first.isdisjoint(
            socket.number for socket in around.simulator.sockets if socket.subscriptions
        )
        around.simulator.set_market(is_open=False)
        await delivered(running)
        slots = {one.slot for one in streaming}
        assert {event["slot"] for event in await events(around, "stalled")} >= slots
        # the first socket of a slot has a gap from nobody knows when
        gaps = [gap for gap in await events(around, "gap") if gap["gap_from"] is not None]
        assert {gap["slot"] for gap in gaps} >= slots
        assert all(gap["gap_to"] > gap["gap_from"] for gap in gaps)


async def test_requests_that_are_ignored_are_repeated_until_the_feed_hears_them():
    patient = {**CONNECTION, "stall_threshold_seconds": 60.0}
    async with stack(SIMULATOR, connection=patient) as around:
        await around.simulator.inject(FaultKind.DEAF, upcoming=True)
        async with service(around, ready=False, clock=TradingClock()) as running:
            await until(
                lambda: any("have sent nothing" in why for why in running.status().not_ready)
            )
            assert not running.status().ready
            around.simulator.clear_faults()
            await until(lambda: running.status().ready and confirmed(running))
            # on the same sockets
            assert {one.connects for one in running.status().connections} == {1}


async def test_a_half_served_socket_is_replaced_until_one_serves_everything():
    async with stack(SIMULATOR, connection=CONNECTION) as around:
        await around.simulator.inject(FaultKind.HALF_SERVED, upcoming=True)
        async with service(around, ready=False, clock=TradingClock()) as running:
            await until(lambda: sum(one.renewals for one in running.status().connections) >= 2)
            await until(
                lambda: any("have sent nothing" in why for why in running.status().not_ready)
            )
            around.simulator.clear_faults()
            await until(lambda: running.status().ready and confirmed(running))


def many(around):
    """Settings with instruments that a half-served socket brings, and others."""
    tokens = tuple(listing.instrument_token for listing in around.simulator.universe.listings[:60])
    wanted = (InstrumentSettings(mode="quote", instruments=tokens),)
    return around.settings.model_copy(update={"instruments": wanted})


def learned(running):
    """Each instrument was heard in enough rounds for its silence to be strange."""
    rhythms = [each._session._rhythm for each in running.owner._connections.values()]
    beats = [beat for rhythm in rhythms for beat in rhythm._beats.values()]
    return len(beats) == 60 and all(beat.learned >= LEARNED_ROUNDS for beat in beats)


async def test_instruments_that_fall_silent_later_are_noticed_and_their_socket_replaced():
    async with stack(SIMULATOR, connection=CONNECTION) as around, service(
        around, many(around), ready=False, clock=TradingClock()
    ) as running:  # fmt: skip
        await until(lambda: running.status().ready and confirmed(running) and learned(running))
        first = {socket.number for socket in around.simulator.sockets}
        await around.simulator.inject(FaultKind.HALF_SERVED)
        await until(lambda: any("have sent nothing" in why for why in running.status().not_ready))
        await until(
            lambda: (
                all(one.renewals for one in running.status().connections)
                and running.status().ready
                and confirmed(running)
            )
        )
        assert first.isdisjoint(socket.number for socket in around.simulator.sockets)
        around.simulator.set_market(is_open=False)
        await delivered(running)
        assert {event["slot"] for event in await events(around, "unconfirmed")} == {0, 1, 2}


async def test_wild_times_reach_kafka_and_move_no_event_time():
    async with stack(connection=CONNECTION) as around, service(around) as running:
        await around.simulator.inject(FaultKind.WILD_TIME)
        await until(lambda: running.status().implausible_times >= 3)
        await delivered(running)
        ticks = [tick for session in (await around.ticks()).values() for tick in session]
        wild = [tick for tick in ticks if tick["exchange_timestamp"] is not None
                and tick["exchange_timestamp"].year in {1970, 2038, 2106}]  # fmt: skip
        assert {tick["exchange_timestamp"].year for tick in wild} == {1970, 2038, 2106}
        receive_years = {tick["event_time"].year for tick in wild}
        assert receive_years.isdisjoint({1970, 2038, 2106})
