"""A program that uses every public name, with all types: checked, and run over a `FakeFeed`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import assert_never

from connector import (
    OHLC,
    AccountStats,
    CapacityError,
    Channel,
    ChannelId,
    ChannelPolicy,
    ChannelStats,
    ClosingMessage,
    ConnectionClosedError,
    ConnectionConfig,
    ConnectionEvent,
    ConnectionState,
    ConnectionStats,
    ConnectorError,
    Credentials,
    Depth,
    DepthItem,
    ErrorMessage,
    EventType,
    Exchange,
    FeedError,
    FeedUnreachableError,
    FileCredentials,
    FrameMessage,
    Handler,
    HandshakeError,
    HealthStatus,
    HealthSummary,
    Instrument,
    InstrumentFormatError,
    InstrumentList,
    InstrumentNotFoundError,
    KiteManagerConfig,
    KiteTickerAsync,
    KiteTickerManager,
    KiteTickerSubscriber,
    ManagerStats,
    MergedChannel,
    MissingExtraError,
    Mode,
    OptionChain,
    OptionStrike,
    Order,
    OrderMessage,
    OrderStatus,
    OrderTransactionType,
    OrderValidity,
    ParseTickError,
    Request,
    RestError,
    SilentConnectionError,
    StaticCredentials,
    TaggedMessage,
    TextMessage,
    Tick,
    TickerMessage,
    TickMessage,
    TokenMissingError,
    TokenRejectedError,
    TooManyConnectionsError,
    frame_array,
    packet_dtype,
    parse_frame,
    ticks_to_arrow,
    values_to_arrow,
)


def spread(depth: Depth) -> float:
    best_bid: DepthItem = depth.buy[0]
    return depth.sell[0].price - best_bid.price


def told(tick: Tick) -> list[float | None]:
    ohlc: OHLC | None = tick.ohlc
    exchange: Exchange = tick.exchange
    day = tick.exchange_timestamp.date().toordinal() if tick.exchange_timestamp else None
    return [
        tick.last_price / exchange.divisor,
        tick.change,
        ohlc.close if ohlc else None,
        spread(tick.depth) if tick.depth else None,
        day,
    ]


def of_order(order: Order) -> str:
    buys = order.transaction_type is OrderTransactionType.BUY
    done = order.status is OrderStatus.COMPLETE
    good = order.validity is not OrderValidity.UNKNOWN
    return f"{order.order_id} {buys} {done} {good} {order.payload.get('tag')}"


def read(message: TickerMessage) -> Sequence[object]:
    match message:
        case TickMessage():
            return [told(tick) for tick in message]
        case OrderMessage(order=order):
            return [of_order(order)]
        case FrameMessage(data=data):
            array = frame_array(data)
            same: bool = array.dtype == packet_dtype(184)
            rows: int = ticks_to_arrow([message]).num_rows + values_to_arrow([b""]).num_rows
            return [*parse_frame(data, strict=False), same, array["last_price"].tolist(), rows]
        case ErrorMessage(text=text):
            return [text.upper()]
        case TextMessage(type=kind):
            return [kind.upper()]
        case ClosingMessage(code=code):
            return [0 if code is None else code + 1]


class Sink(Handler):
    """A handler of one's own."""

    def __init__(self) -> None:
        self.bytes = 0
        self.events: list[ConnectionEvent] = []

    def opened(self, session_id: int) -> None:
        self.bytes = 0 * session_id

    def expect(self, tokens: Iterable[int]) -> None:
        del tokens

    def forget(self, tokens: Iterable[int]) -> None:
        del tokens

    def frame(self, data: bytes, receive_time_us: int) -> Sequence[tuple[int, Mode]]:
        self.bytes += len(data) + 0 * receive_time_us
        return [(tick.instrument_token, tick.mode) for tick in parse_frame(data)]

    def message(self, message: TickerMessage, raw: str) -> None:
        read(message)
        self.bytes += len(raw)

    def event(self, event: ConnectionEvent) -> None:
        if event.type is EventType.CONNECTED:
            self.events.append(event)


