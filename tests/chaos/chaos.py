"""Does a plan to a cluster of real processes, and says what came of it."""

import asyncio
import itertools
import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from connector.kite.feed.wait import cancelled
from tests.chaos.judge import MEMBERS, Judge
from tests.chaos.plan import Kind

REPLICAS = 3
PLACES = 4
EXIT_SECONDS = 90.0
READY_SECONDS = 120.0
SETTLE_SECONDS = 300.0
"""A topic that gets no more records is in trouble for its clock for three minutes."""
STEADY_SECONDS = 3.0
"""For so long what has settled must stay so: a moving instrument lingers for two."""
AFTERMATH_SECONDS = 45.0
"""After a thaw or an outage two replicas may both believe for a while that a slot is theirs: until
the group has met again, 38 s where some twenty processes wanted two cores."""

EXIT_LOSSY = 3


@dataclass
class Outcome:
    """What was seen; a test asserts that there are no faults."""

    faults: list = field(default_factory=list)
    log: list = field(default_factory=list)
    commands: int = 0
    excused_replies: int = 0
    """Of the embedded broker, which shows what an aborted transaction wrote."""
    excused_crashes: int = 0
    actions: Counter = field(default_factory=Counter)


class Gap(NamedTuple):
    """A time in which wanted instruments were on no socket."""

    undisturbed_seconds: float
    """The longest stretch of it in which nothing was done to a replica, and nothing taken away."""
    seconds: float
    instruments: int
    begin: float
    cause: str
    """The disturbance that began last before it."""
    disturbances: int
    """Of replicas, while it lasted."""


