"""One connection, every kind of message, and what the connection says of itself."""

import asyncio
import contextlib

import options

from connector import (
    ClosingMessage,
    ConnectionEvent,
    ErrorMessage,
    KiteTickerAsync,
    KiteTickerSubscriber,
    Mode,
    OrderMessage,
    TextMessage,
    TickMessage,
    TokenRejectedError,
)


async def read(subscriber: KiteTickerSubscriber) -> None:
    async for message in subscriber:
        match message:
            case TickMessage():
                for tick in message:
                    print(f"{tick.instrument_token} {tick.mode}: {tick.last_price}", tick.ohlc)
            case OrderMessage(order=order):
                print(f"order {order.order_id}: {order.status}")
            case ErrorMessage(text=text):
                print("the feed complains:", text)
            case TextMessage(type=kind):
                print("message of type", kind)
            case ClosingMessage(reason=reason):
                print("socket lost, reconnecting:", reason)
            case _:
                pass  # frames come to those who ask for them


def show(event: ConnectionEvent) -> None:
    print(f"* {event.type} {event.reason}")


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    try:
        ticker = await KiteTickerAsync.connect(key, token, root=root, on_event=show)
    except TokenRejectedError as error:
        raise SystemExit(str(error)) from None
    async with ticker:
        subscriber = ticker.subscribe([options.INFY, options.RELIANCE], Mode.QUOTE)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(read(subscriber), seconds)
        print(ticker.stats)


asyncio.run(main())
