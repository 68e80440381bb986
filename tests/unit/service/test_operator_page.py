import asyncio
import json
from types import SimpleNamespace

import pytest

from connector.cluster.event_log import own_event
from connector.cluster.view import Seen
from connector.control.records import Halt, Halted, Subscription
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.web.http_server import EventStream, HttpRequest, Response
from connector.kite.wire.models import Mode
from connector.service.operator_page import (
    MAX_QUERY_CHARS,
    MAX_QUESTIONS_A_SECOND,
    MAX_VIEWERS,
    MAX_WAITING,
    QUESTIONS_SHARE,
    SHOWN_EVENTS,
    SHOWN_UNSERVED,
    SNAPSHOT_SECONDS,
    OperatorPage,
)
from connector.service.readiness import ServiceProgress
from connector.service.status import ConnectionStatus, UnservedInstrument
from connector.settings.models import Settings
from connector.testing import FakeClock
from tests.support.page import Owner, View
from tests.support.producing import pipeline
from tests.support.status import service_status

INFY = 408065
NOON_MS = 1_767_585_600_000


class Viewer:
    """An open page: reads what it is sent, unless it is slow."""

    def __init__(self):
        self.sent = []
        self.slow = False

    def push(self, data):
        if not self.slow:
            self.sent.append(data)
        return not self.slow

    @property
    def events(self):
        text = b"".join(self.sent).decode()
        return [
            (
                part.partition("\n")[0].removeprefix("event: "),
                json.loads(part.partition("data: ")[2]),
            )
            for part in text.split("\n\n")
            if part.startswith("event: ")
        ]

    def last(self, name):
        return [document for kind, document in self.events if kind == name][-1]


class Kit:
    def __init__(self, **settings):
        self.settings = Settings.model_validate(
            {"accounts": [{"name": "main", "api_key": "k", "access_token": "t"}], **settings}
        )
        self.clock = FakeClock()
        self.view, self.owner, self.progress = View(), Owner(), ServiceProgress()
        self.status = service_status()
        self.snapshots = 0
        self.page = OperatorPage(
            self.settings, self.snapshot, lambda slot: [slot, 5], self.owner, self.progress,
            self.view, "pod-1", clock=self.clock,
        )  # fmt: skip

    def snapshot(self):
        self.snapshots += 1
        return self.status

    def ask(self, path, query=""):
        return self.page.answer(HttpRequest(path, query))

    def json(self, path, query=""):
        answer = self.ask(path, query)
        return answer.status, json.loads(answer.body)

    def wait_for(self, path, query, count):
        """Ask what cannot be answered at once, so many times."""
        return [asyncio.ensure_future(self.ask(path, query)) for _ in range(count)]

    def open(self):
        viewer = Viewer()
        viewer.lost = self.ask("/page/stream").opened(viewer)
        return viewer

    def turn(self):
        self.clock.now += SNAPSHOT_SECONDS
        self.page._turn()


@pytest.fixture
async def kit():
    kit = Kit()
    yield kit
    kit.page.close()
    assert kit.view.closed


def test_what_is_not_the_pages_is_left_to_others():
    kit = Kit()
    assert kit.ask("/live") is None
    assert kit.ask("/page/nothing") is None
    assert isinstance(kit.ask("/"), Response)
    assert kit.snapshots == kit.view.looks == 0, "nobody looks"


async def test_a_viewer_has_the_past_and_then_a_snapshot_a_second(kit):
    viewer = kit.open()
    assert [name for name, _ in viewer.events] == ["history", "view", "snapshot"]
    assert viewer.last("history") == {"0": [0, 5], "1": [1, 5], "2": [2, 5]}
    for _ in range(3):
        kit.turn()
    assert [name for name, _ in viewer.events][3:] == ["snapshot"] * 3
    assert viewer.last("snapshot")["status"]["accounting"]["received"] == 104


async def test_one_snapshot_is_made_for_all_viewers(kit):
    viewers = [kit.open() for _ in range(5)]
    before = kit.snapshots
    kit.turn()
    assert kit.snapshots == before + 1
    assert len({viewer.sent[-1] for viewer in viewers}) == 1


