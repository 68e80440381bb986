"""What is done to what the replicas talk to, beyond being away: refusals, poison, cut lists."""

import asyncio
import contextlib
import os
import shutil
import subprocess

from connector.kite.wire.models import Exchange
from connector.simulator.rest import instruments_csv
from tests.chaos.plan import Kind
from tests.chaos.poison import poisons

SPOOL_MIB = 24
READ_SECONDS = 60.0


class Disks:
    """A small file system for the spool of each place, which can be filled; needs root.

    Args:
        fleet: whose spools they are.
        places: how many.
    """

    def __init__(self, fleet, places):
        self._mounts = [fleet.disk(place) for place in range(places)]
        self._mounted = []
        self.full = set()
        """Places whose disk was full at some time: they may lose what they say they lose."""

    def __enter__(self):
        for mount in self._mounts:
            mount.mkdir(parents=True, exist_ok=True)
            options = f"size={SPOOL_MIB}m"
            done = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(mount)],
                capture_output=True,
                check=False,
            )
            if done.returncode:
                break
            self._mounted.append(mount)
        return self

    def __exit__(self, *_):
        for mount in self._mounted:
            subprocess.run(["umount", "-l", str(mount)], check=False)

    @property
    def can_be_filled(self):
        return bool(self._mounted) and len(self._mounted) == len(self._mounts)

    def fill(self):
        for place, mount in enumerate(self._mounts):
            self.full.add(place)
            room = shutil.disk_usage(mount).free
            with contextlib.suppress(OSError), (mount / "filler").open("wb") as filler:
                filler.write(bytes(room))

    def empty(self):
        for mount in self._mounts:
            (mount / "filler").unlink(missing_ok=True)


class Outside:
    """Does these faults to a run.

    Args:
        chaos: the run.
        topics: names.
        reader: of the ticks.
        disks: under the spools.
        list_file: what the simulator's REST serves as the list of instruments.
    """

    def __init__(self, chaos, topics, reader, disks, list_file):
        self._chaos = chaos
        self._topics = topics
        self._reader = reader
        self._disks = disks
        self._list_file = list_file
        self._one_at_a_time = asyncio.Lock()
        self._lists = 0
        self._topic_gone = False
        self.does = {
            Kind.MUTE: self._mute,
            Kind.CLOCK: self._clock,
            Kind.RIGHT: self._right,
            Kind.TOPIC: self._topic,
            Kind.DISK: self._disk,
            Kind.LIST: self._list,
            Kind.POISON: self._poison,
        }

    @property
    def refusals(self):
        """What can be refused in this run."""
        return self._chaos.broker.refusals | ({Kind.DISK} if self._disks.can_be_filled else set())

    @property
    def lossy_places(self):
        """Whose disk was full: what they say that they lost they may lose."""
        return self._disks.full

    async def _mute(self, action):
        chaos = self._chaos
        numbers = chaos.chosen(action)
        chaos.disturb(action.kind, str(numbers))
        await chaos.server.inject("mute", sockets=tuple(numbers), seconds=action.seconds)

    async def _clock(self, action):
        ticks = list(self._topics.all_ticks().values())
        await self._refused(action, self._chaos.broker.refusing.clock, ticks)

    async def _right(self, action):
        ticks = list(self._topics.all_ticks().values())
        await self._refused(action, self._chaos.broker.refusing.right, ticks)

    async def _refused(self, action, refusal, topics):
        async with self._chaos.kafka_trouble, contextlib.AsyncExitStack() as stack:
            self._chaos.disturb(action.kind, "begins")
            if self._chaos.broker.refuses_all:
                await asyncio.to_thread(self._chaos.steering.hold)
                stack.callback(self._chaos.steering.go_on)
            await stack.enter_async_context(_in_thread(refusal(topics)))
            await self._chaos.pace(action.seconds)
        self._chaos.disturb(action.kind, "is over")

    async def _topic(self, action):
        """Delete a topic once all that it took has been read: nothing may be missing afterwards."""
        chaos, refusing = self._chaos, self._chaos.broker.refusing
        topic = self._topics.ticks(Exchange.NSE)
        if self._topic_gone:
            chaos.say("  it is gone already")
            return
        self._topic_gone = True
        async with chaos.kafka_trouble:
            chaos.disturb(action.kind, "takes nothing")
            # a right and not the clock, for which records would be given another time
            async with _in_thread(refusing.right([topic])):
                await chaos.pace(2.0)

                async def all_read():
                    return await asyncio.to_thread(self._reader.at_the_end, topic)

                await chaos.until(all_read, READ_SECONDS, f"{topic} is read")
                await asyncio.to_thread(self._reader.leave, topic)
                await asyncio.to_thread(refusing.delete, topic)
                chaos.disturb(action.kind, "is deleted")
            await asyncio.to_thread(refusing.until_made, topic)
            await asyncio.to_thread(self._reader.enter, topic)
        self._topic_gone = False
        chaos.disturb(action.kind, "is there again")

    async def _disk(self, action):
        self._chaos.disturb(action.kind, "is full")
        await asyncio.to_thread(self._disks.fill)
        await self._chaos.pace(action.seconds)
        await asyncio.to_thread(self._disks.empty)
        self._chaos.disturb(action.kind, "has room again")

    async def _list(self, action):
        """Half a list, which somebody asks for: nothing may end with it."""
        chaos = self._chaos
        async with self._one_at_a_time:
            whole = instruments_csv(chaos.server.universe.listings)
            lines = whole.splitlines(keepends=True)
            self._serve("".join(lines[: len(lines) // 2]))
            self._ask_for_list()
            await chaos.pace(action.seconds)
            self._serve(whole)
            self._ask_for_list()

    def _serve(self, text):
        fresh = self._list_file.with_suffix(".new")
        fresh.write_text(text)
        os.replace(fresh, self._list_file)  # noqa: PTH105 - says what it is for

    def _ask_for_list(self):
        self._lists += 1
        # its reply says what came of the list, which the model does not foretell
        self._chaos.steering.write({"id": f"list-{self._lists}", "type": "refresh-instruments"})

    async def _poison(self, action):
        self._chaos.steering.poison(poisons(self._chaos.started)[action.victim])


@contextlib.asynccontextmanager
async def _in_thread(blocking):
    """A context manager that blocks, entered and left in a thread."""
    await asyncio.to_thread(blocking.__enter__)
    try:
        yield
    finally:
        await asyncio.to_thread(blocking.__exit__, None, None, None)
