import asyncio
from datetime import date

import pytest
from structlog.testing import capture_logs

from connector.kite.feed.events import ConnectionState
from connector.kite.wire.models import Mode
from connector.service.outside import credentials_of
from connector.service.static_slots import StaticSlots, resolve
from connector.settings.models import Settings
from connector.testing import FakeClock
from tests.support.masters import FakeMaster
from tests.support.producing import pipeline

INFY, SBIN = 408065, 779521


def settings(*groups, accounts=({"api_key": "k", "access_token": "t"},), **given):
    return Settings.model_validate(
        {
            "accounts": list(accounts),
            "instruments": [{"mode": mode, "instruments": names} for mode, names in groups],
            # nobody listens there, and nothing here waits for it
            "feed": {"root": "ws://127.0.0.1:9"},
            **given,
        }
    )


@pytest.fixture
async def open_slots():
    opened = []

    async def start(given):
        slots = StaticSlots(
            given, {account.name: credentials_of(account) for account in given.accounts}
        )
        opened.append(slots)
        await slots.start(pipeline())
        return slots

    yield start
    for slots in opened:
        await slots.stop_intake(asyncio.Event())


def carried(slots):
    return {slot: connection.desired() for slot, connection in slots._connections.items()}


def test_the_highest_mode_wins():
    groups = settings(
        ("ltp", [INFY, SBIN]), ("full", ["NSE:INFY"]), ("quote", [INFY, "NSE:NONE", "NSE:NONE"])
    ).instruments
    wanted, unknown = resolve(groups, {"NSE:INFY": INFY})
    assert wanted == {INFY: Mode.FULL, SBIN: Mode.LTP}
    assert unknown == ["NSE:NONE"]


def test_without_a_master_no_name_has_a_token():
    assert resolve(settings(("full", ["NSE:INFY", SBIN])).instruments, {}) == (
        {SBIN: Mode.FULL},
        ["NSE:INFY"],
    )


async def test_all_slots_share_the_list(open_slots):
    slots = await open_slots(settings(("full", [INFY, SBIN, 256265, 265])))
    assert [len(desired) for desired in carried(slots).values()] == [2, 1, 1]
    assert [stats.slot for stats in slots.stats()] == [0, 1, 2]
    assert not slots.unresolved()


async def test_an_accounts_slots_keep_their_numbers(open_slots):
    accounts = [
        {"name": "a", "api_key": "1", "access_token": "t", "connections": 2},
        {"name": "b", "api_key": "2", "access_token": "t"},
    ]
    slots = await open_slots(settings(accounts=accounts))
    assert [(stats.slot, stats.account) for stats in slots.stats()] == [
        (0, "a"), (1, "a"), (3, "b"), (4, "b"), (5, "b"),
    ]  # fmt: skip


async def test_a_group_on_an_account_is_carried_by_its_slots_alone(open_slots):
    accounts = [
        {"name": "a", "api_key": "1", "access_token": "t"},
        {"name": "b", "api_key": "2", "access_token": "t", "connections": 1},
    ]
    given = settings(("full", [INFY, SBIN, 265]), ("ltp", [256265, 257]), accounts=accounts)
    on_b = given.instruments[0].model_copy(update={"account": "b"})
    small = given.connection.model_copy(update={"max_symbols_per_connection": 2})
    slots = await open_slots(
        given.model_copy(update={"instruments": (on_b, given.instruments[1]), "connection": small})
    )
    assert {slot: set(desired) for slot, desired in carried(slots).items()} == {
        0: {256265}, 1: {257}, 2: set(), 3: {INFY, SBIN},
    }  # fmt: skip
    assert [set(slots.carried(slot)) for slot in range(4)] == [
        {256265}, {257}, set(), {INFY, SBIN},
    ]  # fmt: skip
    assert slots.unresolved() == ["265: no room, the connections of account b are full"]
    assert slots.subscriptions()[INFY].account == "b"
    assert slots.subscriptions()[257].account is None


async def test_names_come_with_the_master(open_slots):
    slots = await open_slots(settings(("full", ["NSE:INFY", "NSE:NONE", SBIN])))
    assert slots.unresolved() == [
        "NSE:INFY: the instrument master is not loaded yet",
        "NSE:NONE: the instrument master is not loaded yet",
    ]
    with capture_logs() as logs:
        slots.set_master(FakeMaster({"NSE:INFY": INFY}))
    assert {token for desired in carried(slots).values() for token in desired} == {INFY, SBIN}
    assert slots.unresolved() == ["NSE:NONE: not in the instrument master"]
    assert logs[-1]["names"] == ["NSE:NONE"]