async def test_a_slow_viewer_misses_snapshots_but_no_news(kit):
    viewer, other = kit.open(), kit.open()
    viewer.slow = True
    kit.view.seen = Seen(loaded=True, revision=9)
    kit.turn()
    kit.turn()
    viewer.slow = False
    kit.turn()
    assert viewer.last("view")["revision"] == other.last("view")["revision"] == 9
    assert [name for name, _ in viewer.events].count("snapshot") == 2


async def test_so_many_viewers_and_no_more(kit):
    viewers = [kit.open() for _ in range(MAX_VIEWERS)]
    assert kit.json("/page/stream")[0] == 503
    viewers[0].lost()
    assert isinstance(kit.ask("/page/stream"), EventStream)


async def test_nothing_is_made_once_the_last_viewer_is_gone(kit):
    kit.open().lost()
    made = kit.snapshots
    kit.turn()
    assert kit.snapshots == made
    assert kit.page.viewers == 0


async def test_questions_have_a_bound_a_second_and_a_length(kit):
    for _ in range(MAX_QUESTIONS_A_SECOND):
        assert kit.json("/page/instruments", "q=INFY")[0] == 200
    waiting = kit.wait_for("/page/instruments", "q=INFY", MAX_WAITING)
    assert kit.json("/page/instruments", "q=INFY") == (
        429, {"error": "too many questions: ask again in a second", "retry_ms": 1000},
    )  # fmt: skip
    await kit.clock.advance(1)
    assert [(await one).status for one in waiting] == [200] * MAX_QUESTIONS_A_SECOND
    await kit.clock.advance(1)
    assert kit.json("/page/instruments", "q=INFY")[0] == 200
    assert kit.json("/page/instruments", "q=" + "x" * MAX_QUERY_CHARS)[0] == 414


async def test_questions_that_take_long_are_few(kit):
    def slow(_text):
        kit.clock.now += 0.1
        return []

    kit.page._find = slow
    assert kit.json("/page/instruments", "q=INFY")[0] == 200
    (waiting,) = kit.wait_for("/page/instruments", "q=INFY", 1)
    assert isinstance(kit.ask("/page/stream"), EventStream)
    await kit.clock.advance(0.9 * 0.1 / QUESTIONS_SHARE)
    assert not waiting.done()
    await kit.clock.advance(0.2 * 0.1 / QUESTIONS_SHARE)
    assert (await waiting).status == 200


async def test_whoever_would_wait_for_long_is_told_when_to_come_again(kit):
    def slow(_text):
        kit.clock.now += 1.0
        return []

    kit.page._find = slow
    assert kit.json("/page/instruments", "q=INFY")[0] == 200
    (told,) = kit.wait_for("/page/instruments", "q=INFY", 1)
    answer = await told
    assert (answer.status, json.loads(answer.body)["retry_ms"]) == (429, 5000)
    # and the place is free again
    assert kit.page._waiting == 0


async def test_the_events_of_one_slot(kit):
    events = [
        own_event(ConnectionEvent(EventType.CONNECTED, number % 3, number), "main")
        for number in range(300)
    ]
    kit.view.seen = Seen(events=events)
    status, told = kit.json("/page/events", "slot=2")
    assert (status, told["slot"], len(told["events"])) == (200, 2, SHOWN_EVENTS)
    assert {event["slot"] for event in told["events"]} == {2}
    for text in ("", "-1", "x", "²", "1234567"):
        assert kit.json("/page/events", f"slot={text}")[0] == 400


async def test_other_replicas_slots_are_as_their_owners_wrote(kit):
    now_us = kit.clock.time_us()
    kit.view.seen = Seen(
        loaded=True,
        slots={
            1: {"owner": "ignored: this slot is here"},
            2: {"owner": "pod-2", "leads": True, "state": "backing_off", "desired": 1,
                "confirmed": 0, "rate": 7, "trouble": "HTTP 500",
                "last_frame_us": now_us - 3_000_000},
        },
        carried={2: 3},
        halts={1: Halted(Halt.STOPPED, "asha", 5)},
    )  # fmt: skip
    snapshot = kit.open().last("snapshot")
    assert snapshot["leader"] == "pod-2"
    here, waiting, other = snapshot["slots"]
    assert (here["owner"], here["here"], here["confirmed"]) == ("pod-1", True, 2999)
    assert (waiting["state"], waiting["trouble"]) == ("waiting_for_token", "HTTP 403")
    assert waiting["halt"] == {"how": "stopped", "by": "asha", "since_ms": 5}
    assert other == {
        "slot": 2, "account": "main", "here": False, "halt": None, "owner": "pod-2",
        "state": "backing_off", "desired": 3, "confirmed": 0, "rate": 7, "age_seconds": 3.0,
        "trouble": "HTTP 500",
    }  # fmt: skip