class Chaos:
    """One run.

    Args:
        fleet: of processes.
        server: the simulator.
        watch: on it.
        excuses: for times in which nothing can be streamed.
        broker: of `tests.chaos.brokers`.
        steering: writes commands.
        token_file: that the processes read.
        pace: waits for so many seconds of the schedule.
    """

    def __init__(
        self, fleet, server, watch, excuses, broker, steering, token_file, *, pace=asyncio.sleep
    ):
        self.fleet = fleet
        self.server = server
        self.watch = watch
        self.excuses = excuses
        self.broker = broker
        self.steering = steering
        self.token_file = token_file
        self.outcome = Outcome()
        self.judge = Judge(self)
        self.started = time.monotonic()
        self.disturbed = []
        """(time, kind) of each disturbance's begin"""
        self.gaps = []
        """The longest undisturbed one first."""
        self.pace = pace
        self._choosing = asyncio.Lock()
        self._keeper = None
        self._places = {}
        self._leaving = 0
        self._broker_away = self._token_over = False
        self._tokens = itertools.count(1)
        self.kafka_trouble = asyncio.Lock()
        """One at a time: what a broker that is away refuses nobody can tell."""
        self.outside = None
        """What does the faults of `tests.chaos.outside`."""

    def say(self, text):
        line = f"{time.monotonic() - self.started:7.2f} {text}"
        self.outcome.log.append(line)
        # at once, for whoever waits and wonders
        with (self.fleet.directory / "chaos.log").open("a") as log:
            log.write(line + "\n")

    def fault(self, text):
        self.say(f"FAULT {text}")
        self.outcome.faults.append(text)

    async def until(self, condition, seconds, what):
        """Wait for a condition that returns a coroutine; False, and a fault, where it fails."""
        end = time.monotonic() + seconds
        while not await condition():
            if time.monotonic() > end:
                self.fault(f"within {seconds:g} s: {what}")
                return False
            await asyncio.sleep(0.1)
        return True

    # the whole

    async def __aenter__(self):
        self._keeper = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *_):
        await cancelled(self._keeper)

    async def begin(self):
        """Start the replicas and wait until they share the slots."""
        for place in range(REPLICAS):
            await self._start(place)
        if await self.until(self.in_charge, READY_SECONDS, "the replicas share the slots"):
            return True
        self.fault(str(self._not_in_charge(await self.fleet.statuses())))
        return False

    async def run(self, plan):
        self.started = time.monotonic()
        judge = asyncio.create_task(self.judge.run())
        try:
            async with asyncio.TaskGroup() as group:
                for action in plan:
                    left = self.started + action.at_seconds - time.monotonic()
                    if left > 0:
                        await self.pace(left)
                    self.outcome.actions[action.kind] += 1
                    self.say(str(action).split(maxsplit=1)[1])
                    if action.kind is Kind.COMMAND:
                        self.judge.send(action)
                    else:
                        group.create_task(self._do(action))
            self.judge.end()
            await judge
        finally:
            await cancelled(judge)

    async def _do(self, action):
        does = self.outside.does.get(action.kind) or getattr(self, f"_{action.kind}")
        await does(action)

    async def settle(self):
        """All is well again: the sockets have what the commands asked for, and keep it."""
        self.say("all is well again")
        for place in range(PLACES):
            if (place < REPLICAS or self._left_over(place)) and not self._places.get(place):
                await self._start(place)
        end = time.monotonic() + SETTLE_SECONDS
        while (left := end - time.monotonic()) > 0:
            if not await self.until(self.settled, left, "the cluster settles"):
                self.fault(f"not settled: {await self.unsettled()}")
                break
            self.say("settled")
            await self.pace(STEADY_SECONDS)
            if await self.settled():
                break
            # who comes back from a freeze is given its share only after the sockets were complete
            self.say(f"not for long: {await self.unsettled()}")
        else:
            self.fault(f"never settled for {STEADY_SECONDS:g} s: {await self.unsettled()}")
        self.gaps = self._gaps()

    async def end(self):
        """Every process is asked to end, and does."""
        await asyncio.gather(*(self._end(process) for process in self.fleet.alive))
        if open_sockets := self.server.open_sockets():
            self.fault(f"{open_sockets} sockets are open when every process has ended")

    # how it is

    async def in_charge(self):
        """Each slot has one owner that is connected, and one process leads."""
        return not self._not_in_charge(await self.fleet.statuses())

    def _not_in_charge(self, statuses):
        wrong = [f"{one.name} does not answer" for one in self.fleet.alive if one not in statuses]
        owned, leaders = [], []
        for process, status in statuses.items():
            cluster = status["cluster"] or {"slots": {}, "leader": False}
            owned += [int(number) for number in cluster["slots"]]
            leaders += [process.name] if cluster["watchlists"] is not None else []
            if not status["ready"]:
                wrong.append(f"{process.name} is not ready: {status['not_ready']}")
        if sorted(owned) != [0, 1, 2]:
            wrong.append(f"owned slots: {sorted(owned)}")
        if len(leaders) != 1:
            wrong.append(f"leaders: {leaders}")
        return wrong

    async def settled(self):
        return not await self.unsettled()

    async def unsettled(self):
        """What is not as the commands asked for; empty where all is."""
        wrong = []
        wanted, there = self.judge.model.modes(), self.server.subscriptions()
        if there != wanted:
            missing, surplus = wanted.keys() - there.keys(), there.keys() - wanted.keys()
            other = [
                token for token in wanted.keys() & there.keys() if wanted[token] != there[token]
            ]
            wrong.append(
                f"{len(missing)} instruments are not streamed ({sorted(missing)[:5]}), "
                f"{len(surplus)} too many ({sorted(surplus)[:5]}), {len(other)} in another mode"
            )
        carried = Counter(token for socket in self.watch.open() for token in socket.tokens)
        if doubled := [token for token, count in carried.items() if count > 1]:
            wrong.append(f"{len(doubled)} instruments are on two sockets")
        if len(self.watch.open()) != 3:
            wrong.append(f"{len(self.watch.open())} sockets are open")
        statuses = await self.fleet.statuses()
        wrong += self._not_in_charge(statuses)
        wrong += [
            f"{process.name} has {status['accounting']['spooled']} records in its spool"
            for process, status in statuses.items()
            if status["accounting"]["spooled"]
        ]
        return wrong

    def _left_over(self, place):
        return any(self.fleet.spool(place).glob("*.spool"))

    # processes

    async def _start(self, place):
        self._places[place] = True
        process = await self.fleet.start(place)
        self.say(f"{process.name} started in place {place}")

    async def _keep(self):
        """Nobody may die unasked; another process takes the place."""
        while True:
            for process in self.fleet.all:
                if process.code is None or process.asked_to_end:
                    continue
                process.killed = process.asked_to_end = True
                text = f"{process.name} died by itself, with {process.code}"
                if not self.broker.transactions and process.code == -signal.SIGSEGV:
                    # that broker names its members by their addresses; two of one name, after
                    # one was gone and came back, and librdkafka crashes on what it answers
                    self.outcome.excused_crashes += 1
                    self.say(f"excused: {text}")
                else:
                    self.fault(text)
                await self._start(process.place)
            await asyncio.sleep(0.1)

    async def _victim(self, role):
        """A process to do something to: never the last one that is well."""
        async with self._choosing, asyncio.timeout(READY_SECONDS):
            while True:
                if sum(process.free for process in self.fleet.alive) > 1:
                    process = await self.fleet.find(role)
                    if process is not None:
                        process.busy = True
                        return process
                await asyncio.sleep(0.1)

    def disturb(self, kind, text):
        self.disturbed.append((time.monotonic(), kind))
        self.say(f"  {kind} {text}")

    async def _kill(self, action):
        process = await self._victim(action.victim)
        self.disturb(action.kind, process.name)
        process.killed = process.asked_to_end = True
        process.send_signal(signal.SIGKILL)
        await self.fleet.ended(process, EXIT_SECONDS)
        await self.pace(action.seconds)
        await self._start(process.place)

    async def _stop(self, action):
        process = await self._victim(action.victim)
        self.disturb(action.kind, process.name)
        await self._end(process)
        await self.pace(action.seconds)
        await self._start(process.place)

    async def _end(self, process):
        process.asked_to_end = True
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await self.fleet.ended(process, EXIT_SECONDS)
        self.say(f"  {process.name} ended with {code} after {time.monotonic() - asked:.1f} s")
        if code == EXIT_LOSSY and process.losses() and process.place in self.outside.lossy_places:
            self.say(f"  {process.name} lost {process.losses()}, as a full disk may")
        # an interpreter that has only begun knows no signal yet
        elif code != 0 and not (code == -signal.SIGTERM and not process.lines()):
            self.fault(f"{process.name} was asked to end and did so with {code}")
        if code is None:
            process.killed = True
            process.send_signal(signal.SIGKILL)
            await self.fleet.ended(process, EXIT_SECONDS)

    async def _freeze(self, action):
        process = await self._victim(action.victim)
        self.disturb(action.kind, process.name)
        excuse = self.excuses.begin(Kind.FREEZE)
        process.frozen = True
        process.send_signal(signal.SIGSTOP)
        sockets = self.watch.open(process.name)
        self.watch.blind(sockets)
        await self.pace(action.seconds)
        process.send_signal(signal.SIGCONT)
        self.watch.seeing(sockets)
        self.excuses.end(excuse)
        process.frozen = process.busy = False
        self.disturb(action.kind, f"of {process.name} is over")

    async def _join(self, action):
        place = next((place for place in range(PLACES) if not self._places.get(place)), None)
        if place is None:
            self.say("  nobody more")
            return
        self.disturb(action.kind, f"in place {place}")
        await self._start(place)

    async def _leave(self, action):
        if sum(self._places.values()) - self._leaving <= REPLICAS:
            self.say("  there are but three")
            return
        self._leaving += 1
        process = await self._victim(action.victim)
        self.disturb(action.kind, process.name)
        await self._end(process)
        self._places[process.place] = False
        self._leaving -= 1

    # what they talk to

    async def _broker(self, action):
        if self._broker_away:
            self.say("  it is away already")
            return
        self._broker_away = True
        async with self.kafka_trouble:
            self.disturb(action.kind, "away")
            excuse = self.excuses.begin(Kind.BROKER)
            await asyncio.to_thread(self.broker.set_down, action.victim)
            await self.pace(action.seconds)
            await asyncio.to_thread(self.broker.set_up, action.victim)
            self.excuses.end(excuse)
            self._broker_away = False
            self.disturb(action.kind, "back")

    def chosen(self, action):
        numbers = [socket.number for socket in self.watch.open()]
        if not action.sockets:
            return numbers
        return [numbers[int(at * len(numbers))] for at in action.sockets if numbers]

    async def _abort(self, action):
        numbers = self.chosen(action)
        self.disturb(action.kind, str(numbers))
        self.watch.reset(numbers)
        await self.server.inject("abort", sockets=tuple(numbers))

    async def _close(self, action):
        numbers = self.chosen(action)
        self.disturb(action.kind, str(numbers))
        await self.server.inject("close", sockets=tuple(numbers), code=1001)

    async def _refuse(self, action):
        await self.server.inject("refuse", status=503, count=2)
        await self._abort(action)

    async def _silence(self, action):
        numbers = self.chosen(action)
        self.disturb(action.kind, str(numbers))
        sockets = [self.watch.sockets[number] for number in numbers]
        await self.server.inject("silence", sockets=tuple(numbers), seconds=action.seconds)
        self.watch.blind(sockets)
        await self.pace(action.seconds)
        self.watch.seeing(sockets)

    async def _token(self, action):
        if self._token_over:
            self.say("  it is over already")
            return
        self._token_over = True
        self.disturb(action.kind, "over")
        excuse = self.excuses.begin(Kind.TOKEN)
        token = f"token-{next(self._tokens)}"
        self.server.set_token(token)
        self.watch.reset(socket.number for socket in self.watch.open())
        await self.server.inject("abort")
        await self.pace(action.seconds)
        fresh = self.token_file.with_suffix(".new")
        fresh.write_text(token)
        os.replace(fresh, self.token_file)  # noqa: PTH105 - says what it is for
        self.excuses.end(excuse)
        self._token_over = False
        self.disturb(action.kind, "new")

    # what came of it

    def check_feed(self):
        """Never more sockets than allowed, nor more instruments on one, nor a needless try."""
        if (most := self.server.max_open_sockets()) > 3:
            self.fault(f"{most} sockets were open at once")
        if self.watch.over_limit:
            self.fault(f"a socket was asked for more than 3000: {self.watch.over_limit[:5]}")
        excused = {
            429: self.excuses.spans(Kind.FREEZE, Kind.BROKER),
            403: self.excuses.spans(Kind.TOKEN),
        }
        for status in (429, 403):
            needless = [
                round(at - self.started, 2)
                for at, answered in self.watch.refusals
                if answered == status
                and not any(
                    start <= at <= end + AFTERMATH_SECONDS for start, end in excused[status]
                )
            ]
            if needless:
                self.fault(f"HTTP {status} for no reason at {needless}")

    def check_balances(self):
        """Of each that came to its end in order: all that it received went somewhere, exactly."""
        for process in self.fleet.all:
            balance = process.balance()
            if process.killed or balance is None:
                continue
            gone = balance["delivered"] + balance["spooled"] + balance["dead_lettered"]
            dropped = sum(process.losses().values())
            if balance["received"] != gone + dropped:
                self.fault(f"{process.name}: the balance does not add up: {balance}")
            if dropped and process.place not in self.outside.lossy_places:
                self.fault(f"{process.name} dropped {process.losses()} for no stated reason")

    def check_processes(self):
        """Nothing went wrong that no code foresaw."""
        for process in self.fleet.all:
            for line in process.lines():
                if "exception" in line or line.get("level") in ("not JSON", "critical"):
                    self.fault(f"{process.name} logged {str(line)[-1500:]}")

    def errors(self):
        """Lines of level error, counted: not wrong in themselves, but worth a look."""
        return Counter(
            line["message"]
            for process in self.fleet.all
            for line in process.lines()
            if line.get("level") == "error"
        )

    def _gaps(self):
        found = []
        for begin, finish, instruments in self.watch.dark():
            before = [kind for at, kind in self.disturbed if at <= begin + 0.3]
            within = [at for at, kind in self.disturbed if begin < at < finish and kind in MEMBERS]
            undisturbed = max(
                end - start - self.excuses.covered(start, end)
                for start, end in itertools.pairwise([begin, *within, finish])
            )
            found.append(
                Gap(
                    undisturbed,
                    finish - begin,
                    instruments,
                    begin - self.started,
                    str(before[-1] if before else "command"),
                    len(within),
                )
            )
        return sorted(found, reverse=True)
