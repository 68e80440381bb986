from datetime import UTC, datetime

import pytest

from connector.cli import tail_choice
from connector.cli.tail_choice import Choice, Pattern, parse_since
from connector.errors import SettingsError
from connector.kafka.tail import Since, TailRecord
from connector.kafka.topics import TopicNames
from connector.kite.clock import IST

NAMES = TopicNames("kite")
INFY, NIFTY, OPTION = 408065, 256265, 10_000_130  # NSE, INDICES, NFO by the low byte
NOW = datetime(2026, 1, 30, 11, 0, tzinfo=IST)


def at(hour, minute, day=30):
    return Since(round(datetime(2026, 1, day, hour, minute, tzinfo=IST).timestamp() * 1000))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("90s", Since(at(11, 0).time_ms - 90_000)),
        ("5m", at(10, 55)),
        ("2h", at(9, 0)),
        ("1d", at(11, 0, day=29)),
        ("09:15", at(9, 15)),
        ("9:15", at(9, 15)),
        ("09:15:30", Since(at(9, 15).time_ms + 30_000)),
        ("2026-01-29T15:30", at(15, 30, day=29)),
        ("2026-01-30T03:45:00+00:00", at(9, 15)),
        ("1200", Since(offset=1200)),
        ("-100", Since(offset=-100)),
    ],
)
def test_since(text, place):
    assert parse_since(text, NOW.astimezone(UTC)) == place


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("yesterday", "allowed are 90s, 5m"),
        ("25:00", "allowed are"),
        ("5 m", "allowed are"),
        ("-5m", "allowed are"),
        ("1" * 30, "allowed are"),
        ("11:30", "is to come: it is 11:00:00 in India"),
        ("400d", "366 days"),
        ("999999d", "366 days"),
        ("0001-01-01", "366 days"),
    ],
)
def test_a_wrong_start_says_what_is_allowed(text, reason):
    with pytest.raises(SettingsError, match=reason) as raised:
        parse_since(text, NOW)
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    ("pattern", "exchange", "symbol", "matches"),
    [
        ("INFY", "NSE", "INFY", True),
        ("infy", "BSE", "INFY", True),
        ("NSE:INFY", "BSE", "INFY", False),
        ("NFO:NIFTY*", "NFO", "NIFTY26JAN25000CE", True),
        ("NFO:NIFTY*CE", "NFO", "NIFTY26JAN25000PE", False),
        ("NSE:NIFTY 50", "INDICES", "NIFTY 50", True),
        ("NFO:M&M*", "NFO", "M&M26JANFUT", True),
    ],
)
def test_names(pattern, exchange, symbol, matches):
    assert Pattern.of(pattern).matches(exchange, symbol) is matches


@pytest.mark.parametrize("text", ["", "NSE:", "FOO:INFY", "X" * 65])
def test_what_is_no_name_is_refused(text):
    with pytest.raises(SettingsError, match="--symbol"):
        Pattern.of(text)


def record(topic, value, key=None):
    return TailRecord(
        topic=topic, partition=0, offset=1, timestamp_ms=1, key=key, value=value, headers={},
        schema_id=1, source="registry",
    )  # fmt: skip


def tick(token, exchange, symbol):
    value = {"instrument_token": token, "exchange": exchange, "tradingsymbol": symbol}
    return record(f"kite.ticks.{exchange.lower()}", value, str(token))


def test_without_filters_everything_is_wanted():
    choice = Choice(NAMES, ["nse", "kite.events", "Replies"])
    assert choice.topics == ["kite.ticks.nse", "kite.events", "kite.control.replies"]
    assert choice.may_match("kite.ticks.nse", None)
    assert choice.matches(record("kite.events", None))
    assert len(Choice(NAMES).topics) == 10


def test_only_the_topics_that_can_have_it_are_read():
    assert Choice(NAMES, tokens=[INFY, OPTION]).topics == ["kite.ticks.nse", "kite.ticks.nfo"]
    assert Choice(NAMES, exchanges=["mcx"]).topics == ["kite.ticks.mcx"]
    assert Choice(NAMES, symbols=["NSE:NIFTY 50"]).topics == [
        "kite.ticks.nse", "kite.ticks.indices",
    ]  # fmt: skip
    assert Choice(NAMES, watchlist=[OPTION]).topics == ["kite.ticks.nfo"]
    assert len(Choice(NAMES, symbols=["INFY"]).topics) == 10


