"""Our KiteTicker's life: threads, reconnects, limits and the loop without callbacks.

That it is Kite's own as far as a program can see is shown in test_official_client.py.
"""

import asyncio
import logging
import sys
import threading

import pytest

from connector.compat import KiteTicker
from connector.errors import CapacityError
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.testing import until

STEPPED = SimulatorConfig(stepped=True, instruments=20)
KEY, TOKEN = "simulated_key", "simulated_token"


@pytest.fixture
async def feed():
    async with SimulatorServer(STEPPED) as server:
        yield server


class Seen:
    """What the callbacks of a ticker were told, in order; waits for more from the test's loop."""

    def __init__(self, ticker):
        self.calls = []
        self._changed = threading.Condition()
        for name in ("ticks", "close", "error", "connect", "reconnect", "noreconnect"):
            setattr(ticker, f"on_{name}", self._keeping(name))

    def _keeping(self, name):
        def keep(_, *arguments):
            with self._changed:
                self.calls.append((name, *arguments))
                self._changed.notify_all()

        return keep

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    async def until(self, name, count=1):
        def enough():
            with self._changed:
                return self._changed.wait_for(lambda: len(self.named(name)) >= count, 20)

        assert await asyncio.to_thread(enough), self.calls


def ticker_for(feed, **options):
    return KiteTicker(KEY, TOKEN, root=feed.ws_url, **options)


async def ended(ticker):
    await asyncio.to_thread(ticker.websocket_thread.join, 20)
    assert not ticker.websocket_thread.is_alive()


async def test_it_starts_and_stops_twenty_times_in_one_process(feed):
    token = feed.universe.listings[0].instrument_token
    for number in range(20):
        ticker = ticker_for(feed)
        seen = Seen(ticker)
        ticker.subscribe([token])
        ticker.connect(threaded=True)
        await seen.until("ticks")
        assert ticker.is_connected()
        ticker.close() if number % 2 else ticker.stop()
        await ended(ticker)
        assert not ticker.is_connected()
        # the feed may not have known yet that the socket before is gone, and refused a try
        clean = [code for code, _ in seen.named("close") if code == 1000]
        assert len(clean) == number % 2
        await feed.until(lambda: feed.open_sockets() == 0)


async def test_it_is_connected_before_anything_is_received(feed):
    ticker = ticker_for(feed)
    seen, heard = Seen(ticker), []
    ticker.on_message = lambda _, payload, is_binary: heard.append([c[0] for c in seen.calls][-1:])
    for times in range(1, 6):
        ticker.connect(threaded=True)
        # the feed's greetings may come together with its answer to the handshake
        await until(lambda times=times: len(heard) == 2 * times)
        ticker.stop()
        await ended(ticker)
    assert heard == [["connect"]] * 10


async def test_several_tickers_live_in_one_process(feed):
    tickers = [ticker_for(feed) for _ in range(3)]
    seen = [Seen(ticker) for ticker in tickers]
    for ticker, listing in zip(tickers, feed.universe.listings, strict=False):
        ticker.connect(threaded=True)
        ticker.subscribe([listing.instrument_token])
    for one, listing in zip(seen, feed.universe.listings, strict=False):
        await one.until("ticks")
        (ticks,) = one.named("ticks")[0]
        assert [tick["instrument_token"] for tick in ticks] == [listing.instrument_token]
    for ticker in tickers:
        ticker.close()
        await ended(ticker)


async def test_what_was_subscribed_comes_back_in_its_modes_after_a_reconnect(feed):
    first, second = (listing.instrument_token for listing in feed.universe.listings[:2])
    ticker = ticker_for(feed)
    seen = Seen(ticker)
    ticker.connect(threaded=True)
    await seen.until("connect")
    ticker.subscribe([first, second])
    ticker.set_mode(ticker.MODE_FULL, [second])
    ticker.unsubscribe([])
    modes = {first: "quote", second: "full"}
    await feed.until(lambda: feed.subscriptions() == modes)
    await feed.inject("abort")
    await seen.until("reconnect")
    await seen.until("connect", 2)
    await feed.until(lambda: feed.subscriptions() == modes)
    assert ticker.subscribed_tokens == modes
    (code, reason) = seen.named("error")[0]
    assert (code, bool(reason)) == (1006, True)
    assert seen.named("close") == [(code, reason)]
    assert seen.named("reconnect") == [(1,)]
    ticker.close(1000, "done")
    await ended(ticker)
    assert seen.named("close")[-1] == (1000, "done")


async def test_without_reconnect_it_gives_up_and_a_blocking_connect_returns(feed):
    ticker = ticker_for(feed, reconnect=False)
    seen = Seen(ticker)
    running = asyncio.create_task(asyncio.to_thread(ticker.connect))
    await seen.until("connect")
    await feed.inject("abort")
    await asyncio.wait_for(running, 20)
    assert seen.named("noreconnect") == [()]
    assert len(seen.named("close")) == 1


async def test_a_blocking_connect_under_a_running_loop_blocks_and_returns(feed):
    # a notebook's cell, say: the loop that runs cannot run another one
    ticker = KiteTicker(KEY, TOKEN, root="ws://127.0.0.1:1", reconnect=False)
    seen = Seen(ticker)
    ticker.connect()
    assert seen.named("noreconnect") == [()]
    (code, reason) = seen.named("error")[0]
    assert code == 1006
    assert "127.0.0.1" in reason


