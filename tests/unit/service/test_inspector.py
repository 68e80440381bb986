from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connector.control.records import Subscription
from connector.kite.wire.models import Exchange, Mode
from connector.service.inspector import (
    LOOK_SECONDS,
    MAX_FOUND,
    MAX_INSPECTED,
    MAX_MEMBERS,
    MAX_SEARCH_CHARS,
    Facts,
    Inspector,
    changed_by,
    find,
    members,
    newest_packet,
    reasons,
    remarks,
)
from connector.testing import FakeClock
from tests.support import packets
from tests.support.producing import pipeline

INFY = packets.NSE
OTHER = packets.NFO
MONDAY_TEN = datetime(2026, 1, 5, 4, 30, tzinfo=UTC)
SATURDAY = datetime(2026, 1, 10, 4, 30, tzinfo=UTC)


def subscription(symbol="NSE:INFY", slot=0, **claims):
    return Subscription(slot, {"algo": Mode.FULL, **claims}, symbol, 3)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def kite():
    made = pipeline()
    for slot in (0, 1):
        made.handler(slot).opened(1000)
    return made


def receive(kite, clock, *sent, slot=0):
    kite.handler(slot).frame(packets.frame(*sent), clock.time_us())


class TestWatching:
    async def test_the_newest_packet_is_shown_with_its_book(self, kite, clock):
        inspector = Inspector(clock)
        assert inspector.look(kite, INFY, 0)["tick"] is None
        levels = [packets.Level(10 + n, 157300 + n, n) for n in range(10)]
        receive(kite, clock, packets.quote(OTHER), packets.full(INFY, depth=levels))
        await clock.advance(0.5)
        looked = inspector.look(kite, INFY, 0)
        assert (looked["packets"], looked["age_seconds"]) == (1, 0.5)
        tick = looked["tick"]
        assert (tick["mode"], tick["exchange"], tick["last_price"]) == ("full", "NSE", 1573.15)
        assert tick["depth"]["buy"][0] == {"quantity": 10, "price": 1573.0, "orders": 0}
        assert len(tick["depth"]["sell"]) == 5
        assert tick["ohlc"]["close"] == 1567.8

    def test_another_slots_packets_are_not_looked_at(self, kite, clock):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        receive(kite, clock, packets.ltp(INFY), slot=1)
        assert inspector.look(kite, INFY, 0)["packets"] == 0

    async def test_nothing_is_looked_at_once_nobody_has_asked_for_a_while(self, kite, clock):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        assert kite.handler(0).tap is not None
        await clock.advance(LOOK_SECONDS + 1)
        receive(kite, clock, packets.ltp(INFY))
        assert kite.handler(0).tap is None

    @pytest.mark.parametrize("seconds", [-3600, 3600])
    async def test_a_clock_that_is_set_ends_nothing_and_keeps_nothing_on(
        self, kite, clock, seconds
    ):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        clock.step(seconds)
        receive(kite, clock, packets.ltp(INFY))
        await clock.advance(0.5)
        looked = inspector.look(kite, INFY, 0)
        assert (looked["packets"], looked["age_seconds"], looked["watched_seconds"]) == (
            1,
            0.5,
            0.5,
        )
        await clock.advance(LOOK_SECONDS + 1)
        receive(kite, clock, packets.ltp(INFY))
        assert kite.handler(0).tap is None

    def test_as_many_are_watched_as_there_is_room_for(self, kite, clock):
        inspector = Inspector(clock)
        tokens = [(5000 + number) << 8 | 1 for number in range(MAX_INSPECTED + 1)]
        for token in tokens:
            inspector.look(kite, token, 0)
        receive(kite, clock, *(packets.ltp(token) for token in tokens))
        assert inspector.look(kite, tokens[-1], 0)["packets"] == 1
        assert inspector.look(kite, tokens[0], 0)["packets"] == 0, "it had made room"

    def test_one_that_moved_is_watched_where_it_is(self, kite, clock):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        inspector.look(kite, INFY, 1)
        assert kite.handler(0).tap is None
        receive(kite, clock, packets.ltp(INFY), slot=1)
        assert inspector.look(kite, INFY, 1)["packets"] == 1

    def test_nothing_is_watched_after_the_end(self, kite, clock):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        inspector.close()
        assert kite.handler(0).tap is None

    def test_a_packet_that_is_no_tick_is_called_that(self, kite, clock):
        inspector = Inspector(clock)
        inspector.look(kite, INFY, 0)
        receive(kite, clock, packets.ltp(INFY)[:6])
        assert inspector.look(kite, INFY, 0)["tick"] == {"problem": "unknown_length"}


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_any_frame_can_be_searched(frame, token):
    found = newest_packet(frame, token)
    assert found is None or found.startswith(token)


@given(st.lists(st.sampled_from([packets.ltp(INFY), packets.quote(OTHER), packets.full(INFY)])))
def test_the_last_packet_of_a_token_is_found(sent):
    of_infy = [packet for packet in sent if packet[:4] == INFY.to_bytes(4)]
    expected = of_infy[-1] if of_infy else None
    assert newest_packet(packets.frame(*sent), INFY.to_bytes(4)) == expected


