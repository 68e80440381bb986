"""Scans many instruments, and follows the day's biggest movers in full mode."""

import asyncio
from collections.abc import Sequence

import options

from connector import KiteTickerManager, Mode, Tick, TickMessage

FOLLOWED = 3


class Scanner:
    """Knows the latest tick of each instrument."""

    def __init__(self, manager: KiteTickerManager) -> None:
        self.manager = manager
        self.latest: dict[int, Tick] = {}

    def movers(self) -> Sequence[Tick]:
        """The biggest changes of the day."""
        with_change = [tick for tick in self.latest.values() if tick.change is not None]
        return sorted(with_change, key=lambda tick: -abs(tick.change or 0))[:FOLLOWED]

    async def read(self, channel_id: int) -> None:
        """Take one connection's ticks."""
        async for message in self.manager.get_channel(channel_id):
            if isinstance(message, TickMessage):
                self.latest |= {tick.instrument_token: tick for tick in message}

    def follow(self) -> None:
        """Depth costs four times the bytes: only the movers get it."""
        wanted = {tick.instrument_token for tick in self.movers()}
        modes = self.manager.subscriptions()
        followed = {token for token, mode in modes.items() if mode is Mode.FULL}
        self.manager.change_mode(followed - wanted, Mode.QUOTE)
        self.manager.change_mode(wanted - followed, Mode.FULL)


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    # a real scanner takes them from Kite's list of instruments
    universe = [options.INFY, options.RELIANCE, 2953217, 341249, 1270529, 779521, 969473, 424961]
    async with (
        asyncio.TaskGroup() as readers,
        KiteTickerManager(key, token, root=root) as manager,
    ):
        scanner = Scanner(manager)
        for channel_id in manager.get_all_channels():
            readers.create_task(scanner.read(channel_id))
        manager.subscribe_symbols(universe, Mode.QUOTE)
        for _ in range(5):
            await asyncio.sleep(seconds / 5)
            scanner.follow()
            for tick in scanner.movers():
                bid = tick.depth.buy[0].price if tick.depth else None
                print(f"{tick.instrument_token} {tick.change:+.2f} % bid {bid}", end="   ")
            print()


asyncio.run(main())
