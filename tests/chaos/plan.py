"""What is done to a cluster, and when: made of a seed alone, so that a run can be had again.

A plan names no process: `leader`, `owner`, `follower` and `any` are looked up when their time has
come, since who leads is the cluster's own affair. The same seed and duration give the same plan.
"""

import random
from dataclasses import dataclass, field
from enum import StrEnum

from tests.chaos.poison import poisons

WATCHLISTS = ("algo-1", "algo-2", "algo-3", "algo-4")
BASE = "base"
"""The watchlist that nearly fills the cluster, so that it is always short of room."""
MODES = ("ltp", "quote", "full")
BASE_INSTRUMENTS = 8900
POOL = 9600
"""Instruments that commands choose from: more than there is room for."""
BULK_RECORDS = 90_000
"""What large commands may write in one run: the embedded broker keeps 100 000 messages of a
partition, and compacts none of them."""


class Kind(StrEnum):
    KILL = "kill"
    """SIGKILL, and another process in its place."""
    STOP = "stop"
    """SIGTERM, which must end with 0, and another process in its place."""
    FREEZE = "freeze"
    """SIGSTOP for longer than the session timeout, then SIGCONT."""
    JOIN = "join"
    """A fourth replica."""
    LEAVE = "leave"
    """SIGTERM to one of four."""
    BROKER = "broker"
    """Kafka is away."""
    ABORT = "abort"
    """Kite resets sockets."""
    CLOSE = "close"
    """Kite closes a socket with a close frame."""
    SILENCE = "silence"
    """A socket is dead, and TCP does not know."""
    REFUSE = "refuse"
    """Kite resets a socket and answers handshakes with 503."""
    TOKEN = "token"
    """The day's token is over; a new one comes some seconds later."""
    MUTE = "mute"
    """A socket brings heartbeats and no ticks."""
    CLOCK = "clock"
    """Kafka refuses the records' times, as it does where a clock is wrong."""
    RIGHT = "right"
    """The right to write ticks is withdrawn."""
    TOPIC = "topic"
    """A topic of ticks is deleted while it is written to."""
    DISK = "disk"
    """The disk under a spool is full."""
    LIST = "list"
    """Kite's list of instruments lacks a half, and somebody asks for it."""
    POISON = "poison"
    """A message on the control topic that is no command."""
    COMMAND = "command"
    """A message on the control topic."""


REFUSALS = (Kind.CLOCK, Kind.RIGHT, Kind.TOPIC, Kind.DISK)
"""What not every Kafka or every machine can be made to do."""
POISONS = tuple(poisons(0))


@dataclass(frozen=True)
class Action:
    at_seconds: float
    kind: Kind
    victim: str = ""
    """A role; of a broker, how it is taken away; of a poison, which."""
    seconds: float = 0.0
    """How long it lasts, or until the next process is started."""
    sockets: tuple[float, ...] = ()
    """Which of the open ones, each as a fraction of their number; none: all."""
    command: dict = field(default_factory=dict)
    again: bool = False
    """The command is sent twice."""

    def __str__(self):
        words = [f"{self.at_seconds:7.2f} {self.kind}", self.victim]
        if self.seconds:
            words.append(f"{self.seconds:.1f} s")
        if self.kind in (Kind.ABORT, Kind.CLOSE, Kind.SILENCE, Kind.REFUSE):
            words.append(f"{len(self.sockets) or 'all'} sockets")
        if self.command:
            words.append(summary(self.command) + (" twice" if self.again else ""))
        return " ".join(word for word in words if word)


def summary(command):
    """A command in a line: instruments are counted."""
    fields = {name: value for name, value in command.items() if name != "type"}
    if "instruments" in fields:
        fields["instruments"] = f"<{len(fields['instruments'])}>"
    return f"{command.get('type')} {fields}"


def make_plan(
    seed, seconds, pool, *, outages=True, fencing=False, refusals=frozenset(REFUSALS), only=()
):
    """All actions in order of time.

    Args:
        seed: of everything.
        seconds: actions begin before this; what lasts may end later.
        pool: instrument tokens to choose from, at least `POOL`.
        outages: Kafka can be taken away.
        fencing: Kafka fences a leader that wakes after another has taken over: without that, no
            leader is frozen.
        refusals: what the Kafka, the disk and the feed of this run can be made to refuse.
        only: kinds of disturbance to choose from; none: all.
    """
    first = Action(
        0.0,
        Kind.COMMAND,
        command={
            "id": f"{seed}-base",
            "type": "replace",
            "watchlist": BASE,
            "instruments": list(pool[:BASE_INSTRUMENTS]),
            "mode": "quote",
        },
    )
    commands = _commands(random.Random(f"commands {seed}"), seed, seconds, list(pool[:POOL]))
    disturbances = _disturbances(
        random.Random(f"disturbances {seed}"), seconds, outages, fencing, refusals, only
    )
    return sorted([first, *commands, *disturbances], key=lambda action: action.at_seconds)


