import asyncio

import pytest
from structlog.testing import capture_logs

from connector.errors import (
    BrokerUnreachableError,
    FeedUnreachableError,
    InstrumentFormatError,
    InstrumentListHeldBackError,
    RestTokenError,
    TopicError,
)
from connector.kite.web.instrument_cache import InstrumentCache
from connector.kite.web.instruments import InstrumentMaster
from connector.kite.web.list_check import SubscribedInstrument
from connector.kite.web.rest import REST_ROOT, InstrumentDump
from connector.service.instrument_list import (
    CLOCK_SECONDS,
    OLD_SECONDS,
    InstrumentListLoader,
    last_refresh_ms,
)
from connector.settings.models import InstrumentMasterSettings
from connector.testing import settle

ROOT = "https://api.example"
HEAD = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,"
    "strike,tick_size,lot_size,instrument_type,segment,exchange\n"
)
INFY = HEAD + "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
BOTH = INFY + "779521,3045,SBIN,SBI,0,,0,0.05,1,EQ,NSE,NSE\n"
HOUR_MS = 3_600_000
# 2026-01-05 09:30 in India
NOW_MS = 1_767_585_600_000


class Kite:
    """Answers as it is told to, one answer a call; ends the keeper after the last.

    An answer that can be called, and may be a coroutine, happens during the next sleep instead.
    """

    def __init__(self):
        self.answers = []
        self.etags = []
        self.sleeps = []
        self.piece = False
        self.masters = []
        self.now_ms = NOW_MS

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def instruments(self, *, etag):
        self.piece = False
        if not self.answers:
            raise asyncio.CancelledError
        self.etags.append(etag)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def time_us(self):
        return self.now_ms * 1000

    async def sleep(self, seconds):
        # a long sleep comes in pieces
        if self.piece:
            self.sleeps[-1] += seconds
        else:
            self.sleeps.append(seconds)
        self.piece = False
        while self.answers and callable(self.answers[0]):
            happens = self.answers.pop(0)(self.made)
            if happens is not None:
                await happens
            await settle()  # where the keeper is woken, this is as far as it gets
        self.now_ms += round(seconds * 1000)
        self.piece = seconds == CLOCK_SECONDS

    def keeper(self, on_rows_kept=None, root=ROOT, **settings):
        self.made = InstrumentListLoader(
            InstrumentMasterSettings(**settings),
            lambda: self,
            self.masters.append,
            root=root,
            on_rows_kept=on_rows_kept,
            clock=self,
            sleep=self.sleep,
        )
        return self.made

    async def keep(self, *answers, **settings):
        return await self.run(self.keeper(**settings), *answers)

    async def run(self, keeper, *answers):
        self.answers = list(answers)
        with pytest.raises(asyncio.CancelledError):
            await keeper.run()
        return keeper


@pytest.fixture
def kite():
    return Kite()


async def test_it_is_loaded_and_loaded_again_the_next_morning(kite):
    keeper = await kite.keep(InstrumentDump(INFY, "one"), InstrumentDump(BOTH, "two"))
    assert [len(master) for master in kite.masters] == [1, 2]
    assert kite.masters[0].token("NSE:INFY") == 408065
    assert kite.etags == [None, "one"]
    # 08:35 is 55 minutes ago
    assert kite.sleeps == [24 * 3600 - 55 * 60, 24 * 3600]
    assert (keeper.loaded, keeper.error) == (2, None)


ENDED = INFY + "8963330,35013,NIFTY26JAN24750CE,NIFTY,0,2026-01-04,24750,0.05,75,CE,NFO-OPT,NFO\n"