async def test_callbacks_may_subscribe_and_fail(feed):
    token = feed.universe.listings[0].instrument_token
    ticker = ticker_for(feed)
    seen = Seen(ticker)
    kept = ticker.on_connect

    def on_connect(ws, response):
        assert ws.subscribe([token])
        kept(ws, response)
        raise ValueError("of the user's")

    ticker.on_connect = on_connect
    ticker.connect(threaded=True)
    await seen.until("ticks")
    ticker.close()
    await ended(ticker)


@pytest.mark.parametrize("callback", ["on_connect", "on_ticks"])
async def test_a_callback_may_end_the_program(feed, callback):
    """uvloop takes what is raised while it reads for the end of the socket alone."""
    ticker = ticker_for(feed, reconnect_max_tries=0)
    ticker.subscribe([feed.universe.listings[0].instrument_token])
    setattr(ticker, callback, lambda *_: sys.exit(7))
    seen = []
    ticker.on_close = lambda *_: seen.append("close")

    def program():
        with pytest.raises(SystemExit) as ended:
            ticker.connect()
        return ended.value.code

    assert await asyncio.wait_for(asyncio.to_thread(program), 20) == 7
    assert seen == []
    assert not ticker.is_connected()


async def test_a_script_loops_over_the_frames(feed):
    token = feed.universe.listings[0].instrument_token

    def script():
        ticker = ticker_for(feed)
        ticker.subscribe([token])
        ticker.set_mode(ticker.MODE_LTP, [token])
        for ticks in ticker:
            ticker.close()
            found.append(ticks)
        return ticker

    found = []
    ticker = await asyncio.wait_for(asyncio.to_thread(script), 20)
    assert [tick["instrument_token"] for ticks in found for tick in ticks] == [token] * len(found)
    assert ticker.dropped == 0


async def test_more_than_a_connection_carries_is_refused_and_said(feed):
    ticker = ticker_for(feed)
    tokens = [number << 8 | 1 for number in range(1, 3003)]
    with pytest.raises(CapacityError) as error:
        ticker.subscribe(tokens)
    assert list(error.value.refused) == tokens[3000:]
    assert len(ticker.subscribed_tokens) == 3000


@pytest.mark.parametrize(
    ("method", "arguments", "error"),
    [
        ("subscribe", (["408065"],), TypeError),
        ("subscribe", ([True],), TypeError),
        ("subscribe", ([0],), ValueError),
        ("set_mode", ("fast", [408065]), ValueError),
        ("connect", (False, True), ValueError),
        ("connect", (False, False, {"host": "127.0.0.1", "port": 1}), ValueError),
    ],
)
def test_what_the_feed_would_ignore_is_refused(method, arguments, error):
    ticker = KiteTicker(KEY, TOKEN)
    with pytest.raises(error):
        getattr(ticker, method)(*arguments)
    assert ticker.subscribed_tokens == {}


async def test_a_second_connect_is_refused(feed):
    ticker = ticker_for(feed)
    seen = Seen(ticker)
    ticker.connect(threaded=True)
    await seen.until("connect")
    with pytest.raises(RuntimeError, match="close"):
        ticker.connect(threaded=True)
    ticker.close()
    await ended(ticker)


async def test_a_callback_that_holds_everything_up_is_no_error_of_whoever_subscribes(
    feed, monkeypatch, caplog
):
    monkeypatch.setattr("connector.compat.ticker._ANSWER_SECONDS", 0.2)
    ticker, held, go_on = ticker_for(feed), threading.Event(), threading.Event()

    def hold(*_):
        held.set()
        go_on.wait(20)

    ticker.on_connect = hold
    ticker.connect(threaded=True)
    try:
        assert await asyncio.to_thread(held.wait, 20)
        assert await asyncio.to_thread(ticker.subscribe, [408065])
        assert "is sent when it returns" in caplog.text
    finally:
        go_on.set()
    await feed.until(lambda: 408065 in feed.subscriptions())
    ticker.stop()
    await ended(ticker)


@pytest.mark.parametrize(("arguments", "named"), [((None, TOKEN), "api_key"), ((KEY, 5), "access")])
def test_what_is_no_text_is_named(arguments, named):
    with pytest.raises(TypeError, match=f"{named}.* must be a str"):
        KiteTicker(*arguments)


def test_limits_are_those_of_the_official_client(monkeypatch):
    lines = []
    # whatever a test before has made of logging
    logger = logging.getLogger("connector.compat")
    monkeypatch.setattr(logger, "warning", lambda line, *values: lines.append(line % values))
    ticker = KiteTicker(KEY, TOKEN, reconnect_max_tries=1000, reconnect_max_delay=1)
    assert (ticker.reconnect_max_tries, ticker.reconnect_max_delay) == (300, 5)
    assert lines == [
        "reconnect_max_tries is at most 300, not 1000",
        "reconnect_max_delay is at least 5, not 1",
    ]


def test_neither_secret_is_shown():
    ticker = KiteTicker("a_secret_key", "a_secret_token")
    assert "secret" not in repr(ticker)
    assert "secret" not in repr(vars(ticker))
