"""A smoke test of a wheel that is installed: both codecs load, a feed ticks, a program ends.

It needs nothing but the wheel and numpy: `python tests/support/installed_wheel.py`.
"""

import asyncio
import sys

from connector import Mode, frame_array
from connector.codec import IMPLEMENTATION as CODEC
from connector.kite.wire.packets import IMPLEMENTATION as TICKS
from connector.testing import SimulatedFeed


async def main() -> None:
    async with SimulatedFeed({"NSE:INFY": 1500.0}) as feed, feed.ticker() as ticker:
        token = feed.token("NSE:INFY")
        subscriber, frames = ticker.subscribe([token], Mode.FULL), ticker.subscribe(raw=True)
        await feed.trade_at("NSE:INFY", 1512.5, mode=Mode.FULL)
        while (ticks := await subscriber.next_ticks()) and ticks.ticks[-1].last_price != 1512.5:
            pass
        # the first frame is a snapshot in mode quote, before the mode is full
        while (frame := await frames.next_frame()) and not len(frame_array(frame.data)):
            pass
        assert frame is not None
        assert frame_array(frame.data)["instrument_token"].tolist() == [token]
    print(f"CPython {sys.version.split()[0]}: codec {CODEC}, ticks {TICKS}")


if __name__ == "__main__":
    asyncio.run(asyncio.wait_for(main(), 60))
