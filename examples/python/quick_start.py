"""The shortest program: print ten prices."""

import asyncio

import options

from connector import KiteTickerAsync, Mode, TickMessage


async def main() -> None:
    key, token, root, _ = options.read(__doc__)
    async with KiteTickerAsync.connect(key, token, root=root) as ticker:
        subscriber = ticker.subscribe([options.INFY, options.RELIANCE], Mode.LTP)
        left = 10
        while left > 0:
            message = await subscriber.next_message()
            if isinstance(message, TickMessage):
                for tick in message:
                    print(tick.instrument_token, tick.last_price)
                left -= len(message)


asyncio.run(main())
