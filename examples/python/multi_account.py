"""Several api_keys as one: an account for an instrument, one stream, totals by account.

KITE_ACCOUNTS has them as name:api_key:access_token, separated by commas.
"""

import asyncio
import contextlib
import os
from collections import Counter

import options

from connector import KiteManagerConfig, KiteTickerManager, Mode, StaticCredentials, TickMessage


async def main() -> None:
    key, token, root, seconds = options.read(__doc__)
    given = os.environ.get("KITE_ACCOUNTS", f"main:{key}:{token}")
    accounts = [
        StaticCredentials(api_key, access_token, name)
        for name, api_key, access_token in (account.split(":") for account in given.split(","))
    ]
    config = KiteManagerConfig(max_connections=2)
    ticks: Counter[tuple[str, int]] = Counter()
    async with KiteTickerManager(config=config, accounts=accounts, root=root) as manager:
        first, last = accounts[0].name, accounts[-1].name
        manager.subscribe_symbols([options.INFY, options.NIFTY_50], Mode.FULL, account=first)
        manager.subscribe_symbols([options.RELIANCE], Mode.LTP, account=last)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for account, channel_id, message in manager.get_merged_channel():
                    if isinstance(message, TickMessage):
                        ticks[account, channel_id] += len(message)
        print("ticks by account and channel:", dict(ticks))
        for name, stats in manager.get_stats().accounts.items():
            print(f"{name}: {stats.connected} connections, {stats.desired} instruments")
        health = manager.get_health()
        print(health.status, health.accounts, "bad connections:", *health.unhealthy_connections)


asyncio.run(main())
