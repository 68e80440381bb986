"""A whole market over many accounts: simulator, and replicas in processes of their own.

`kite-connector run` as an operator runs it, with the instruments in a settings file and the daily
list from the simulator; Kafka is the one that is given.
"""

import asyncio
import contextlib
import time
import uuid
from datetime import datetime

from connector.embedded.registry import EmbeddedRegistry
from connector.simulator import SimulatorConfig, SimulatorServer
from connector.simulator.config import SimulatedAccount
from tests.chaos.fleet import Fleet

SLOTS_PER_ACCOUNT = 3
LOOK_SECONDS = 0.1


class WholeMarket:
    """Accounts that together carry every instrument of the simulator, each in full mode."""

    def __init__(self, server, fleet, slots):
        self.server = server
        self.fleet = fleet
        self.slots = slots
        self.instruments = len(server.universe)
        self.most_sockets = 0
        self.fewest_sockets = slots
        """The fewest that were open at any look since all of them were."""
        self._watcher = asyncio.create_task(self._watch())

    @property
    def open_sockets(self):
        return len(self.server.sockets)

    @property
    def connects(self):
        """Sockets that were ever opened."""
        return max((socket.number + 1 for socket in self.server.sockets), default=0)

    def asked_for(self):
        """Instruments that some socket has in full mode."""
        return sum(
            mode == "full"
            for socket in self.server.sockets
            for mode in socket.subscriptions.values()
        )

    async def start(self, replicas):
        """Start replicas all at once; seconds since the last of them was started."""
        for _ in range(replicas):
            await self.fleet.start(len(self.fleet.all))
        return time.monotonic()

    async def until_all_stream(self, seconds):
        """Wait until all have sent something, each slot has one owner, and a replica leads."""
        return await self._until(self._all_stream, seconds)

    def streams_since(self, begun):
        """When the last slot that was opened since had a packet of each of its instruments.

        By the log of its owner, since `/status` may be a second old; both times are epoch seconds.
        """
        times = [
            datetime.fromisoformat(line["time"]).timestamp()
            for process in self.fleet.alive
            for line in process.lines()
            if line.get("message") == "connection_snapshot_done"
        ]
        return max(at for at in times if at > begun)

    async def until_all_confirmed(self, seconds):
        """Wait until all have sent a full packet: their next update, as a snapshot is in quote."""
        return await self._until(self._all_confirmed, seconds)

    async def _until(self, done, seconds):
        end = time.monotonic() + seconds
        while not await done():
            dead = [process.name for process in self.fleet.all if process.code not in (None, 0, -9)]
            assert not dead, f"{dead} ended"
            assert time.monotonic() < end, f"{self.asked_for()} of {self.instruments} are asked for"
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic()

    async def _all_stream(self):
        if self.open_sockets != self.slots:
            return False
        # counted first: to look at each mode takes the simulator's event loop 10 ms
        subscribed = sum(len(socket.subscriptions) for socket in self.server.sockets)
        if subscribed != self.instruments or self.asked_for() != self.instruments:
            return False
        statuses = await self.fleet.statuses()
        connections = connections_of(statuses)
        return (
            len(statuses) == len(self.fleet.alive)
            and sorted(one["slot"] for one in connections) == list(range(self.slots))
            and sum(one["desired"] for one in connections) == self.instruments
            and sum(one["silent"] for one in connections) == 0
            # slots stream on while they change hands: the leader may do so just then
            and sum(status["cluster"]["leader"] for status in statuses.values()) == 1
        )

    async def _all_confirmed(self):
        connections = connections_of(await self.fleet.statuses())
        return sum(one["confirmed"] for one in connections) == self.instruments

    async def _watch(self):
        full = False
        while True:
            count = self.open_sockets
            self.most_sockets = max(self.most_sockets, count)
            full = full or count == self.slots
            if full:
                self.fewest_sockets = min(self.fewest_sockets, count)
            await asyncio.sleep(0.02)

    async def close(self):
        self._watcher.cancel()
        await asyncio.gather(self._watcher, return_exceptions=True)


def connections_of(statuses):
    """All connections of some replicas, as their statuses have them."""
    return [one for status in statuses.values() for one in status["connections"]]


@contextlib.asynccontextmanager
async def whole_market(
    directory, bootstrap_servers, *, accounts, instruments, updates_per_second=0.0, **changes
):
    """The feed, the registry, and room for replicas.

    Args:
        directory: for settings, logs and spools.
        bootstrap_servers: of the Kafka; topics are made where it can make them.
        accounts: api_keys of three connections each.
        instruments: of the market, all of which the settings name.
        updates_per_second: of each instrument, beside the snapshots.
        changes: parts of the settings that are other than usual.
    """
    keys = [f"simulated_key_{number}" for number in range(accounts)]
    config = SimulatorConfig(
        instruments=instruments,
        updates_per_second=updates_per_second,
        accounts=tuple(SimulatedAccount(api_key=key) for key in keys),
        packets_per_frame=200,
        backlog_mib=256,
    )
    async with SimulatorServer(config) as server, EmbeddedRegistry() as registry:
        settings = {
            "name": f"market-{uuid.uuid4().hex[:8]}",
            "feed": {"root": server.ws_url, "rest": server.rest_url},
            "accounts": [
                {"name": f"a{number}", "api_key": key, "access_token": "simulated_token"}
                for number, key in enumerate(keys)
            ],
            "instruments": [
                {
                    "mode": "full",
                    "instruments": [one.instrument_token for one in server.universe.listings],
                }
            ],
            "registry": {"url": registry.url},
            "http": {"port": 0},
            "kafka": {"bootstrap_servers": bootstrap_servers},
            "topics": {"replication_factor": 1},
            **changes,
        }
        async with Fleet(directory, settings, server.ws_url) as fleet:
            market = WholeMarket(server, fleet, accounts * SLOTS_PER_ACCOUNT)
            try:
                yield market
            finally:
                await market.close()
