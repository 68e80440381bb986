"""Subscriptions, modes and the access_token change while the manager runs."""

import asyncio

import options

from connector import CapacityError, KiteManagerConfig, KiteTickerManager, Mode


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    # a small one, to show what happens when it is full
    config = KiteManagerConfig(max_symbols_per_connection=1, default_mode=Mode.LTP)
    async with KiteTickerManager(key, token, config, root=root) as manager:

        async def show(what: str) -> None:
            await asyncio.sleep(seconds / 5)
            modes = {number: mode.value for number, mode in manager.subscriptions().items()}
            print(f"{what}: {modes}, {manager.get_stats().reconnects} reconnects")

        manager.subscribe_symbols([options.INFY])
        await show("one instrument, in the default mode")

        manager.subscribe_symbols([options.RELIANCE, options.NIFTY_50], Mode.QUOTE)
        manager.change_mode([options.INFY], Mode.FULL)
        await show("two more, and another mode")

        try:
            manager.subscribe_symbols([options.INFY, 2953217])
        except CapacityError as error:
            print("refused:", error.refused)

        manager.unsubscribe_symbols([options.RELIANCE])
        manager.subscribe_symbols([2953217])
        await show("one out, one in")

        # open sockets outlive their token; the next handshake uses the new one
        manager.set_access_token(token)
        await show("a new token")


asyncio.run(main())