async def test_an_instrument_has_who_subscribed_it_and_its_newest_tick(kit):
    kit.progress.running = SimpleNamespace(pipeline=pipeline())
    kit.view.seen = Seen(
        loaded=True,
        subscriptions={INFY: Subscription(0, {"algo": Mode.FULL}, "NSE:INFY", 4)},
    )
    assert kit.json("/page/instruments", "q=infy")[1]["found"][0]["token"] == INFY
    status, shown = kit.json("/page/instrument", f"token={INFY}")
    assert status == 200
    assert (shown["symbol"], shown["claims"]) == ("NSE:INFY", {"algo": "full"})
    assert (shown["slot"], shown["owner"], shown["here"]) == (0, "pod-1", True)
    assert (shown["tick"], shown["packets"], shown["reasons"]) == (None, 0, [])


async def test_a_watchlist_has_its_members_by_name(kit):
    kit.view.seen = Seen(
        loaded=True,
        subscriptions={
            number: Subscription(0, {"al go": Mode.FULL}, f"NSE:X{number:03}", 4)
            for number in range(1, 151)
        },
    )
    status, told = kit.json("/page/watchlist", "name=al+go&start=100")
    assert (status, told["count"]) == (200, 150)
    assert [one["symbol"] for one in told["members"]][::49] == ["NSE:X101", "NSE:X150"]
    assert kit.json("/page/watchlist", "name=other")[1]["members"] == []
    for start in ("-1", "x", "1.5", "²", "1234567"):
        assert kit.json("/page/watchlist", f"name=al+go&start={start}")[0] == 400


async def test_a_snapshot_names_few_unserved_instruments_and_counts_them(kit):
    unserved = [UnservedInstrument(n, None, 0, float(n)) for n in range(100)]
    kit.status = service_status(unserved=unserved, unserved_count=300)
    told = kit.open().last("snapshot")["status"]
    assert len(told["unserved"]) == SHOWN_UNSERVED
    assert told["unserved_count"] == 300


async def test_an_instrument_that_nobody_subscribed(kit):
    status, shown = kit.json("/page/instrument", "token=257")
    assert status == 200
    assert shown["reasons"] == ["No watchlist claims it: nobody has subscribed it."]
    for text in ("", "0", "4294967296", "x", "-1", "²"):
        assert kit.json("/page/instrument", f"token={text}")[0] == 400


async def test_without_a_cluster_the_settings_are_the_watchlist():
    kit = Kit(cluster={"enabled": False})
    kit.owner.subscriptions = lambda: {INFY: Subscription(0, {"@settings": Mode.LTP}, None, 0)}
    view = kit.open().last("view")
    assert view["watchlists"] == [{"name": "@settings", "ltp": 1, "quote": 0, "full": 0}]
    assert kit.json("/page/instrument", f"token={INFY}")[1]["claims"] == {"@settings": "ltp"}
    kit.page.close()


async def test_this_process_events_are_shown_where_kafkas_cannot_be_read(kit):
    kite = pipeline()
    gap = ConnectionEvent(EventType.GAP, 1, NOON_MS, gap_from_ms=NOON_MS - 5000, gap_to_ms=NOON_MS)
    kite.write_event(gap, "main")
    kit.progress.running = SimpleNamespace(pipeline=kite)
    kit.view.seen = Seen(problems={"kite.events": "not authorized"})
    view = kit.open().last("view")
    assert (view["events"][0]["type"], view["events_of_all"]) == ("gap", False)
    assert view["losses"]["gap_seconds"] == 5.0
    assert view["problems"] == {"kite.events": "not authorized"}


async def test_what_others_wrote_cannot_turn_the_text_around(kit):
    kit.status = service_status(
        connections=(
            ConnectionStatus(0, "main", "connected", last_error="a\u202eb"),
        )
    )  # fmt: skip
    snapshot = kit.open().last("snapshot")
    assert "\u202e" not in json.dumps(snapshot, ensure_ascii=False)
