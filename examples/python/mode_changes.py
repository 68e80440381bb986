"""Modes change on an open socket: what each of them carries."""

import asyncio

import options

from connector import KiteTickerAsync, Mode


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    async with KiteTickerAsync.connect(key, token, root=root) as ticker:
        subscriber = ticker.subscribe([options.INFY], Mode.LTP)
        for mode in (Mode.LTP, Mode.QUOTE, Mode.FULL, Mode.LTP):
            subscriber.set_mode([options.INFY], mode)
            async with asyncio.timeout(seconds):
                # ticks that are under way still have the mode before
                while message := await subscriber.next_ticks():
                    tick = message.ticks[-1]
                    if tick.mode is mode:
                        carried = [name for name, value in tick.to_dict().items() if value]
                        print(f"{mode}: {', '.join(carried)}")
                        break
        print(f"{ticker.stats.connects} connection")


asyncio.run(main())