class TestFinding:
    KNOWN = {  # noqa: RUF012
        1: subscription("BSE:INFY"),
        2: subscription("NSE:INFY"),
        3: subscription("NFO:INFY26JANFUT"),
        408065: subscription(None),
    }

    def test_the_name_itself_comes_before_what_begins_with_it(self):
        assert [one["token"] for one in find("infy", self.KNOWN)] == [2, 1, 3]
        assert [one["token"] for one in find("jan", self.KNOWN)] == [3]

    def test_a_token_is_found_by_its_beginning(self):
        assert find("4080", self.KNOWN) == [
            {"token": 408065, "symbol": None, "mode": "full", "slot": 0}
        ]

    def test_one_that_is_only_listed_is_found_by_its_whole_name(self):
        assert find("NSE:TCS", self.KNOWN, [77]) == [
            {"token": 77, "symbol": "NSE:TCS", "mode": None, "slot": None}
        ]

    @pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_SEARCH_CHARS + 1)])
    def test_nothing_and_too_much_find_nothing(self, text):
        assert find(text, {1: subscription("NSE:" + "X" * 100)}) == []

    def test_a_search_has_a_bound(self):
        assert len(find("X", {n: subscription(f"NSE:X{n}") for n in range(1000)})) == MAX_FOUND


class TestMembers:
    def test_they_are_told_by_name_with_the_modes_of_the_watchlist(self):
        known = {
            1: subscription("NSE:TCS"),
            2: subscription("BSE:INFY", slot=2, desk=Mode.LTP),
            3: subscription(None),
            4: Subscription(0, {"desk": Mode.QUOTE}, "NSE:SBIN", 1),
        }
        told = members("algo", known)
        assert (told["watchlist"], told["count"], told["start"]) == ("algo", 3, 0)
        assert [one["symbol"] for one in told["members"]] == ["BSE:INFY", "NSE:TCS", None]
        assert members("desk", known)["members"] == [
            {"token": 2, "symbol": "BSE:INFY", "mode": "ltp", "slot": 2},
            {"token": 4, "symbol": "NSE:SBIN", "mode": "quote", "slot": 0},
        ]
        assert members("nobody", known)["count"] == 0

    @given(st.integers(0, 3 * MAX_MEMBERS))
    def test_page_by_page_each_is_told_once(self, count):
        known = {number: subscription(f"NSE:X{number:04}") for number in range(1, count + 1)}
        told = []
        for start in range(0, max(count, 1), MAX_MEMBERS):
            page = members("algo", known, start)
            assert (page["count"], page["step"]) == (count, MAX_MEMBERS)
            assert len(page["members"]) <= MAX_MEMBERS
            told += [one["token"] for one in page["members"]]
        assert told == sorted(known)


class TestReasons:
    def facts(self, **changes):
        return Facts(**{
            "subscription": subscription(), "listed": True, "list_loaded": True,
            "exchange": Exchange.NSE, "now": MONDAY_TEN, "slot_state": "connected", **changes,
        })  # fmt: skip

    def test_where_all_is_well_there_is_none(self):
        assert reasons(self.facts(age_seconds=0.1, here=True)) == []

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"subscription": None}, "nobody has subscribed it"),
            ({"subscription": None, "listed": False}, "does not have it"),
            ({"listed": False}, "expired, or renamed"),
            (
                {"subscription": subscription()._replace(expiry=date(2026, 1, 1))},
                "last trading day was 2026-01-01",
            ),
            ({"slot_state": None}, "may have no owner"),
            (
                {"slot_state": "waiting_for_token", "slot_trouble": "HTTP 403"},
                "Slot 0 is waiting for token. HTTP 403",
            ),
            ({"slot_trouble": "mute"}, "Slot 0: mute"),
            ({"now": SATURDAY}, "NSE does not trade at this time"),
            ({"silent": True}, "no packet on the present socket"),
            ({"here": True, "watched_seconds": 90.0}, "nothing was traded or quoted"),
            ({"broker_reachable": False}, "Kafka is not reachable"),
        ],
    )
    def test_each_reason_is_said(self, changes, words):
        assert any(words in reason for reason in reasons(self.facts(**changes)))

    def test_the_cause_comes_first_and_a_closed_market_is_only_besides(self):
        found = reasons(
            self.facts(slot_state="backing_off", slot_trouble="refused", listed=False, now=SATURDAY)
        )
        assert found[0] == "Slot 0 is backing off. refused"
        assert found[-1] == "Besides, NSE does not trade at this time: few ticks would come."

    def test_an_exchange_that_sends_ticks_is_not_called_closed(self):
        facts = self.facts(
            now=SATURDAY, here=True, watched_seconds=90.0, exchange_ticks=True,
        )  # fmt: skip
        assert ["Everything is as it should be" in reason for reason in reasons(facts)] == [True]
        assert remarks(facts) == [
            "By the calendar NSE is closed at this time, yet ticks of it came just now."
        ]
        for changes in ({"exchange_ticks": False}, {"now": MONDAY_TEN}, {"exchange": None}):
            assert remarks(replace(facts, **changes)) == []

    def test_a_list_that_is_not_loaded_lacks_nothing(self):
        assert reasons(self.facts(list_loaded=False, listed=False)) == []


class TestWhoChangedIt:
    def command(self, revision, by, watchlist="algo", status="APPLIED", **fields):
        reply = {"status": status, "revision": revision}
        return {"type": "subscribe", "by": by, "time_ms": 5, "watchlists": [watchlist],
                "reply": reply, **fields}  # fmt: skip

    def test_the_first_command_with_its_revision_made_it(self):
        known = subscription(algo=Mode.FULL)
        at = known.revision
        commands = [
            self.command(at + 1, "later"),
            self.command(at, "changed nothing"),
            self.command(at, "priya"),
            self.command(at - 1, "before"),
        ]
        assert changed_by(known, commands) == {"type": "subscribe", "by": "priya", "time_ms": 5}

    @pytest.mark.parametrize(
        "changes",
        [{"dry_run": True}, {"status": "REJECTED"}, {"watchlist": "other"}, {"reply": None}],
    )
    def test_what_did_not_change_it_is_not_named(self, changes):
        known = subscription(algo=Mode.FULL)
        assert changed_by(known, [self.command(known.revision, "asha", **changes)]) is None