@pytest.mark.parametrize(
    ("words", "filters", "reason"),
    [
        (["nowhere"], {}, "there are backfill, bcd"),
        (["replies"], {"tokens": [INFY]}, "cannot be filtered so"),
        (["events"], {"symbols": ["INFY"]}, "cannot be filtered so"),
        (["nfo"], {"tokens": [INFY]}, "no topic has what all the filters ask for"),
        ([], {"exchanges": ["FOO"]}, "there are NSE"),
        ([], {"exchanges": ["NSE"], "tokens": [OPTION]}, "no topic has"),
    ],
)
def test_what_can_never_be_there_is_refused(words, filters, reason):
    with pytest.raises(SettingsError, match=reason):
        Choice(NAMES, words, **filters)


def test_ticks_are_chosen_by_token_before_they_are_decoded():
    choice = Choice(NAMES, tokens=[INFY])
    assert choice.may_match("kite.ticks.nse", b"408065")
    assert not choice.may_match("kite.ticks.nse", b"408321")
    assert not choice.may_match("kite.ticks.nse", b"what another program wrote")


def test_an_instrument_of_another_name_is_known_by_its_key_afterwards():
    choice = Choice(NAMES, symbols=["INFY"])
    unnamed, other = tick(738561, "NSE", None), tick(738561, "NSE", "RELIANCE")
    assert not choice.matches(unnamed)
    assert choice.may_match("kite.ticks.nse", b"738561"), "its name may come yet"
    assert not choice.matches(other)
    assert not choice.may_match("kite.ticks.nse", b"738561")
    assert choice.matches(tick(INFY, "NSE", "INFY"))
    assert choice.may_match("kite.ticks.nse", b"408065")


def test_what_is_learned_is_bounded(monkeypatch):
    monkeypatch.setattr(tail_choice, "MAX_LEARNED", 1)
    choice = Choice(NAMES, symbols=["INFY"])
    assert not choice.matches(tick(738561, "NSE", "RELIANCE"))
    assert not choice.matches(tick(2953217, "NSE", "TCS"))
    assert not choice.may_match("kite.ticks.nse", b"738561")
    assert choice.may_match("kite.ticks.nse", b"2953217")


def test_symbols_and_tokens_widen_and_the_other_filters_narrow():
    choice = Choice(NAMES, symbols=["NIFTY*"], tokens=[INFY], watchlist=[INFY, OPTION])
    assert choice.matches(tick(INFY, "NSE", "INFY"))
    assert choice.matches(tick(OPTION, "NFO", "NIFTY26JANFUT"))
    assert not choice.matches(tick(NIFTY, "INDICES", "NIFTY 50")), "not in the watchlist"
    assert not choice.may_match("kite.ticks.indices", b"256265")


def test_records_that_are_no_ticks():
    choice = Choice(NAMES, ["subscriptions", "orders"], symbols=["NSE:INFY"])
    claimed = {"token": INFY, "symbol": "NSE:INFY", "claims": {"a": "ltp"}}
    assert choice.matches(record("kite.subscriptions", claimed, "408065"))
    assert not choice.matches(record("kite.subscriptions", {**claimed, "symbol": None}, "408065"))
    order = {"instrument_token": None, "exchange": "NSE", "tradingsymbol": "INFY"}
    assert choice.matches(record("kite.orders", order, "order"))
    assert not choice.matches(record("kite.orders", b"\x01", "order"))

    for odd in ({"exchange": ["NSE"]}, {"exchange": {}}, {"tradingsymbol": 5}):
        assert not choice.matches(record("kite.orders", {**order, **odd}, "order"))

    events = Choice(NAMES, ["events", "subscriptions"], tokens=[INFY])
    assert events.matches(record("kite.events", {"tokens": [1, INFY]}, "0"))
    assert not events.matches(record("kite.events", {"tokens": []}, "0"))
    assert events.matches(record("kite.subscriptions", None, "408065")), "its end"
