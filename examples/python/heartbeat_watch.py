"""Is the feed alive? Heartbeats, ticks and pings are told apart, and a stall is an event."""

import asyncio
import time

import options

from connector import ConnectionConfig, ConnectionEvent, EventType, KiteTickerAsync, Mode

WORTH_KNOWING = {
    EventType.DISCONNECTED, EventType.STALLED, EventType.TICKS_RESUMED, EventType.GAP,
}  # fmt: skip


def tell(event: ConnectionEvent) -> None:
    if event.type in WORTH_KNOWING:
        print(f"* {event.type}: {event.reason}")


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    # a socket that is silent for so long is replaced: no heartbeat, no tick, no pong
    config = ConnectionConfig(liveness_threshold_seconds=4.0, ping_interval_seconds=1.0)
    async with KiteTickerAsync.connect(key, token, config, root=root, on_event=tell) as ticker:
        ticker.subscribe([options.INFY], Mode.LTP)
        for _ in range(4):
            await asyncio.sleep(seconds / 4)
            ticker.ping()
            stats = ticker.stats
            silent = time.time() - stats.last_frame_us / 1e6
            print(
                f"{ticker.state}: {stats.heartbeats} heartbeats, {stats.frames} frames, "
                f"{stats.control_frames} pongs and pings, silent for {silent:.1f} s"
            )


asyncio.run(main())
