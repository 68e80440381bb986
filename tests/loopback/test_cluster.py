"""Replicas of the control plane over the embedded broker and the simulator."""

import asyncio
import json

import pytest

from connector.cluster import cluster, leadership
from connector.cluster.handovers import Handovers
from connector.cluster.items import CaughtUp
from connector.cluster.slot import Slot, SlotPhase
from connector.kite.clock import SYSTEM_CLOCK
from connector.kite.feed.events import ConnectionState
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.masters import FakeMaster
from tests.support.replicas import Replica, Steering, broker, replicas, settings, settled
from tests.support.slot_connection import FakeConnection

A, B, C, D, E, F = (n << 8 | 1 for n in range(1, 7))
KEY = "simulated_key"


@pytest.fixture
async def feed():
    async with SimulatorServer(SimulatorConfig(stepped=True)) as simulator:
        yield simulator


def tree(kafka, feed, **changes):
    return settings(kafka.bootstrap_servers, feed.ws_url, **changes)


def gaps(handler):
    return [event for event in handler.events if event.type == "gap"]


async def test_replicas_share_the_slots_and_one_leads(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 2) as members:
        await settled(members, [0, 1, 2])
        assert {len(member.owned) for member in members} == {1, 2}
        reply = await steering.send("subscribe", instruments=[A, B, C], mode="full")
        assert (reply["status"], reply["accepted"], reply["revision"]) == ("APPLIED", 3, 1)
        await until(lambda: feed.subscriptions() == {A: "full", B: "full", C: "full"})
        assert sorted(len(socket.subscriptions) for socket in feed.sockets) == [1, 1, 1]
        await steering.send("set-mode", instruments=[A], mode="ltp")
        await steering.send("unsubscribe", instruments=[B])
        await until(lambda: feed.subscriptions() == {A: "ltp", C: "full"})
        for member in members:
            assert member.cluster.not_ready() == []
    assert feed.open_sockets(KEY) == 0
    assert feed.max_open_sockets(KEY) == 3


async def test_spare_replicas_stand_by(kafka, feed):
    async with replicas(tree(kafka, feed), 6) as members:
        await settled(members, [0, 1, 2])
        assert sorted(len(member.owned) for member in members) == [0, 0, 0, 1, 1, 1]
        await until(lambda: not any(member.cluster.not_ready() for member in members))
        assert [m.cluster.status()["role"] for m in members].count("standby") == 3
    assert feed.max_open_sockets(KEY) == 3


async def test_a_replica_that_leaves_hands_everything_over(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 1) as (first,):
        await settled([first], [0, 1, 2])
        await steering.send("subscribe", watchlist="w", instruments=[A, B, C, D], mode="quote")
        second = Replica(tree(kafka, feed))
        await second.start()
        await until(lambda: second.owned)
        await first.stop()
        await settled([second], [0, 1, 2])
        await until(lambda: feed.subscriptions().keys() == {A, B, C, D})
        # the new leader has the state, and remembers
        reply = await steering.send("subscribe", watchlist="w", instruments=[E])
        assert reply["revision"] == 2
        # the embedded broker shows a reply before its transaction is committed
        await until(lambda: second.cluster.status()["watchlists"] == {"w": 5})
        await second.stop()
    assert feed.max_open_sockets(KEY) == 3


async def test_slots_that_nobody_streams_come_before_what_a_leader_has_to_do(
    kafka, feed, steering, monkeypatch
):
    # longer than any machine needs
    monkeypatch.setattr(leadership, "SLOTS_FIRST_SECONDS", 300.0)
    async with replicas(tree(kafka, feed), 1) as (first,):
        await settled([first], [0, 1, 2])
        # of which the feed has prices: the others send nothing
        listed = [one.instrument_token for one in feed.universe.listings[:4]]
        await steering.send("subscribe", instruments=listed)
    begun = []

    class Watched(leadership.Leadership):
        def begin(self):
            begun.append(sum(stats.confirmed for stats in second.cluster.stats()))
            super().begin()

    monkeypatch.setattr(cluster, "Leadership", Watched)
    async with replicas(tree(kafka, feed), 1) as (second,):
        await settled([second], [0, 1, 2])
        assert len(feed.subscriptions()) == 4
    assert begun == [4]


