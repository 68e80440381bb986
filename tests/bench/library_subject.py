"""A user of the library with a clock: `KiteTickerManager`, a task for each of its channels.

Only public names of the package, so that it runs with older versions too. The age of a frame is
taken when its task has read the price of its last tick. Prints its figures as one line of JSON.
"""

from __future__ import annotations

import asyncio
import json

import uvloop

from connector import KiteTickerManager, Mode, TickMessage
from tests.bench.feed import age_us, subject_arguments
from tests.bench.peer import cpu_seconds

SILENCE_SECONDS = 3.0


async def measure(url: str, tokens: list[list[int]], expected: int) -> dict[str, object]:
    ages_us: list[int] = []
    received = 0
    cpu_from = 0.0

    async def read(channel):  # type: ignore[no-untyped-def]
        nonlocal received, cpu_from
        async for message in channel:
            if not isinstance(message, TickMessage):
                continue
            if not ages_us:
                cpu_from = cpu_seconds()
            for tick in message.ticks:
                tick.last_price  # noqa: B018 -- a compiled tick makes its fields when they are read
            ages_us.append(age_us(message.ticks[0].volume_traded))
            received += len(message.ticks)

    async with KiteTickerManager("bench", "bench", root=url) as manager:
        manager.subscribe_symbols([token for mine in tokens for token in mine], Mode.FULL)
        readers = [
            asyncio.ensure_future(read(channel)) for channel in manager.get_all_channels().values()
        ]
        loop = asyncio.get_running_loop()
        before, since = -1, loop.time()
        # what is lost never comes
        while received < expected and (not received or loop.time() - since < SILENCE_SECONDS):
            if received != before:
                before, since = received, loop.time()
            await asyncio.sleep(0.05)
        cpu = cpu_seconds() - cpu_from
    await asyncio.gather(*readers)
    return {
        "received": received, "lost": expected - received, "cpu_seconds": cpu,
        "ages_us": sorted(ages_us),
    }  # fmt: skip


def main() -> None:
    chosen = subject_arguments(__doc__, kafka=False)
    print(json.dumps(uvloop.run(measure(chosen.url, chosen.tokens, chosen.ticks))), flush=True)


if __name__ == "__main__":
    main()