def _disturbances(chance, seconds, outages, fencing, refusals, only):
    weights = {
        Kind.KILL: 5,
        Kind.STOP: 4,
        Kind.FREEZE: 3,
        Kind.JOIN: 2,
        Kind.LEAVE: 2,
        Kind.BROKER: 2 if outages else 0,
        Kind.ABORT: 2,
        Kind.CLOSE: 1,
        Kind.SILENCE: 2,
        Kind.REFUSE: 1,
        Kind.TOKEN: 1,
        Kind.MUTE: 1,
        Kind.LIST: 1,
        Kind.POISON: 3,
        **{kind: 2 if kind in refusals else 0 for kind in REFUSALS},
    }
    weights = {kind: weight for kind, weight in weights.items() if not only or kind in only}
    haste = chance.choice([1, 2, 4])
    at = chance.uniform(1.0, 2.0)
    while at < seconds:
        kind = chance.choices(list(weights), list(weights.values()))[0]
        victim = chance.choices(["leader", "owner", "any"], [2, 2, 1])[0]
        if kind is Kind.KILL or kind is Kind.STOP:
            yield Action(at, kind, victim, seconds=chance.choice([0.0, 0.0, 2.0, 8.0]))
        elif kind is Kind.FREEZE:
            frozen = victim if fencing else "follower"
            yield Action(at, kind, frozen, seconds=chance.uniform(8.0, 14.0))
        elif kind is Kind.LEAVE:
            yield Action(at, kind, victim)
        elif kind is Kind.BROKER:
            how = chance.choice(["crash", "hang"])
            yield Action(at, kind, how, seconds=chance.choice([1.0, 4.0, 8.0, 14.0]))
        elif kind is Kind.TOKEN:
            yield Action(at, kind, seconds=chance.uniform(1.0, 6.0))
        elif kind in REFUSALS:
            yield Action(at, kind, seconds=chance.uniform(2.0, 12.0))
        elif kind is Kind.LIST:
            yield Action(at, kind, seconds=chance.uniform(2.0, 6.0))
        elif kind is Kind.POISON:
            yield Action(at, kind, victim=chance.choice(POISONS))
        elif kind is Kind.SILENCE or kind is Kind.MUTE:
            yield Action(at, kind, seconds=chance.uniform(2.0, 12.0), sockets=(chance.random(),))
        elif kind is Kind.ABORT:
            sockets = () if chance.random() < 0.3 else (chance.random(),)
            yield Action(at, kind, sockets=sockets)
        elif kind is Kind.JOIN:
            yield Action(at, kind)
        else:
            yield Action(at, kind, sockets=(chance.random(),))
        # sometimes one right upon the other, sometimes with time to recover
        at += chance.choice([chance.uniform(0.1, 1.0), chance.uniform(2.0, 6.0), 10.0]) / haste


def _commands(chance, seed, seconds, pool):
    bulk = BULK_RECORDS - BASE_INSTRUMENTS
    at, number = 0.5, 0
    while at < seconds:
        number += 1
        command = _command(chance, pool)
        size = len(command.get("instruments", ())) or 1
        if command["type"] == "set-mode" and "instruments" not in command:
            size = BASE_INSTRUMENTS if command["watchlist"] == BASE else 1000
        if size > 500:
            if size * 2 > bulk:
                continue
            bulk -= size * 2
        command = {"id": f"{seed}-{number}", **command}
        yield Action(at, Kind.COMMAND, command=command, again=chance.random() < 0.1)
        at += chance.choice([0.05, chance.uniform(0.2, 1.0), chance.uniform(0.5, 3.0)])


def _command(chance, pool):
    watchlist, mode = chance.choice(WATCHLISTS), chance.choice(MODES)
    kind = chance.choices(
        ["subscribe", "unsubscribe", "set-mode", "replace", "delete", "rebalance", "reconnect",
         "status", "base", "shrink", "bad", "late", "stale", "dry"],
        [20, 12, 10, 10, 3, 8, 5, 4, 1, 4, 3, 2, 2, 3],
    )[0]  # fmt: skip
    some = chance.sample(pool, chance.choice([1, 5, 40, 200]))
    subscribe = {
        "type": "subscribe",
        "watchlist": watchlist,
        "instruments": some,
        "mode": mode,
    }
    match kind:
        case "subscribe":
            return subscribe
        case "unsubscribe":
            # a run of the pool, so that what was claimed at random before is met
            start = chance.randrange(len(pool) - 2000)
            return {
                "type": "unsubscribe",
                "watchlist": chance.choice([watchlist, BASE]),
                "instruments": chance.sample(pool[start : start + 2000], len(some)),
            }
        case "set-mode":
            changed = {"type": "set-mode", "watchlist": chance.choice([watchlist, BASE])}
            if chance.random() < 0.8:
                changed["instruments"] = some
            return {**changed, "mode": mode}
        case "replace":
            return {
                "type": "replace",
                "watchlist": watchlist,
                "instruments": chance.sample(pool, chance.choice([0, 10, 100, 400])),
                "mode": mode,
            }
        case "delete":
            return {"type": "delete", "watchlist": watchlist}
        case "rebalance":
            return {"type": "rebalance"}
        case "reconnect":
            return {"type": "reconnect", "slot": chance.choice([0, 1, 2, 2, 7])}
        case "status":
            return {"type": "status"}
        case "base":
            return {
                "type": "replace",
                "watchlist": BASE,
                "instruments": chance.sample(pool, BASE_INSTRUMENTS),
                "mode": mode,
            }
        case "shrink":
            # empties a part of the slots unevenly, for a rebalance to find
            start = chance.randrange(len(pool) - 400)
            return {
                "type": "unsubscribe",
                "watchlist": BASE,
                "instruments": pool[start : start + 400 : 3],
            }
        case "bad":
            return {"type": "subscribe", "watchlist": watchlist, "instruments": ["INFY"]}
        case "late":
            return {**subscribe, "expires_at": 1}
        case "stale":
            return {**subscribe, "expected_revision": 10**9}
        case _:
            return {**subscribe, "dry_run": True}