async def test_a_list_of_yesterday_is_asked_for_again_soon(kite):
    today = ENDED.replace("2026-01-04", "2026-01-05")
    with capture_logs() as logs:
        await kite.keep(
            InstrumentDump(ENDED, "under another etag"), None, InstrumentDump(today, "of today")
        )
    # kept, since all the rest of it is right
    assert [len(master) for master in kite.masters] == [2, 2]
    assert kite.sleeps[:2] == [OLD_SECONDS, OLD_SECONDS]
    assert kite.sleeps[2] > 20 * 3600
    told = [log for log in logs if log["event"] == "instrument_list_of_another_day"]
    assert [(log["day"], log["ended"]) for log in told] == [("2026-01-05", 1)]


async def test_at_night_the_list_of_yesterday_is_that_of_the_day(kite):
    kite.now_ms -= 8 * HOUR_MS
    await kite.keep(InstrumentDump(ENDED, "one"))
    assert kite.sleeps == [7 * 3600 + 5 * 60]


async def test_what_is_still_the_same_is_not_handed_on(kite):
    await kite.keep(InstrumentDump(INFY, "one"), None)
    assert len(kite.masters) == 1


async def test_it_tries_again_with_growing_pauses(kite):
    refused = FeedUnreachableError("http://127.0.0.1:9", "connection refused")
    keeper = await kite.keep(
        refused, RestTokenError(403, "TokenException", "log in"), InstrumentDump("no list", None)
    )
    assert kite.sleeps == [5, 10, 20]
    assert not kite.masters
    assert keeper.loaded is None
    assert "not a list of instruments" in keeper.error
    assert keeper.tried.is_set()


async def test_a_success_forgets_the_error_and_the_pauses(kite):
    refused = FeedUnreachableError("http://127.0.0.1:9", "connection refused")
    keeper = await kite.keep(refused, InstrumentDump(INFY, None), refused)
    assert kite.sleeps[::2] == [5, 5]
    assert keeper.loaded == 1
    assert "connection refused" in keeper.error


REFUSED = FeedUnreachableError("http://127.0.0.1:9", "connection refused")
MANY = HEAD + "".join(
    f"{number << 8 | 1},{number},S{number},,0,,0,0.05,1,EQ,NSE,NSE\n" for number in range(1, 41)
)
HALF = "".join(MANY.splitlines(keepends=True)[:21])


def loaded(kite):
    return [len(master) for master in kite.masters]


@pytest.mark.parametrize("short", [HALF, HEAD, HEAD + "x,y\n", "", "<html>", MANY[:900]])
async def test_a_list_that_lacks_much_is_held_back_and_asked_for_again(kite, tmp_path, short):
    cache = tmp_path / "list"
    told = []
    keeper = kite.keeper(cache_file=cache)
    keeper._on_held_back = told.append
    bad = InstrumentDump(short, "bad")
    await kite.run(keeper, InstrumentDump(MANY, "one"), bad, bad, bad, InstrumentDump(MANY, "two"))
    assert loaded(kite) == [40, 40]
    # the next morning, then with growing pauses, and always beside the last good one
    assert kite.sleeps == [24 * 3600 - 55 * 60, 5, 10, 20, 24 * 3600 - 35]
    assert kite.etags == [None, *["one"] * 4]
    assert InstrumentCache(cache, ROOT).load().etag == "two"
    assert len(told) == 2
    assert told[0]
    assert told[1] is None
    assert keeper.held_back is None


async def test_the_list_of_a_command_that_is_held_back_is_asked_for_again_too(kite):
    """Else it would be held back until the next morning, while Kite has a good one again."""

    async def refresh(keeper):
        with pytest.raises(InstrumentListHeldBackError):
            await keeper.refresh()

    keeper = await kite.keep(
        InstrumentDump(MANY, "one"), refresh, InstrumentDump(HALF, "bad"),
        FeedUnreachableError(ROOT, "away"), InstrumentDump(MANY, "two"),
    )  # fmt: skip
    assert keeper.held_back is None
    assert kite.etags == [None, *["one"] * 3]
    # after the command, and after the failure
    assert kite.sleeps[1:3] == [5, 5]