async def test_a_name_with_another_token_moves_to_it(open_slots):
    slots = await open_slots(settings(("full", ["NFO:FUT", SBIN])))
    slots.set_master(FakeMaster({"NFO:FUT": 1000 * 256 + 2}))
    slots.set_master(FakeMaster({"NFO:FUT": 2000 * 256 + 2}))
    tokens = {token for desired in carried(slots).values() for token in desired}
    assert tokens == {2000 * 256 + 2, SBIN}


async def test_a_name_that_a_list_lacks_keeps_its_token_until_it_has_expired(open_slots):
    future = 1000 * 256 + 2
    given = settings(("full", ["NFO:FUT", "NSE:INFY"]))
    clock = FakeClock(1_769_655_600_000_000)  # 2026-01-29, 08:30 in India
    slots = StaticSlots(given, {"main": credentials_of(given.accounts[0])}, clock=clock)
    tokens = {"NFO:FUT": future, "NSE:INFY": INFY}
    slots.set_master(FakeMaster(tokens, {future: date(2026, 1, 29)}))
    await slots.start(pipeline())
    try:
        slots.set_master(FakeMaster({"NSE:SBIN": SBIN}))
        assert {token for one in carried(slots).values() for token in one} == {future, INFY}
        assert slots.unresolved() == []
        await clock.advance(24 * 3600)
        slots.set_master(FakeMaster({"NSE:SBIN": SBIN}))
        assert {token for one in carried(slots).values() for token in one} == {INFY}
        assert slots.unresolved() == ["NFO:FUT: not in the instrument master"]
    finally:
        await slots.stop_intake(asyncio.Event())


async def test_a_name_of_two_tokens_keeps_the_one_it_had_and_gets_none_where_it_had_none(
    open_slots,
):
    slots = await open_slots(settings(("full", ["NSE:INFY", "NSE:SBIN"])))
    slots.set_master(FakeMaster({"NSE:INFY": INFY, "NSE:SBIN": (SBIN, 1025)}))
    slots.set_master(FakeMaster({"NSE:INFY": (257, INFY), "NSE:SBIN": (SBIN, 1025)}))
    assert {token for one in carried(slots).values() for token in one} == {INFY}
    assert slots.unresolved() == [
        f"NSE:SBIN: ambiguous: the list has it for the tokens {SBIN}, 1025"
    ]


async def test_a_master_before_the_start(open_slots):
    given = settings(("full", ["NSE:INFY"]))
    slots = StaticSlots(given, {"main": credentials_of(given.accounts[0])})
    slots.set_master(FakeMaster({"NSE:INFY": INFY}))
    await slots.start(pipeline())
    assert carried(slots)[0] == {INFY: Mode.FULL}
    await slots.stop_intake(asyncio.Event())


async def test_what_finds_no_room_is_named(open_slots):
    tokens = [number * 256 + 1 for number in range(1, 9)]
    with capture_logs() as logs:
        slots = await open_slots(
            settings(("full", tokens), connection={"max_symbols_per_connection": 2})
        )
    assert [len(desired) for desired in carried(slots).values()] == [2, 2, 2]
    assert slots.unresolved() == [
        f"{token}: no room, the connections are full" for token in tokens[6:]
    ]
    assert "no room for 2 instruments" in logs[-1]["reason"]


async def test_who_is_unserved_is_told_with_its_slot(open_slots):
    slots = await open_slots(settings())
    first, *_, last = slots._connections
    slots._connections[first].unserved = lambda: [(408065, 7.0)]
    slots._connections[last].unserved = lambda: [(738561, 9.0)]
    assert slots.unserved() == [(first, 408065, 7.0), (last, 738561, 9.0)]


async def test_waiting_for_a_token_is_a_reason(open_slots):
    slots = await open_slots(settings(accounts=[{"api_key": "k", "connections": 1}]))
    assert slots.not_ready() == ["slot 0 (main) is idle"]
    states = []
    connection = slots._connections[0]
    await connection.first_outcome()
    states.append(connection.state)
    assert states == [ConnectionState.WAITING_FOR_TOKEN]
    (reason,) = slots.not_ready()
    assert reason.startswith("slot 0 (main) is waiting for token: ")