async def test_a_repeated_id_has_one_effect_even_with_another_leader(kafka, feed, steering):
    message = {"id": "same", "type": "subscribe", "watchlist": "w", "instruments": [A]}
    async with replicas(tree(kafka, feed), 1) as members:
        await settled(members, [0, 1, 2])
        steering.write(json.dumps(message).encode())
        first = await steering.reply("same")
        await steering.send("delete", watchlist="w")
    async with replicas(tree(kafka, feed), 1) as members:
        await settled(members, [0, 1, 2])
        steering.write(json.dumps(message).encode())
        assert await steering.reply("same") == first
        assert (await steering.send("status"))["payload"]["instruments"] == 0


async def test_bad_messages_stop_nothing(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 1) as members:
        await settled(members, [0, 1, 2])
        steering.write(b"\x00 not json")
        steering.write(b'{"type": "subscribe", "instruments": [1]}')
        reply = await steering.send("subscribe", instruments=["INFY"])
        assert reply["status"] == "REJECTED"
        assert reply["errors"][0].startswith("instruments[0]: must be an instrument token")
        assert (await steering.send("subscribe", instruments=[A]))["status"] == "APPLIED"
        assert members[0].cluster.status()["commands"]["dead_letters"] == 2


async def test_reconnect_opens_a_new_socket_once(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 1) as (member,):
        await settled([member], [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        connects = {n: slot.connection.stats.connects for n, slot in member.cluster.slots.items()}
        assert (await steering.send("reconnect", slot=1))["status"] == "APPLIED"
        await until(lambda: member.cluster.slots[1].connection.stats.connects == 2)
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        after = {n: slot.connection.stats.connects for n, slot in member.cluster.slots.items()}
        assert after == {**connects, 1: 2}
        assert (await steering.send("reconnect", slot=7))["status"] == "REJECTED"
    async with replicas(tree(kafka, feed), 1) as (member,):
        await settled([member], [0, 1, 2])
        assert [slot.connection.stats.connects for slot in member.cluster.slots.values()] == [1] * 3


async def test_what_was_stopped_or_paused_stays_so_over_restarts(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 1) as (member,):
        await settled([member], [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        assert (await steering.send("stop", slot=0, by="asha"))["accepted"] == 1
        assert (await steering.send("pause", slot=1))["accepted"] == 1
        await until(lambda: feed.subscriptions().keys() == {C})
        await until(lambda: feed.open_sockets(KEY) == 2)
        assert member.cluster.not_ready() == []
    async with replicas(tree(kafka, feed), 1) as (member,):
        await until(lambda: feed.subscriptions().keys() == {C})
        await until(lambda: feed.open_sockets(KEY) == 2)
        await until(lambda: member.cluster.not_ready() == [])
        halts = {n: slot["halt"] for n, slot in member.cluster.status()["slots"].items()}
        assert halts == {0: "stopped", 1: "paused", 2: None}
        await steering.send("resume", account=tree(kafka, feed).accounts[0].name)
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        assert feed.open_sockets(KEY) == 3
        assert {event.type for event in member.events} == {"slot_resumed"}
        assert gaps(member.handlers[0]), "what was missed is told"


async def test_a_rebalance_moves_without_a_gap(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 2) as members:
        await settled(members, [0, 1, 2])
        await steering.send("subscribe", watchlist="keep", instruments=[A])
        for gone, kept in ((B, C), (D, E)):
            await steering.send("subscribe", watchlist="go", instruments=[gone])
            await steering.send("subscribe", watchlist="go", instruments=[gone + 1024])
            await steering.send("subscribe", watchlist="keep", instruments=[kept])
        await steering.send("delete", watchlist="go")
        await until(lambda: feed.subscriptions().keys() == {A, C, E})
        assert {len(socket.subscriptions) for socket in feed.sockets} == {0, 3}
        asked_before = len(feed.requests)
        assert (await steering.send("rebalance"))["accepted"] == 2
        await until(
            lambda: sorted(len(socket.subscriptions) for socket in feed.sockets) == [1, 1, 1]
        )
        actions = [request.action for request in feed.requests[asked_before:]]
        assert actions.index("unsubscribe") > max(
            n for n, action in enumerate(actions) if action == "subscribe"
        )


async def test_the_settings_instruments_are_there_from_the_start(kafka, feed, steering):
    master = FakeMaster({"NSE:A": A})
    instruments = [
        {"mode": "full", "instruments": ["NSE:A"]},
        {"mode": "ltp", "instruments": [B, "NSE:UNKNOWN"]},
    ]
    changed = tree(kafka, feed, instruments=instruments)
    async with replicas(changed, 1, master=master) as (member,):
        await until(lambda: feed.subscriptions() == {A: "full", B: "ltp"})
        assert member.cluster.unresolved() == ["NSE:UNKNOWN: not in the instrument master"]
        member.cluster.set_master(FakeMaster({"NSE:A": C, "NSE:UNKNOWN": D}))
        await until(lambda: feed.subscriptions() == {C: "full", B: "ltp", D: "ltp"})
        # the member may hear of a transaction before the leader's thread has gone on
        await until(lambda: member.cluster.unresolved() == [])
        assert [event.tokens for event in member.events] == [(A, C)]


async def test_refresh_instruments_waits_for_the_list(kafka, feed, steering):
    async def refresh(accept_list):
        await asyncio.sleep(0)
        member.cluster.set_master(FakeMaster({"NSE:A": B}))

    async with replicas(tree(kafka, feed), 1, master=FakeMaster({"NSE:A": A}), refresh=refresh) as (
        member,
    ):
        await settled([member], [0, 1, 2])
        await steering.send("subscribe", instruments=["NSE:A"])
        reply = await steering.send("refresh-instruments")
        assert (reply["status"], reply["accepted"]) == ("APPLIED", 1)
        await until(lambda: feed.subscriptions().keys() == {B})


async def test_a_slot_that_is_given_up_has_a_gap_from_the_last_frame(kafka, feed):
    """Over the embedded broker one after the other: it takes no last word while others join."""
    async with replicas(tree(kafka, feed), 1) as (first,):
        await settled([first], [0, 1, 2])
        for handler in first.handlers.values():
            # nobody had the slot before
            assert [(gap.gap_from_ms, gap.slot) for gap in gaps(handler)] == [(None, handler.slot)]
        await feed.heartbeat()
        await until(lambda: all(s.last_frame_us for s in first.cluster.slots.values()))
        before = first.cluster.slots
    async with replicas(tree(kafka, feed), 1) as (second,):
        await settled([second], [0, 1, 2])
        for slot, handler in second.handlers.items():
            (gap,) = gaps(handler)
            assert gap.gap_from_ms == before[slot].last_frame_us // 1000
            assert gap.gap_from_ms <= gap.gap_to_ms


async def test_after_a_kill_the_gap_begins_at_the_last_frame_that_was_kept(kafka, feed):
    killed = Replica(tree(kafka, feed))
    await killed.start()
    await settled([killed], [0, 1, 2])
    await feed.heartbeat()
    await until(lambda: all(slot.last_frame_us for slot in killed.cluster.slots.values()))
    frames = killed.cluster._membership._frames
    await until(lambda: frames._kept.keys() == {0, 1, 2})
    # a killed process hands nothing over
    frames.hand_over = lambda *_: None
    await killed.stop()
    async with replicas(tree(kafka, feed), 1) as (second,):
        await settled([second], [0, 1, 2])
        for slot, handler in second.handlers.items():
            assert [gap.gap_from_ms for gap in gaps(handler)] == [frames._kept[slot] // 1000]


async def test_a_slot_that_nobody_waits_for_any_more_is_given_up_all_the_same(kafka, feed):
    """As in a process that was frozen: its member has no time left, and another owns the slot."""
    forever = asyncio.Event()

    async def drained(slot):
        await forever.wait()

    async with replicas(tree(kafka, feed), 1, drained=drained) as (member,):
        await settled([member], [0, 1, 2])
        slot = member.cluster.slots[0]
        closing = asyncio.create_task(member.cluster.revoked([0], leads=False))
        await until(lambda: slot.connection.state is ConnectionState.CLOSED)
        closing.cancel()
        await asyncio.gather(closing, return_exceptions=True)
        assert member.owned == [1, 2]
        forever.set()


async def test_stopping_the_intake_keeps_the_slots(kafka, feed):
    async with replicas(tree(kafka, feed), 2) as members:
        await settled(members, [0, 1, 2])
        first, second = members
        owned = first.owned
        await first.cluster.stop_intake(asyncio.Event())
        assert first.owned == owned
        assert {slot.connection.state for slot in first.cluster.slots.values()} == {
            ConnectionState.CLOSED
        }
        await until(lambda: feed.open_sockets(KEY) == 3 - len(owned))
        assert len(second.owned) == 3 - len(owned)
        await first.cluster.release()
        await settled([second], [0, 1, 2])


async def test_what_was_received_is_drained_before_a_slot_is_given_up(kafka, feed):
    order = []

    async def drained(slot):
        order.append((slot, feed.open_sockets(KEY)))
        await asyncio.sleep(0)

    async with replicas(tree(kafka, feed), 1, drained=drained) as (member,):
        await settled([member], [0, 1, 2])
        await member.cluster.release()
        assert sorted(slot for slot, _ in order) == [0, 1, 2]


async def test_a_slot_that_moves_streams_on_until_its_new_owner_has_read_its_partition(
    kafka, feed, steering
):
    """And that one opens nothing before Kafka has what the old one received."""
    delivered, moved = asyncio.Event(), []

    async def drained(slot):
        moved.append((slot, slot in second.owned, feed.open_sockets(KEY)))
        await delivered.wait()

    async with replicas(tree(kafka, feed), 1, drained=drained) as (first,):
        await settled([first], [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        second = Replica(tree(kafka, feed))
        # on a machine that is busy with other tests the embedded broker's group may take longer
        first.cluster._leaving._seconds = 60.0
        await second.start()
        try:
            await until(lambda: moved)
            for slot, taken, sockets in moved:
                assert (taken, sockets) == (True, 2)
                connection = second.cluster.slots[slot].connection
                assert connection.state is not ConnectionState.CONNECTED
            delivered.set()
            await settled([first, second], [0, 1, 2])
            await until(lambda: feed.subscriptions().keys() == {A, B, C})
        finally:
            delivered.set()
            await second.stop()
    assert feed.max_open_sockets(KEY) == 3


async def test_a_slot_that_comes_back_before_it_was_taken_keeps_its_socket(
    kafka, feed, steering, monkeypatch
):
    announced = []

    async def never(_self, slot, handover, _seconds):
        announced.append(slot)
        await asyncio.Event().wait()

    monkeypatch.setattr(Handovers, "wanted", never)
    async with replicas(tree(kafka, feed), 1) as (first,):
        await settled([first], [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        opened = {socket.number for socket in feed.sockets}
        second = Replica(tree(kafka, feed))
        await second.start()
        await until(lambda: announced and second.owned)
        assert {slot.phase for slot in first.cluster.slots.values()} >= {SlotPhase.LEAVING}
        await second.stop()
        await settled([first], [0, 1, 2])
        await steering.send("subscribe", instruments=[D])
        await until(lambda: feed.subscriptions().keys() == {A, B, C, D})
        assert {socket.number for socket in feed.sockets} == opened
        assert first.cluster._leaving._waits == {}


async def test_while_the_broker_is_away_streaming_goes_on_over_the_same_sockets(
    kafka, feed, steering
):
    async with replicas(tree(kafka, feed), 1) as (member,):
        await settled([member], [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
        sockets = [socket.number for socket in feed.sockets]
        kafka.set_down()
        await until(lambda: {slot.phase for slot in member.cluster.slots.values()} == {"held"})
        await until(lambda: not member.cluster.leads)
        kafka.set_up()
        await until(lambda: {slot.phase for slot in member.cluster.slots.values()} == {"streaming"})
        await settled([member], [0, 1, 2])
        assert (await steering.send("subscribe", instruments=[D]))["status"] == "APPLIED"
        await until(lambda: feed.subscriptions().keys() == {A, B, C, D})
        assert [socket.number for socket in feed.sockets] == sockets


async def test_after_an_outage_each_slot_has_one_owner_again(kafka, feed, steering):
    async with replicas(tree(kafka, feed), 2) as members:
        await settled(members, [0, 1, 2])
        await steering.send("subscribe", instruments=[A, B, C])
        kafka.set_down()
        await until(
            lambda: all(slot.phase == "held" for m in members for slot in m.cluster.slots.values())
        )
        assert feed.open_sockets(KEY) == 3
        kafka.set_up()
        await settled(members, [0, 1, 2])
        await until(lambda: feed.subscriptions().keys() == {A, B, C})
    assert feed.max_open_sockets(KEY) == 3


async def test_two_api_keys(feed):
    accounts = [
        {"name": "one", "api_key": KEY, "access_token": "simulated_token"},
        {"name": "two", "api_key": "second_key", "access_token": "simulated_token"},
    ]
    config = SimulatorConfig(stepped=True, accounts=[{"api_key": KEY}, {"api_key": "second_key"}])
    async with SimulatorServer(config) as feed:
        with broker(accounts=2) as kafka:
            steering = Steering(kafka.bootstrap_servers)
            async with replicas(tree(kafka, feed, accounts=accounts), 2) as members:
                await settled(members, range(6))
                await steering.send("subscribe", instruments=[A, B, C, D, E, F])
                await until(lambda: len(feed.subscriptions()) == 6)
                assert {len(socket.subscriptions) for socket in feed.sockets} == {1}
                assert (feed.open_sockets(KEY), feed.open_sockets("second_key")) == (3, 3)
            # one api_key goes: its slots are drained into the others
            async with replicas(tree(kafka, feed, accounts=accounts[:1]), 2) as members:
                await until(lambda: feed.open_sockets(KEY) == 3)
                await until(
                    lambda: (
                        sorted(len(socket.subscriptions) for socket in feed.sockets) == [2, 2, 2]
                    )
                )
                assert feed.open_sockets("second_key") == 0
                status = (await steering.send("status"))["payload"]
                assert (status["instruments"], status["capacity"]) == (6, 9000)
            steering.close()


async def test_what_names_an_account_streams_over_its_sockets_alone():
    accounts = [
        {"name": "one", "api_key": KEY, "access_token": "simulated_token"},
        {"name": "two", "api_key": "second_key", "access_token": "simulated_token"},
    ]
    config = SimulatorConfig(stepped=True, accounts=[{"api_key": KEY}, {"api_key": "second_key"}])
    groups = [{"mode": "full", "account": "one", "instruments": [E]}]
    async with SimulatorServer(config) as feed:

        def streamed(api_key):
            return {
                token
                for socket in feed.sockets
                if socket.api_key == api_key
                for token in socket.subscriptions
            }

        with broker(accounts=2) as kafka:
            steering = Steering(kafka.bootstrap_servers)
            given = tree(kafka, feed, accounts=accounts, instruments=groups)
            async with replicas(given, 1) as members:
                await settled(members, range(6))
                await steering.send("subscribe", watchlist="any", instruments=[A])
                fields = {"watchlist": "w", "instruments": [A, B, C, D], "account": "two"}
                assert (await steering.send("subscribe", **fields))["accepted"] == 4
                # A, which was on the first account, moves without a gap
                await until(lambda: streamed("second_key") == {A, B, C, D})
                await until(lambda: streamed(KEY) == {E})
                reply = await steering.send("subscribe", **{**fields, "account": "three"})
                assert reply["errors"] == [
                    "account: there is no account of this name; there are one, two"
                ]
            steering.close()


async def test_a_slot_that_comes_while_the_replica_ends_is_not_taken_up():
    member = Replica(settings("127.0.0.1:1", "ws://127.0.0.1:1"))
    await member.cluster.stop_intake(asyncio.Event())
    member.cluster.assigned([0, 1], leads=False, last_frames_us={})
    assert member.owned == []


async def test_the_next_owner_of_a_mute_slot_is_told_of_its_last_tick_and_not_of_a_heartbeat():
    connection = FakeConnection()
    member = Replica(settings("127.0.0.1:1", "ws://127.0.0.1:1"), connect=lambda _slot: connection)
    member.cluster._intake = member
    member.cluster._slots[0] = Slot(0, lambda: connection, 3000, SYSTEM_CLOCK, last_frame_us=3)
    member.cluster.apply([CaughtUp(0, never_written=False)])
    connection.last_frame_us, connection.gap_from_us = 8, 7
    assert member.cluster.last_frames_us() == {0: 8}
    assert await member.cluster.revoked([0], leads=False) == {0: 7}
    assert member.owned == []


async def test_a_slot_that_fails_to_close_ends_nobodys_wait_for_the_others():
    """Behind it their partitions are given up: the feed has room for no second socket of a slot."""
    failing, slow = FakeConnection(), FakeConnection()
    may_close = asyncio.Event()

    async def fail():
        raise RuntimeError("cannot close")

    failing.close, slow.close = fail, may_close.wait
    member = Replica(settings("127.0.0.1:1", "ws://127.0.0.1:1"))
    member.cluster._intake = member
    for number, connection in enumerate((failing, slow)):
        slot = Slot(number, None, 3000, SYSTEM_CLOCK)
        slot.connection = connection
        member.cluster._slots[number] = slot
    closing = asyncio.create_task(member.cluster.revoked([0, 1], leads=False))
    await until(lambda: 0 not in member.cluster._slots)
    for _ in range(5):  # more turns of the event loop than an end takes
        await asyncio.sleep(0)
    assert not closing.done()
    may_close.set()
    await closing
    assert member.owned == []