async def test_what_is_held_back_is_shown_and_the_cache_keeps_the_good_list(kite, tmp_path):
    cache = tmp_path / "list"
    keeper = await kite.keep(
        InstrumentDump(MANY, "one"), InstrumentDump(HALF, "bad"), cache_file=cache
    )
    status = keeper.status()
    assert "it lacks 20 of the 40 instruments of NSE" in status.held_back
    assert "refresh-instruments --accept-list" in status.held_back
    assert (status.instruments, status.origin, status.confirmed_ms) == (40, "Kite", NOW_MS)
    assert InstrumentCache(cache, ROOT).load().csv == MANY


async def test_the_first_list_after_a_start_is_compared_with_the_cache(kite, tmp_path):
    cache = tmp_path / "list"
    InstrumentCache(cache, ROOT).save(MANY, fetched_ms=NOW_MS - 25 * HOUR_MS, etag="one")
    keeper = await kite.keep(InstrumentDump(HALF, "bad"), cache_file=cache)
    assert loaded(kite) == [40]
    assert keeper.held_back
    assert InstrumentCache(cache, ROOT).load().etag == "one"


async def test_the_first_list_without_a_cache_is_compared_with_what_is_published(kite):
    async def published():
        return InstrumentMaster.from_csv(MANY)

    keeper = kite.keeper()
    keeper._published = published
    await kite.run(keeper, InstrumentDump(HALF, "bad"))
    assert loaded(kite) == [40]
    assert (keeper.status().origin, bool(keeper.held_back)) == ("kite.instruments", True)


async def test_the_first_list_waits_until_somebody_can_tell_what_is_published(kite):
    """Half a list would be taken for the first one, and end what it lacks."""
    asked = []

    async def published():
        asked.append(1)
        if len(asked) < 3:  # once for the list, once since it was not loaded
            raise BrokerUnreachableError("kafka:9092", "gone")
        return InstrumentMaster.from_csv(MANY)

    keeper = kite.keeper()
    keeper._published = published
    await kite.run(keeper, *[InstrumentDump(HALF, "bad")] * 2)
    assert loaded(kite) == [40]
    assert (keeper.status().origin, bool(keeper.held_back)) == ("kite.instruments", True)


async def test_a_topic_that_may_not_be_read_keeps_no_list_back(kite):
    async def published():
        raise TopicError("kite.instruments", "may not be read")

    keeper = kite.keeper()
    keeper._published = published
    await kite.run(keeper, InstrumentDump(MANY, "one"))
    assert loaded(kite) == [40]


async def test_what_is_published_serves_while_the_rest_api_gives_nothing(kite):
    asked = []

    async def published():
        asked.append(1)
        if len(asked) == 1:
            raise BrokerUnreachableError("kafka:9092", "gone")
        return InstrumentMaster.from_csv(MANY) if len(asked) > 2 else None

    keeper = kite.keeper()
    keeper._published = published
    await kite.run(keeper, *[REFUSED] * 4, InstrumentDump(MANY, "one"))
    assert (len(asked), loaded(kite)) == (3, [40, 40])
    assert keeper.held_back is None


async def test_a_list_is_compared_with_what_is_subscribed(kite):
    keeper = kite.keeper()
    keeper._claims = lambda: claims
    claims = [SubscribedInstrument(n << 8 | 1, f"NSE:S{n}", None) for n in (1, 2)]
    late = HEAD + "".join(MANY.splitlines(keepends=True)[3:])
    await kite.run(keeper, InstrumentDump(MANY, "one"), InstrumentDump(late, "two"))
    assert "it lacks 2 of the 2 instruments that are subscribed" in keeper.held_back
    claims = [claims[0]]
    kite.sleeps.clear()
    await kite.run(keeper, InstrumentDump(late, "two"))
    assert (keeper.held_back, loaded(kite), keeper.status().missing) == (None, [40, 38], 1)


