"""The ticker against the simulated feed, over a real socket."""

import asyncio
import contextlib

import pytest

from connector import (
    ClosingMessage,
    ConnectionConfig,
    ConnectionState,
    ErrorMessage,
    EventType,
    FileCredentials,
    FrameMessage,
    KiteTickerAsync,
    Mode,
    OrderMessage,
    TextMessage,
    TickMessage,
    TokenRejectedError,
    TooManyConnectionsError,
    parse_frame,
)
from connector.kite.client.outside import Surroundings
from connector.simulator import FaultKind, FaultSpec, SimulatorConfig, SimulatorServer
from connector.testing import until
from tests.support.clock import TradingClock

KEY, TOKEN = "simulated_key", "simulated_token"
INFY, RELIANCE, NIFTY = 408065, 738561, 256265
STEPPED = SimulatorConfig(stepped=True, instruments=50, connect_messages=False)
QUICK = ConnectionConfig(
    reconnect_min_delay_seconds=0.01, reconnect_max_delay_seconds=0.05, slot_wait_seconds=0.02,
    confirm_timeout_seconds=0.2,
    liveness_threshold_seconds=0.4, ping_interval_seconds=0.1,
)  # fmt: skip


class TradingTicker(KiteTickerAsync):
    """One whose clock is always within market hours."""

    _outside = Surroundings(clock=TradingClock())


@contextlib.asynccontextmanager
async def feed_and_ticker(feed=STEPPED, kind=KiteTickerAsync, **options):
    options.setdefault("config", QUICK)
    async with (
        SimulatorServer(feed) as server,
        kind.connect(KEY, TOKEN, root=server.ws_url, **options) as ticker,
    ):
        yield server, ticker


async def next_of(subscriber, kind):
    while (message := await subscriber.next_message()) is not None:
        if isinstance(message, kind):
            return message
    return None


@pytest.fixture(autouse=True)
async def in_time():
    async with asyncio.timeout(60):
        yield


async def test_ticks_in_the_modes_asked_for():
    async with feed_and_ticker() as (server, ticker):
        subscriber = ticker.subscribe([INFY, NIFTY], Mode.FULL)
        await server.until(lambda: server.subscriptions() == {INFY: "full", NIFTY: "full"})
        await server.step(4)
        seen = {}
        while any(mode is not Mode.FULL for mode in seen.values()) or len(seen) < 2:
            for tick in await next_of(subscriber, TickMessage):
                seen[tick.instrument_token] = tick.mode
        assert ticker.stats.confirmed == 2

        subscriber.set_mode([INFY], Mode.LTP)
        subscriber.unsubscribe([NIFTY])
        await server.until(lambda: server.subscriptions() == {INFY: "ltp"})
        await server.step()
        while (await next_of(subscriber, TickMessage)).ticks[0].mode is not Mode.LTP:
            pass
        assert server.max_open_sockets() == 1


async def test_the_snapshot_comes_even_when_the_market_is_shut():
    shut = STEPPED.model_copy(update={"market_open": False})
    async with feed_and_ticker(shut) as (_, ticker):
        subscriber = ticker.subscribe([INFY])
        assert [tick.mode for tick in await next_of(subscriber, TickMessage)] == [Mode.QUOTE]


async def test_orders_errors_and_messages_that_nobody_documented():
    meta = STEPPED.model_copy(update={"connect_messages": True})
    async with feed_and_ticker(meta) as (server, ticker):
        subscriber = ticker.subscribe()
        await server.post_order({"order_id": "1", "status": "COMPLETE"})
        await server.send_text({"type": "error", "data": "Can't do that."})
        await server.inject(FaultSpec(kind=FaultKind.GARBAGE_TEXT, count=4))
        await server.send_text({"type": "message", "data": "last"})
        assert (await next_of(subscriber, OrderMessage)).order.order_id == "1"
        assert await next_of(subscriber, ErrorMessage) == ErrorMessage("Can't do that.")
        while await next_of(subscriber, TextMessage) != TextMessage("message", "last"):
            pass
        assert ticker.is_connected()


async def test_raw_frames():
    async with feed_and_ticker(raw=True) as (_, ticker):
        subscriber = ticker.subscribe([INFY, RELIANCE])
        frame = await subscriber.next_frame()
        assert isinstance(frame, FrameMessage)
        assert {tick.instrument_token for tick in parse_frame(frame.data)} <= {INFY, RELIANCE}