def word(error: ConnectorError) -> str:
    match error:
        case CapacityError(refused=refused, capacity=capacity):
            return f"{refused[0]} of {capacity}"
        case ParseTickError(reason=reason):
            return reason
        case MissingExtraError(package=package):
            return package
        case TokenRejectedError() | TooManyConnectionsError() | HandshakeError():
            return str(error.status)
        case FeedUnreachableError(address=address):
            return address
        case TokenMissingError() | SilentConnectionError() | ConnectionClosedError():
            return str(error.retryable)
        case InstrumentNotFoundError(nearest=names):
            return names[0]
        case InstrumentFormatError(reason=reason):
            return reason
        case RestError(status=status):
            return str(status + 0)
        case FeedError():
            return "feed"
        case _:
            return str(error)


def health(status: HealthStatus) -> str:
    match status:
        case HealthStatus.HEALTHY:
            return "well"
        case HealthStatus.DEGRADED | HealthStatus.CRITICAL:
            return "ill"
        case _:
            assert_never(status)


async def one_connection(ticker: KiteTickerAsync) -> Sequence[object]:
    subscriber: KiteTickerSubscriber = ticker.subscribe([408065], Mode.FULL)
    first = await subscriber.next_message()
    counts: ChannelStats = subscriber.stats
    stats: ConnectionStats = ticker.stats
    connected = stats.state is ConnectionState.CONNECTED and ticker.is_connected()
    read_so_far: Sequence[object] = [] if first is None else read(first)
    return [counts.received, stats.last_frame_us // 1000, connected, *read_so_far]


async def many(manager: KiteTickerManager) -> Sequence[object]:
    manager.subscribe_symbols([408065, 738561], Mode.QUOTE)
    channel: Channel = manager.get_channel(ChannelId(0))
    message = await channel.get()
    stats: ManagerStats = manager.get_stats()
    summary: HealthSummary = manager.get_health()
    return [*read(message), stats.dropped + 1, health(summary.status), summary.percentage / 2]


async def merged(manager: KiteTickerManager) -> Sequence[object]:
    manager.subscribe_symbols([408065], Mode.LTP, account="account 1")
    stream: MergedChannel = manager.get_merged_channel()
    batch: list[TaggedMessage] = await stream.get_batch(10)
    totals: dict[str, AccountStats] = dict(manager.get_stats().accounts)
    bad: tuple[ChannelId, ...] = manager.get_health().unhealthy_connections
    return [*read(batch[0].message), batch[0].account.upper(), totals["account 1"].ticks, *bad]


def of_accounts(keys: Sequence[tuple[str, str]], token_file: str) -> KiteTickerManager:
    accounts: list[Credentials] = [
        StaticCredentials(key, token, f"account {number}")
        for number, (key, token) in enumerate(keys)
    ]
    accounts.append(FileCredentials("another key", token_file, "of a file"))
    config = KiteManagerConfig(
        max_connections=2, channel_size=100, channel_policy=ChannelPolicy.BLOCK
    )
    return KiteTickerManager(accounts=accounts, config=config, handler_factory=lambda _: Sink())


async def near_the_money(price: float) -> list[int]:
    instruments = await InstrumentList.load(max_age_seconds=3600.0)
    chain: OptionChain = instruments.option_chain("NIFTY", around=price, strikes=5)
    strikes: Sequence[OptionStrike] = chain.strikes
    calls: list[Instrument] = [one.call for one in strikes if one.call is not None]
    return [*chain.tokens(), calls[0].instrument_token, *instruments.tokens(["NSE:INFY", 408065])]


async def main(api_key: str, access_token: str) -> None:
    try:
        async with KiteTickerAsync.connect(
            api_key,
            access_token,
            ConnectionConfig(liveness_threshold_seconds=4.0),
            channel_policy=ChannelPolicy.DROP_NEWEST,
            on_event=lambda event: print(event.time_ms, event.reason),
        ) as ticker:
            print(await one_connection(ticker), Request.subscribe([408065]).action)
    except ConnectorError as error:
        print(word(error))
    async with KiteTickerManager(api_key, access_token) as manager:
        print(await many(manager))


if __name__ == "__main__":
    asyncio.run(main("api_key", "access_token"))