async def test_whoever_begins_to_lead_holds_back_what_lacks_the_claims(kite):
    """Which nobody but a leader knows: as any other replica it has accepted the list."""
    asked = []

    async def published():
        asked.append(1)
        return InstrumentMaster.from_csv(MANY) if len(asked) > 1 else None

    keeper = kite.keeper()
    keeper._published = published
    late = HEAD + "".join(MANY.splitlines(keepends=True)[3:])
    await kite.run(keeper, InstrumentDump(late, "two"))
    assert (keeper.held_back, loaded(kite)) == (None, [38])
    claims = [SubscribedInstrument(n << 8 | 1, f"NSE:S{n}", None) for n in (1, 2)]
    keeper._claims = lambda: claims
    await keeper.compare_with_claims()
    status = keeper.status()
    assert "it lacks 2 of the 2 instruments that are subscribed" in status.held_back
    assert (status.origin, status.confirmed_ms, loaded(kite)) == (
        "kite.instruments",
        None,
        [38, 40],
    )
    # it is asked for whole, and good once it has them
    kite.etags.clear()
    await kite.run(keeper, InstrumentDump(late, "two"), InstrumentDump(MANY, "three"))
    assert kite.etags == [None, None]
    assert (keeper.held_back, loaded(kite)) == (None, [38, 40, 40])


@pytest.mark.parametrize("missing", [1, 2])
async def test_what_the_list_before_lacked_too_is_no_news_to_a_new_leader(kite, missing):
    asked = []

    async def published():
        asked.append(1)
        return InstrumentMaster.from_csv(MANY)

    keeper = kite.keeper()
    await keeper.compare_with_claims()
    await kite.run(keeper, InstrumentDump(MANY, "one"))
    keeper._published = published
    claims = [SubscribedInstrument((90 + n) << 8 | 1, f"NSE:T{n}", None) for n in range(missing)]
    keeper._claims = lambda: claims
    await keeper.compare_with_claims()
    assert (keeper.held_back, loaded(kite), keeper.status().missing) == (None, [40], missing)
    # one alone is no reason to read it
    assert len(asked) == missing - 1


async def test_an_operator_can_accept_what_is_held_back(kite, tmp_path):
    cache = tmp_path / "list"
    keeper = await kite.keep(
        InstrumentDump(MANY, "one"), InstrumentDump(HALF, "two"), cache_file=cache
    )
    kite.answers = [InstrumentDump(HALF, "two")]
    with pytest.raises(InstrumentListHeldBackError):
        await keeper.refresh()
    kite.answers = [InstrumentDump(HALF, "two")]
    await keeper.refresh(accept=True)
    assert (keeper.held_back, keeper.error, loaded(kite)) == (None, None, [40, 20])
    assert kite.etags[-2:] == ["one", None]
    assert InstrumentCache(cache, ROOT).load().etag == "two"
    # what cannot be read nobody can accept
    kite.answers = [InstrumentDump(HEAD, "three")]
    with pytest.raises(InstrumentFormatError):
        await keeper.refresh(accept=True)
    assert loaded(kite) == [40, 20]


async def test_kite_may_take_a_bad_list_back(kite):
    keeper = await kite.keep(InstrumentDump(MANY, "one"), InstrumentDump(HALF, "two"), None)
    assert (keeper.held_back, loaded(kite)) == (None, [40])


async def test_nothing_that_goes_wrong_with_a_list_ends_the_loader(kite):
    keeper = await kite.keep(ValueError("a header with a line break"), InstrumentDump(MANY, "one"))
    assert (keeper.error, loaded(kite)) == (None, [40])


async def test_a_cached_list_of_a_time_to_come_is_not_todays(kite, tmp_path):
    cache = tmp_path / "list"
    InstrumentCache(cache, ROOT).save(MANY, fetched_ms=NOW_MS + 100 * HOUR_MS, etag="one")
    await kite.keep(InstrumentDump(MANY, "two"), cache_file=cache)
    assert kite.etags == ["one"]


