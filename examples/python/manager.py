"""Three connections as one: a reader for each channel, then counts and health."""

import asyncio

import options

from connector import (
    Channel,
    ChannelId,
    ChannelPolicy,
    KiteManagerConfig,
    KiteTickerManager,
    Mode,
    TickMessage,
)


async def read(channel_id: ChannelId, channel: Channel) -> None:
    ticks = 0
    async for message in channel:
        if isinstance(message, TickMessage):
            ticks += len(message)
    print(f"channel {channel_id}: {ticks} ticks")


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    config = KiteManagerConfig(channel_size=5_000, channel_policy=ChannelPolicy.BLOCK)
    async with (
        asyncio.TaskGroup() as readers,
        KiteTickerManager(key, token, config, root=root) as manager,
    ):
        for channel_id, channel in manager.get_all_channels().items():
            readers.create_task(read(channel_id, channel))
        manager.subscribe_symbols([options.INFY, options.RELIANCE], Mode.FULL)
        manager.subscribe_symbols([options.NIFTY_50])
        await asyncio.sleep(seconds)

        stats, health = manager.get_stats(), manager.get_health()
        print(f"{stats.connected} connections, {stats.confirmed}/{stats.desired} instruments,")
        print(f"{stats.ticks} ticks, {stats.dropped} messages dropped")
        print(f"{health.status}, {health.percentage:.0f} %", *health.reasons, sep="\n  ")
        print(manager.get_symbol_distribution())


asyncio.run(main())