async def test_a_wrong_token_raises_and_shows_nothing():
    async with SimulatorServer(STEPPED) as server:
        with pytest.raises(TokenRejectedError) as caught:
            await KiteTickerAsync.connect(KEY, "SECRET", root=server.ws_url)
    assert "SECRET" not in f"{caught.value!r} {caught.value}"


async def test_a_fourth_connection_raises_and_leaves_the_three():
    async with SimulatorServer(STEPPED) as server, contextlib.AsyncExitStack() as stack:
        tickers = [
            await stack.enter_async_context(KiteTickerAsync.connect(KEY, TOKEN, root=server.ws_url))
            for _ in range(3)
        ]
        with pytest.raises(TooManyConnectionsError):
            await KiteTickerAsync.connect(KEY, TOKEN, root=server.ws_url)
        assert all(ticker.is_connected() for ticker in tickers)
        assert server.max_open_sockets() == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (FaultSpec(kind=FaultKind.ABORT), None),
        (FaultSpec(kind=FaultKind.CLOSE, code=1012, text="restart"), 1012),
        (FaultSpec(kind=FaultKind.SILENCE), None),
    ],
)
async def test_after_a_loss_everything_is_as_before(fault, code):
    events = []
    async with feed_and_ticker(on_event=events.append) as (server, ticker):
        subscriber = ticker.subscribe([INFY, RELIANCE], Mode.FULL)
        subscriber.subscribe([NIFTY], Mode.LTP)
        wanted = {INFY: "full", RELIANCE: "full", NIFTY: "ltp"}
        await server.until(lambda: server.subscriptions() == wanted)
        await server.inject(fault)
        closing = await next_of(subscriber, ClosingMessage)
        assert closing.code == code
        await server.until(
            lambda: (
                [socket.subscriptions for socket in server.sockets][-1:] == [wanted]
                and len(server.sockets) == 1
            )
        )
        await until(lambda: EventType.SNAPSHOT_DONE in [event.type for event in events])
        (gap,) = [event for event in events if event.type is EventType.GAP]
        assert gap.gap_from_ms <= gap.gap_to_ms
        assert ticker.stats.reconnects == 1


async def test_heartbeats_keep_it_alive_and_a_mute_feed_is_a_stall():
    # patient enough that the socket is not replaced
    config = QUICK.model_copy(
        update={"stall_threshold_seconds": 0.5, "confirm_timeout_seconds": 60.0}
    )
    feed = SimulatorConfig(instruments=50, heartbeat_seconds=0.05, updates_per_second=50)
    events = []
    async with feed_and_ticker(feed, TradingTicker, config=config, on_event=events.append) as (
        server,
        ticker,
    ):
        subscriber = ticker.subscribe([INFY])
        await next_of(subscriber, TickMessage)
        await server.inject(FaultSpec(kind=FaultKind.MUTE))
        await until(lambda: EventType.STALLED in [event.type for event in events])
        server.clear_faults()
        await until(lambda: EventType.TICKS_RESUMED in [event.type for event in events])
        assert ticker.stats.reconnects == 0


async def test_damaged_frames_are_passed_over():
    async with feed_and_ticker() as (server, ticker):
        subscriber = ticker.subscribe([INFY])
        await server.until(server.subscriptions)
        for kind in (FaultKind.HALF_FRAME, FaultKind.UNKNOWN_LENGTH, FaultKind.UNKNOWN_SEGMENT):
            await server.inject(FaultSpec(kind=kind))
        await server.step(3)
        for _ in range(3):
            assert await next_of(subscriber, TickMessage)
        assert ticker.is_connected()
        assert ticker.stats.handler_errors == 0


async def test_the_morning_a_token_ends_and_a_new_one_comes(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN)
    async with SimulatorServer(STEPPED) as server:
        credentials = FileCredentials(KEY, path)
        async with KiteTickerAsync(credentials, QUICK, root=server.ws_url) as ticker:
            ticker.subscribe([INFY], Mode.FULL)
            server.expire_token()
            await server.until(server.subscriptions)
            # the open socket lives on; only the next handshake shows it
            await server.inject(FaultSpec(kind=FaultKind.ABORT))
            await until(lambda: ticker.state is ConnectionState.WAITING_FOR_TOKEN)
            server.set_token("tomorrow")
            path.write_text("tomorrow\n")
            await server.until(lambda: server.subscriptions() == {INFY: "full"})
            assert ticker.is_connected()