async def test_faults_of_the_list_in_use_are_counted(kite):
    odd = MANY + "".join(
        f"{row}\n"
        for row in (
            "x,1,NONE,,0,,0,0.05,1,EQ,NSE,NSE",
            "65537,1,S1,,0,,0,0.05,1,EQ,NSE,NSE",
            "257,1,S1B,,0,,0,0.05,1,EQ,NSE,NSE",
            "65793,1,C,,0,31-DEC-2026,0,0.05,1,FUT,NFO,NFO",
        )
    )
    status = (await kite.keep(InstrumentDump(odd, None))).status()
    assert (
        status.unreadable_rows,
        status.defaulted_cells,
        status.repeated_tokens,
        status.ambiguous_names,
    ) == (1, 1, 1, 1)


async def test_a_list_of_today_is_taken_from_the_cache_alone(kite, tmp_path):
    cache = tmp_path / "list"
    InstrumentCache(cache, ROOT).save(INFY, fetched_ms=NOW_MS - HOUR_MS // 2, etag="one")
    await kite.keep(cache_file=cache)
    assert len(kite.masters) == 1
    assert kite.etags == []


async def test_an_old_list_serves_until_there_is_a_new_one(kite, tmp_path):
    cache = tmp_path / "list"
    InstrumentCache(cache, ROOT).save(INFY, fetched_ms=NOW_MS - HOUR_MS, etag="one")
    refused = FeedUnreachableError("http://127.0.0.1:9", "connection refused")
    await kite.keep(refused, InstrumentDump(BOTH, "two"), cache_file=cache)
    assert [len(master) for master in kite.masters] == [1, 2]
    assert kite.etags == ["one", "one"]
    kept = InstrumentCache(cache, ROOT).load()
    assert (kept.csv, kept.etag) == (BOTH, "two")


async def test_a_cache_that_cannot_be_written_is_no_fault_of_the_list(kite, tmp_path):
    (tmp_path / "file").touch()
    keeper = await kite.keep(InstrumentDump(INFY, None), cache_file=tmp_path / "file" / "list")
    assert (keeper.loaded, keeper.error) == (1, None)


async def test_a_cache_of_something_else(kite, tmp_path):
    cache = tmp_path / "list"
    InstrumentCache(cache, ROOT).save("no list", fetched_ms=NOW_MS, etag="one")
    await kite.keep(InstrumentDump(INFY, None), cache_file=cache)
    assert len(kite.masters) == 1


@pytest.mark.parametrize(
    ("refresh_at", "hours_ago"),
    [("09:30", 0), ("08:30", 1), ("09:31", 24 - 1 / 60), ("00:00", 9.5)],
)
def test_the_last_refresh(refresh_at, hours_ago):
    assert last_refresh_ms(NOW_MS, refresh_at) == NOW_MS - round(hours_ago * HOUR_MS)


@pytest.mark.parametrize("hours", [-48, -24, -6, -1, 24, 24 * 365])
async def test_the_list_of_another_morning_is_loaded_when_the_clock_is_set(kite, hours):
    def set_clock(_keeper):
        kite.now_ms += hours * HOUR_MS

    keeper = await kite.keep(InstrumentDump(INFY, "one"), set_clock, InstrumentDump(BOTH, "two"))
    assert keeper.loaded == 2
    # at the next look at the clock, then the next morning as it is now
    assert kite.sleeps[0] == CLOCK_SECONDS
    assert kite.now_ms == last_refresh_ms(kite.now_ms, "08:35")


async def test_the_same_morning_needs_no_other_list_when_the_clock_is_set(kite):
    def set_clock(_keeper):
        kite.now_ms += HOUR_MS

    await kite.keep(InstrumentDump(INFY, "one"), set_clock)
    assert sum(kite.sleeps) == 24 * 3600 - 55 * 60 - 3600


async def test_another_list_that_the_feed_announces_is_loaded_before_the_morning(kite):
    def announce(keeper):
        keeper.announced("two")

    keeper = await kite.keep(InstrumentDump(INFY, "one"), announce, InstrumentDump(BOTH, "two"))
    assert kite.etags == [None, "one"]
    assert len(kite.masters) == 2
    # at once is too soon after the load at the start
    assert kite.sleeps == [CLOCK_SECONDS, 300, 24 * 3600 - 60 * 60]
    assert keeper.loaded == 2


async def test_what_is_loaded_already_may_be_announced(kite):
    def announce(keeper):
        keeper.announced("one")

    await kite.keep(InstrumentDump(INFY, "one"), announce)
    assert kite.etags == [None]


async def test_an_announcement_that_the_rest_api_does_not_know_is_looked_for_once(kite):
    def announce(keeper):
        keeper.announced("of the feed")

    await kite.keep(InstrumentDump(INFY, "one"), announce, None, announce, announce)
    assert kite.etags == [None, "one"]


async def test_an_announcement_before_the_first_load_is_served_by_it(kite):
    keeper = kite.keeper()
    keeper.announced("of the feed")
    await kite.run(keeper, InstrumentDump(INFY, "one"))
    assert kite.sleeps == [24 * 3600 - 55 * 60]


async def test_the_first_list_of_kite_itself_is_held_back_where_it_is_cut_short(kite):
    others = "".join(
        f"{256 * number + 4},{number},X,X,0,,0,0.05,1,EQ,{exchange},{exchange}\n"
        for number, exchange in enumerate(("BSE", "MCX", "NFO"), 1)
    )
    keeper = kite.keeper(root=REST_ROOT)
    await kite.run(keeper, InstrumentDump(BOTH, "one"), InstrumentDump(BOTH + others, "two"))
    assert [len(master) for master in kite.masters] == [5]
    assert kite.sleeps[0] == 5.0
    # nobody knows how many a simulator has
    await kite.keep(InstrumentDump(INFY, "one"))
    assert len(kite.masters[-1]) == 1


async def test_a_refresh_beside_another_load_asks_one_after_the_other(kite):
    keeper = kite.keeper()
    kite.answers = [InstrumentDump(INFY, "one"), None]
    await asyncio.gather(keeper.refresh(), keeper.refresh())
    assert kite.etags == [None, "one"]
    assert len(kite.masters) == 1


async def test_damaged_rows_are_as_before_told_once_and_never_in_the_cache(kite, tmp_path):
    chain = "".join(
        f"{n << 8 | 2},{n},NIFTY26FEB{n}CE,NIFTY,0,2026-02-24,{n},0.05,1,CE,NFO-OPT,NFO\n"
        for n in range(1, 31)
    )
    damaged = chain.replace(",2026-02-24,7,", ",2026-02-28,7,")
    told, cache = [], tmp_path / "cache"
    kite.answers = [InstrumentDump(HEAD + text, None) for text in (chain, damaged, damaged)]
    loader = kite.keeper(on_rows_kept=told.append, cache_file=cache)
    for _ in range(3):
        await loader.refresh()
    assert told == ["damaged rows: 1, the first NFO:NIFTY26FEB7CE (2026-02-24)"]
    assert (loader.status().rows_kept, loader.held_back) == (1, None)
    assert kite.masters[-1].named("NFO:NIFTY26FEB7CE").expiry.isoformat() == "2026-02-24"
    assert InstrumentCache(cache, ROOT).load().csv == HEAD + chain
    # an operator may say that it is right
    kite.answers = [InstrumentDump(HEAD + damaged, None)]
    await loader.refresh(accept=True)
    assert kite.masters[-1].named("NFO:NIFTY26FEB7CE").expiry.isoformat() == "2026-02-28"
    assert loader.status().rows_kept == 0
    assert InstrumentCache(cache, ROOT).load().csv == HEAD + damaged
