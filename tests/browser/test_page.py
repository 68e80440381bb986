"""The page in a real browser: what it shows, whether it stays live, and who can use it."""

import asyncio
import contextlib
import re
import time
from dataclasses import replace

import pytest

from connector.cluster.event_log import EventLog, own_event
from connector.control.client import ControlClient, new_id
from connector.control.commands import COMMAND
from connector.control.records import Halt, Halted, Subscription
from connector.kite.feed.events import ConnectionEvent, EventType
from connector.kite.wire.models import Mode
from connector.service.http import StatusServer
from connector.service.operator_page import WAIT_SECONDS, OperatorPage
from connector.service.readiness import ServiceProgress
from connector.service.status import ConnectionStatus, UnservedInstrument
from connector.settings.models import Settings
from connector.simulator import SimulatorConfig
from connector.testing import until
from tests.support.page import Owner, View
from tests.support.stack import TOPICS, service, stack
from tests.support.status import service_status

pytestmark = pytest.mark.browser

MARKUP = "<b class=smuggled>bold</b>"
UPDATES = 1000
WATCHED = {
    257 + 256 * number: Subscription(0, {"algo": Mode.FULL}, f"NSE:X{number + 1:03}", 4)
    for number in range(120)
}

# The contrast of each piece of text with what is behind it, as WCAG counts it.
CONTRAST = """() => {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 1;
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = color;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((one) => {
      const c = one / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = rgba(getComputedStyle(at).backgroundColor);
      if (color[3] === 255) return color;
    }
    return [255, 255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, parent = node.parentElement;
    if (!node.textContent.trim() || !parent.checkVisibility()) continue;
    if (parent.closest("noscript, option")) continue;
    const style = getComputedStyle(parent);
    const [a, b] = [light(rgba(style.color)), light(behind(parent))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24;
    if (ratio < (large ? 3 : 4.5)) poor.push(`${node.textContent.trim()}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""


@contextlib.asynccontextmanager
async def shown(**changes):
    """A page over a snapshot that the test changes; yields its source, view and URL."""
    source = {"status": service_status(**changes)}
    account = {"name": "main", "api_key": "k", "access_token": "t"}
    settings = Settings.model_validate(
        {"accounts": [account], "http": {"port": 0}, "topics": {"backfill": True}}
    )
    view = View()
    page = OperatorPage(
        settings, lambda: source["status"], lambda _slot: [3, 5, 4], Owner(), ServiceProgress(),
        view, "pod-1",
    )  # fmt: skip
    async with StatusServer(settings.http, lambda: source["status"], page=page) as server:
        yield source, view, page, server.url
        page.close()


async def texts(page, selector):
    return [text.strip() for text in await page.locator(selector).all_text_contents()]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_everything_can_be_read(page, dark):
    async with shown() as (_, view, _, url):
        view.seen.problems = {"kite.events": "not authorized"}
        view.seen.watchlists = [{"name": "algo", "ltp": 1, "quote": 2, "full": 3}]
        view.seen.subscriptions = WATCHED
        opened = await page(url, dark=dark)
        await opened.locator("#watchlists button").click()
        await opened.wait_for_selector("#members-list li")
        assert await opened.evaluate(CONTRAST) == []


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
async def test_nothing_is_wider_than_the_window(page, width):
    async with shown() as (_, _, _, url):
        opened = await page(url, width=width)
        assert await opened.evaluate("document.documentElement.scrollWidth") <= width


async def test_the_slot_that_is_behind_is_named_and_the_balance_adds_up(page):
    async with shown(not_ready=("slot 1 (main) is waiting for token: HTTP 403",)) as (_, _, _, url):
        opened = await page(url)
        verdict = await opened.text_content("#verdict-text")
        assert "0 of 3 slots stream what they should" in verdict
        assert "Behind: slot 0, 1, 2" in verdict
        wrong = await texts(opened, "#slots tr td:last-child")
        assert wrong == [
            "1 of 3,000 instruments have sent no packet on this connection",
            "HTTP 403",
            "nobody has told of it: no owner?",
        ]
        terms = [int(text.replace(",", "")) for text in await texts(opened, ".term b")]
        assert terms[0] == sum(terms[1:])
        assert await opened.text_content("#balanced") == "adds up, of this replica since its start"
        assert await opened.text_content("#dropped-reasons") == "dropped: spool full 3"


async def test_a_slot_that_somebody_halted_says_who_and_until_when(page):
    async with shown() as (_, view, _, url):
        view.seen.halts = {2: Halted(Halt.STOPPED, "asha", 0)}
        opened = await page(url)
        state, *_, wrong = (await texts(opened, "#slots tr:nth-child(3) td"))[2:]
        assert state == "stopped"
        assert re.fullmatch(r"stopped by asha at .*, until the command resume", wrong)


async def test_the_members_of_a_watchlist_are_named_and_lead_to_the_inspector(page):
    async with shown() as (_, view, _, url):
        counts = {"ltp": 0, "quote": 0, "full": 120}
        view.seen.watchlists = [{"name": "algo", **counts, "rule": "NSE:X*", "problem": "none"}]
        view.seen.subscriptions = dict(WATCHED)
        opened = await page(url)
        assert await texts(opened, "#watchlists td:first-child") == ["algo NSE:X* (none)"]
        await opened.locator("#watchlists button").focus()
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#members-note:text-is('1 to 100 of 120')")
        assert (await texts(opened, "#members-list li:first-child"))[0] == "NSE:X001full, slot 0"
        assert await opened.locator("#members-before").is_disabled()
        await opened.locator("#members-next").click()
        await opened.wait_for_selector("#members-note:text-is('101 to 120 of 120')")
        assert await opened.locator("#members-next").is_disabled()
        # what changes in the cluster is seen where the list is open
        del view.seen.subscriptions[257 + 256 * 119]
        view.seen.revision = 9
        await opened.wait_for_selector("#members-note:text-is('101 to 119 of 119')")
        await opened.locator("#members-list button", has_text="NSE:X101").click()
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X101')")
        await opened.locator("#members-close").click()
        assert await opened.locator("#members").is_hidden()


async def test_silent_instruments_are_named_with_their_time_and_lead_to_the_inspector(page):
    unserved = [UnservedInstrument(408065, "NSE:INFY", 0, 421.0),
                UnservedInstrument(738561, None, 1, 20.0)]  # fmt: skip
    async with shown(unserved=unserved, unserved_count=70) as (source, _, _, url):
        opened = await page(url, width=360)
        await opened.wait_for_selector("#silent li")
        assert await texts(opened, "#silent li") == [
            "NSE:INFYslot 0, 7 min 1 s", "738561slot 1, 20 s",
        ]  # fmt: skip
        note = await opened.text_content("#silent-note")
        assert note.startswith("70 of this replica's have sent nothing in market hours")
        assert note.endswith("; the 2 that are so longest")
        assert await opened.evaluate("document.documentElement.scrollWidth") <= 360
        await opened.locator("#silent button", has_text="NSE:INFY").click()
        await opened.wait_for_selector("#reasons li:has-text('No watchlist claims it')")
        source["status"] = service_status()
        await opened.wait_for_selector("#silent-note:has-text('none of this replica')")
        assert await opened.locator("#silent li").count() == 0


async def test_what_is_missing_now_is_told_apart_from_what_was_missed_before(page):
    down = ConnectionStatus(1, "main", "backing_off", last_frame_age_seconds=240.0, trouble="no")
    well = ConnectionStatus(0, "main", "connected", last_frame_age_seconds=0.5)
    rest = ConnectionStatus(2, "main", "connected", last_frame_age_seconds=0.5)

    def happened(kind, slot, ago_ms, **fields):
        event = ConnectionEvent(EventType(kind), slot, now_ms - ago_ms, **fields)
        return own_event(event, "main")

    now_ms = int(time.time() * 1000)
    gap = {"gap_from_ms": now_ms - 9000, "gap_to_ms": now_ms - 4000}
    events = [
        happened("gap_backfilled", 0, 1000, **gap),
        happened("disconnected", 1, 2000, reason="feed gone"),
        happened("gap", 0, 4000, **gap),
    ]
    async with shown(connections=(well, down, rest)) as (source, view, _, url):
        view.seen.events = view.seen.losses = events
        opened = await page(url)
        await opened.wait_for_selector("#lost dd:text-is('slot 1')")
        first, second = await texts(opened, "#lost-slots li")
        assert first.startswith("slot 0: 1 gap, 5.0 s missed, the last until ")
        assert first.endswith("candles of 1 of 1 fetched")
        assert re.match(
            r"slot 1: nothing comes now since .*, 4 min 0 s; nothing else was missed", second
        )
        assert len(await texts(opened, "#events tr")) == 3
        await opened.locator("#events-slot").select_option("1")
        await opened.wait_for_selector("#events tr:only-child:has-text('feed gone')")
        # the choice stands while the page is live, and what comes is shown
        view.seen.events = [happened("connected", 1, 0), *events]
        await opened.wait_for_selector("#events td:text-is('connected')")
        assert len(await texts(opened, "#events tr")) == 2
        source["status"] = service_status(connections=(well, replace(down, state="connected",
                                          last_frame_age_seconds=0.1), rest))  # fmt: skip
        await opened.wait_for_selector("#lost dd:text-is('nothing')")
        assert len(await texts(opened, "#lost-slots li")) == 1


async def test_a_gap_that_runs_is_counted_beside_those_that_ended_and_each_has_a_row(page):
    down = ConnectionStatus(1, "main", "backing_off", last_frame_age_seconds=131.0, trouble="no")
    well = ConnectionStatus(0, "main", "connected", last_frame_age_seconds=0.5)
    rest = ConnectionStatus(2, "main", "connected", last_frame_age_seconds=0.5)
    now_ms = int(time.time() * 1000)
    tries = EventLog(10)
    for number in range(400):
        for kind in (EventType.CONNECTING, EventType.BACKING_OFF):
            reason = "" if kind is EventType.CONNECTING else "refused"
            event = ConnectionEvent(kind, 1, now_ms - 4000 + number, reason=reason)
            tries.add(own_event(event, "main"))
    gap = own_event(
        ConnectionEvent(EventType.GAP, 0, now_ms, gap_from_ms=now_ms - 200, gap_to_ms=now_ms),
        "main",
    )
    async with shown(connections=(well, down, rest)) as (source, view, _, url):
        view.seen.losses, view.seen.losses_since_ms = [gap], now_ms - 4000
        view.seen.events = [*tries.rows(), gap]
        opened = await page(url)
        await opened.wait_for_selector("#lost dd:text-is('0.2 s, and 2 min 11 s still running')")
        assert (await opened.text_content("#lost-since")).startswith("known since ")
        rows = [await texts(opened, f"#gaps tr:nth-child({number}) td") for number in (1, 2)]
        assert [(row[0], row[2] == "still running", row[3]) for row in rows] == [
            ("1", True, "2 min 11 s"), ("0", False, "0.2 s"),
        ]  # fmt: skip
        assert await opened.locator("#lost dd:text-is('2 min 11 s, slot 1, still running')").count()
        await opened.wait_for_selector("#events tr:has-text('refused, 400 times')")
        assert await opened.locator("#events tr:has-text('400 times'):has-text('to now')").count()
        await opened.locator("#events-slot").select_option("2")
        await opened.wait_for_selector("#events-none:text-is('no events of slot 2 are known')")
        # it ends: what ran is no figure of its own any more
        source["status"] = service_status(connections=(well, replace(down, state="connected",
                                          last_frame_age_seconds=0.1), rest))  # fmt: skip
        await opened.wait_for_selector("#lost dd:text-is('0.2 s')")
        assert await opened.locator("#gaps tr").count() == 1


@pytest.mark.parametrize("rest_seconds", [0.5, 2.5])
async def test_a_question_that_comes_too_soon_is_answered_later(page, rest_seconds):
    async with shown() as (_, view, operator_page, url):
        view.seen.subscriptions = WATCHED
        # Chromium writes each 429 into the console
        opened = await page(url, quiet=rest_seconds < WAIT_SECONDS)
        # as after a question that took long, on a slow machine
        operator_page._rests_until = time.monotonic() + rest_seconds
        await opened.keyboard.press("/")
        await opened.keyboard.type("X001")
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X001')")


async def test_enter_chooses_what_was_written_and_not_what_was_found_before(page):
    async with shown() as (_, view, operator_page, url):
        view.seen.subscriptions = WATCHED
        opened = await page(url)
        await opened.keyboard.press("/")
        await opened.keyboard.type("X0")
        await opened.wait_for_selector("#found li:has-text('NSE:X001')")
        operator_page._rests_until = time.monotonic() + 0.5
        async with opened.expect_request("**/page/instruments?q=X099"):
            await opened.keyboard.type("99")
        # asked for, and not answered yet
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X099')")


async def test_a_card_that_is_not_what_is_searched_is_marked_with_its_name(page):
    async with shown() as (_, view, _, url):
        view.seen.subscriptions = WATCHED
        view.seen.commands = [
            {"time_ms": 1, "id": "c", "type": "subscribe", "detail": "", "dry_run": False,
             "by": "priya", "watchlists": ["algo"],
             "reply": {"status": "APPLIED", "revision": 4, "accepted": 1, "refused": 0,
                       "reasons": []}}
        ]  # fmt: skip
        opened = await page(url)
        await opened.keyboard.press("/")
        await opened.keyboard.type("X001")
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X001')")
        assert await opened.text_content("#outdated") == ""
        assert "by priya, " in await opened.text_content("#facts")
        await opened.keyboard.press("Control+A")
        await opened.keyboard.type("nobody")
        await opened.wait_for_selector("#search-note:has-text('Nothing subscribed')")
        assert await opened.text_content("#outdated") == ("Not what is searched: still NSE:X001.")
        assert await opened.locator("#instrument.outdated").count() == 1
        await opened.keyboard.press("Control+A")
        await opened.keyboard.type("X002")
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X002')")
        assert await opened.locator("#instrument.outdated").count() == 0


async def test_on_a_telephone_the_card_comes_into_view_and_rows_keep_their_labels(page):
    async with shown() as (_, view, _, url):
        view.seen.subscriptions = WATCHED
        opened = await page(url, width=360, height=640)
        label = "getComputedStyle(document.querySelector('#slots td:nth-child(7)'), '::before')"
        assert await opened.evaluate(f"{label}.content") == '"last frame "'
        table = "document.querySelector('.scroll:has(.slots)')"
        assert await opened.evaluate(f"{table}.scrollWidth <= {table}.clientWidth")
        await opened.locator("#search").fill("X001")
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector("#instrument-name:text-is('NSE:X001')")
        await opened.wait_for_function(
            "document.querySelector('#instrument').getBoundingClientRect().top < 60"
        )
        assert await opened.evaluate("document.documentElement.scrollWidth") <= 360


async def test_text_of_others_is_never_html(page):
    connection = ConnectionStatus(0, MARKUP, "connected", last_error=MARKUP, trouble=MARKUP)
    async with shown(
        name=MARKUP, not_ready=(MARKUP,), connections=(connection,), unresolved=(MARKUP,),
        unserved=[UnservedInstrument(257, MARKUP, 0, 1.0)], unserved_count=1,
    ) as (_, view, _, url):  # fmt: skip
        view.seen.watchlists = [{"name": MARKUP, "ltp": 0, "quote": 0, "full": 0}]
        view.seen.slots = {1: {"owner": MARKUP, "state": MARKUP, "trouble": MARKUP}}
        view.seen.commands = [
            {"time_ms": 1, "id": MARKUP, "type": MARKUP, "detail": MARKUP, "dry_run": False,
             "reply": {"status": MARKUP, "revision": 1, "accepted": 0, "refused": 0,
                       "reasons": [MARKUP]}}
        ]  # fmt: skip
        view.seen.events = [
            {"time_ms": 1, "type": MARKUP, "slot": 0, "account": MARKUP, "reason": MARKUP,
             "from_ms": None, "to_ms": None, "instruments": None}
        ]  # fmt: skip
        view.seen.subscriptions = {257: Subscription(0, {MARKUP: Mode.FULL}, MARKUP, 1)}
        opened = await page(url)
        await opened.locator("#watchlists button").click()
        await opened.wait_for_selector("#members-list li")
        for panel in (
            "#members-title",
            "#members-list",
            "#silent",
            "#name",
            "#slots",
            "#watchlists",
            "#commands",
            "#events",
            "#unresolved",
        ):
            assert MARKUP in await opened.text_content(panel)
        assert await opened.locator(".smuggled").count() == 0


async def test_a_thousand_updates_leave_the_page_as_large_as_it_was(page):
    async with shown() as (source, view, operator_page, url):
        opened = await page(url)
        session = await opened.context.new_cdp_session(opened)
        await session.send("Performance.enable")

        async def size():
            await session.send("HeapProfiler.collectGarbage")
            metrics = (await session.send("Performance.getMetrics"))["metrics"]
            found = {metric["name"]: metric["value"] for metric in metrics}
            return found["Nodes"], found["JSEventListeners"], found["JSHeapUsedSize"]

        (viewer,) = operator_page._viewers

        def drained():
            return not viewer._transport.get_write_buffer_size()

        async def update(count):
            for number in range(count):
                view.seen.watchlists = [
                    {"name": f"w{one}", "ltp": number, "quote": 0, "full": 0}
                    for one in range(number % 7)
                ]
                operator_page._timer.cancel()
                operator_page._turn()
                # the reader has taken it when nothing waits to be written
                await until(drained)
            view.seen.watchlists = []
            source["status"] = service_status(name=f"done-{count}")
            operator_page._timer.cancel()
            operator_page._turn()
            await opened.wait_for_selector(f"#name:text-is('done-{count}')")

        # the sparklines are full after five minutes
        await update(310)
        nodes, listeners, heap = await size()
        await update(UPDATES)
        after = await size()
        assert after[0] <= nodes + 20
        assert after[1] <= listeners
        assert after[2] < heap * 1.25


async def test_what_happens_in_the_cluster_is_seen_and_an_instrument_is_found_by_keyboard(page):
    config = SimulatorConfig(instruments=60, updates_per_second=4.0)
    async with stack(config, cluster={"enabled": True}) as around:
        settings = around.settings
        async with service(around, ready=False) as running:
            opened = await page(running.http.url)
            await opened.wait_for_selector("#phase:text-is('ready')")
            token = around.simulator.universe.listings[-1].instrument_token
            command = COMMAND.validate_python(
                {"id": new_id(), "type": "subscribe", "watchlist": "desk", "instruments": [token],
                 "mode": "full"}
            )  # fmt: skip

            def send():
                with ControlClient(settings.kafka, TOPICS) as client:
                    return client.send(command)

            await asyncio.to_thread(send)
            await opened.wait_for_selector("#watchlists button:text('desk')")
            await opened.wait_for_selector("#commands tr:has-text('APPLIED')")
            await opened.keyboard.press("/")
            await opened.keyboard.type(str(token))
            await opened.wait_for_selector("#found li")
            await opened.keyboard.press("ArrowDown")
            await opened.keyboard.press("Enter")
            await opened.wait_for_selector("#price:text-matches('[0-9]')")
            assert "desk (full)" in await opened.text_content("#facts")
            assert len(await texts(opened, "#levels tr")) == 5
            ticks = "#facts dd:nth-of-type(8)"
            before = await opened.text_content(ticks)
            await opened.wait_for_selector(f"{ticks}:not(:text-is('{before}'))")
            # what was not found is said although the instrument before goes on
            await opened.keyboard.press("Control+A")
            await opened.keyboard.type("nobody")
            await opened.wait_for_selector("#search-note:has-text('Nothing subscribed')")
            before = await opened.text_content(ticks)
            await opened.wait_for_selector(f"{ticks}:not(:text-is('{before}'))")
            assert "Nothing subscribed" in await opened.text_content("#search-note")


@contextlib.asynccontextmanager
async def operated(page, tmp_path, *, quiet=True):
    """The page of a whole service, with the operator's token in its form."""
    file = tmp_path / "token"
    file.write_text("operator-" + "t" * 24)
    async with stack(SimulatorConfig(instruments=20), cluster={"enabled": True}) as around:
        settings = around.changed(http={"port": 0, "operator_token_file": file})
        async with service(around, settings, ready=False) as running:
            opened = await page(running.http.url, quiet=quiet)
            await opened.wait_for_selector("#phase:text-is('ready')")
            assert await opened.locator("#command-apply").is_disabled()
            await opened.locator("#operator-token").focus()
            await opened.keyboard.type(file.read_text())
            yield opened
            assert await opened.evaluate("JSON.stringify(Object.keys(localStorage))") == "[]"
            assert file.read_text() not in opened.url


