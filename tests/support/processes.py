"""Programs in processes of their own, replicas above all, as a test sees them."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextlib.asynccontextmanager
async def ended(process):
    """A program that does not outlive the block, however that ends."""
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


class ReplicaProcess:
    """Follows what a `tests.support.replica_process` says of itself."""

    def __init__(self, process):
        self.process = process
        self.says = {"leads": False, "slots": {}}
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, bootstrap_servers, feed, **changes):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.replica_process",
            bootstrap_servers, feed, json.dumps(changes),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        return cls(process)

    async def _read(self):
        async for line in self.process.stdout:
            self.says = json.loads(line)

    @property
    def leads(self):
        return self.says["leads"]

    @property
    def slots(self):
        return {int(number): state for number, state in self.says["slots"].items()}

    def send_signal(self, number):
        self.process.send_signal(number)

    async def ended(self):
        code = await self.process.wait()
        await self._reader
        return code


@contextlib.asynccontextmanager
async def replica_processes(kafka, feed, count, **changes):
    started = [
        await ReplicaProcess.start(kafka.bootstrap_servers, feed.ws_url, **changes)
        for _ in range(count)
    ]
    try:
        yield started
    finally:
        for replica in started:
            with contextlib.suppress(ProcessLookupError):
                replica.process.kill()
        for replica in started:
            await replica.ended()


def in_charge(members, slots):
    """Whether each slot has one owner that is connected, and one of the members leads."""
    owned = sorted(number for member in members for number in member.slots)
    return (
        owned == sorted(slots)
        and sum(member.leads for member in members) == 1
        and all(state == "connected" for member in members for state in member.slots.values())
    )
