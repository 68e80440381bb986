"""Everything that comes, in batches, as arrays: for whoever cannot look at a tick by itself."""

import asyncio
import contextlib

import numpy as np
import options

from connector import (
    ChannelPolicy,
    FrameMessage,
    KiteManagerConfig,
    KiteTickerManager,
    Mode,
    frame_array,
)


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    # nothing is lost: a full channel holds the socket until this loop has caught up
    config = KiteManagerConfig(channel_policy=ChannelPolicy.BLOCK)
    batches = ticks = 0
    highest = 0.0
    async with KiteTickerManager(key, token, config, root=root, raw=True) as manager:
        manager.subscribe_symbols([options.INFY, options.RELIANCE], Mode.FULL)
        merged = manager.get_merged_channel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    batch = await merged.get_batch()
                    frames = [
                        tagged.message.data
                        for tagged in batch
                        if isinstance(tagged.message, FrameMessage)
                    ]
                    batches += 1
                    for array in map(frame_array, frames):
                        ticks += len(array)
                        if len(array):
                            highest = max(highest, float(np.max(array["last_price"])) / 100)
                    await asyncio.sleep(0.01)  # what is done with them, say
        stats = manager.get_stats()
    print(f"{ticks} full packets in {batches} batches, the highest price {highest}")
    print(f"{stats.dropped} messages lost")


asyncio.run(main())