TRIED = "#command-reply :text('Tried, nothing changed: APPLIED')"
DONE = "#command-reply :text('Done: APPLIED')"


async def tried(opened, command, **fields):
    """Choose a command, fill its fields in, and try it."""
    await opened.locator("#command-type").select_option(command)
    for name, value in fields.items():
        field = opened.locator(f"#command-{name}")
        if await field.evaluate("node => node.localName") == "select":
            await field.select_option(value)
        else:
            await field.fill(value)
    await opened.locator("#command-try").click()


async def test_an_operator_tries_a_command_and_applies_it_by_keyboard(page, tmp_path):
    async with operated(page, tmp_path) as opened:
        await opened.keyboard.press("Tab")
        await opened.locator("#command-watchlist").fill("desk")
        await opened.locator("#command-instruments").fill("408065")
        await opened.locator("#command-try").focus()
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector(TRIED)
        await opened.locator("#command-apply").focus()
        await opened.keyboard.press("Enter")
        await opened.wait_for_selector(DONE)
        await opened.wait_for_selector("#watchlists button:text('desk')")


async def test_an_operator_sets_a_rule_limits_and_a_pause(page, tmp_path):
    # Chromium writes into the console that one command was none (HTTP 400)
    async with operated(page, tmp_path, quiet=False) as opened:
        rule = {"watchlist": "desk", "rule": "infosys"}
        await tried(opened, "set-rule", **rule, claims="pattern", pattern="NSE:NONE*")
        await opened.wait_for_selector("#command-reply :text('rule: pattern: matches nothing')")
        assert await opened.locator("#command-apply").is_disabled()
        await tried(opened, "set-rule", pattern="NSE:INF*", kinds="eq", mode="full")
        await opened.wait_for_selector("#command-reply :text(\"claims.kinds.0: must be 'EQ'\")")
        await tried(opened, "set-rule", kinds="EQ")
        await opened.wait_for_selector(TRIED)
        await opened.wait_for_selector("#command-reply :text('The rule claims NSE:INFY')")
        await opened.locator("#command-apply").click()
        await opened.wait_for_selector("#watchlists tr:has-text('desk#infosys NSE:INF* EQ')")
        await tried(opened, "set-limits", quota="5", priority="-1")
        await opened.wait_for_selector(TRIED)
        await opened.locator("#command-apply").click()
        await opened.wait_for_selector("#commands tr:has-text('quota 5, priority -1')")
        await tried(opened, "delete-rule")
        await opened.wait_for_selector(TRIED)
        await opened.locator("#command-apply").click()
        await opened.locator("#watchlists tr:has-text('desk#infosys')").wait_for(state="detached")
        await tried(opened, "pause", connections="account", account="main", by="asha")
        await opened.wait_for_selector(TRIED)
        await opened.locator("#command-apply").click()
        await opened.wait_for_selector("#slots tr:has-text('paused by asha')")
        await opened.wait_for_selector("#lost-slots li:has-text('nothing comes now')")


UNNAMED = """() => [...document.querySelectorAll("input, select, textarea, button")]
  .filter((node) => !(node.labels?.length || node.textContent.trim() || node.ariaLabel))
  .map((node) => node.id)"""


async def test_everything_that_is_filled_in_has_a_name_and_the_first_key_skips_the_head(page):
    async with shown() as (_, _, _, url):
        opened = await page(url)
        assert await opened.evaluate(UNNAMED) == []
        await opened.keyboard.press("Tab")
        assert await opened.evaluate("document.activeElement.className") == "skip"
