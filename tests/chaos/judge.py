"""Whether the replies are as the commands foretell; a broker without transactions is excused."""

import asyncio
import itertools
import time
from dataclasses import dataclass

from tests.chaos.model import Model
from tests.chaos.plan import WATCHLISTS, Kind, summary

REPLY_SECONDS = 180.0
"""While nobody is killed and nothing is away: some plans let no leader live for minutes."""
LOST_REPLY_SECONDS = 20.0
"""Of the embedded broker: commands after it were answered, so its own reply is lost."""
DISTURBANCE_SECONDS = 15.0

MEMBERS = (Kind.KILL, Kind.STOP, Kind.FREEZE, Kind.JOIN, Kind.LEAVE, Kind.BROKER)
"""What makes the group share out its partitions anew."""


@dataclass
class Sent:
    command: dict
    written_at: float
    turn: int
    """How often the same id was written before."""


class Judge:
    """Writes the commands of a run, and holds each reply against a model.

    Args:
        chaos: the run.
    """

    def __init__(self, chaos):
        self.model = Model(9000)
        self._chaos = chaos
        self._sent = asyncio.Queue()
        self._base = None
        """The first command, after which `base` has all that is claimed."""
        self._anew = None
        """The excuse of a time in which model and cluster may differ."""
        self._anews = itertools.count(1)

    def send(self, action):
        """Write a command, as often as the plan says."""
        self._base = self._base or action.command
        if action.command["type"] == "reconnect":
            self._chaos.disturbed.append((time.monotonic(), "reconnect"))
        for turn in range(1 + action.again):
            self._chaos.steering.write(action.command)
            self._sent.put_nowait(Sent(action.command, time.monotonic(), turn))

    def end(self):
        """No command follows."""
        self._sent.put_nowait(None)

    async def run(self):
        """Hold each reply against the model, in the order of the commands."""
        while (sent := await self._sent.get()) is not None or self._anew:
            if sent is None:  # the end, but for what was begun anew since
                self._sent.put_nowait(sent)
                continue
            if sent is self._anew:
                self._chaos.excuses.end(sent)
                self._anew = None
                continue
            command, replies = sent.command, self._chaos.steering.replies[sent.command["id"]]

            async def answered(replies=replies, turn=sent.turn):
                return len(replies) > turn

            if not await answered() and not await self._answer(sent, answered):
                return
            at, reply = replies[sent.turn]
            expected = self.model.apply(command, reply["accepted"])
            self._chaos.outcome.commands += 1
            self._chaos.watch.unwanted(expected.removed, sent.written_at)
            self._chaos.watch.wanted(expected.added, at)
            says = (
                reply["status"], reply["revision"], reply["accepted"], len(reply["refused"])
            )  # fmt: skip
            if says == (expected.status, expected.revision, expected.accepted, expected.refused):
                continue
            text = f"{command['id']} ({command['type']}): expected {expected[:4]}, answered {says}"
            if not self._chaos.broker.transactions and (
                self._anew or self._disturbed(sent.written_at, at)
            ):
                # a killed leader's transaction is in the embedded broker's log, commited or not
                self._chaos.outcome.excused_replies += 1
                self._chaos.say(f"excused: {text}")
                if self._anew is None:
                    self._begin_anew()
            else:
                self._chaos.fault(text)
            self.model.revision = reply["revision"]

    def _begin_anew(self):
        """Say once more all that is wanted: from then on model and cluster are the same again."""
        # what the model alone has may be on no socket until then
        self._anew = self._chaos.excuses.begin(Kind.COMMAND)
        number = next(self._anews)
        commands = [{"type": "delete", "watchlist": name} for name in WATCHLISTS]
        for place, command in enumerate([*commands, self._base]):
            again = {**command, "id": f"{self._base['id']}-{number}-{place}"}
            self._chaos.say(f"command {summary(again)}")
            self._chaos.steering.write(again)
            self._sent.put_nowait(Sent(again, time.monotonic(), 0))
        self._sent.put_nowait(self._anew)

    async def _answer(self, sent, answered):
        """Wait for a reply; False, and a fault, where it does not come."""
        begin = time.monotonic()
        while not await answered():
            now = time.monotonic()
            if now > max([begin, *self._members_disturbed()]) + REPLY_SECONDS:
                self._chaos.fault(f"no reply to {sent.command['id']} ({sent.command['type']})")
                return False
            if (
                not self._chaos.broker.transactions
                and self._chaos.steering.latest_reply > sent.written_at + LOST_REPLY_SECONDS
                and self._disturbed(sent.written_at, now)
            ):
                # what the embedded broker kept of a transaction may be all but the reply: asked
                # for again, as any program would, the same id has no second effect
                self._chaos.outcome.excused_replies += 1
                self._chaos.say(f"excused: no reply to {sent.command['id']}, sent again")
                sent.written_at = now
                self._chaos.steering.write(sent.command)
            await asyncio.sleep(0.1)
        return True

    def _members_disturbed(self):
        return [at for at, kind in self._chaos.disturbed if kind in MEMBERS]

    def _disturbed(self, start, end):
        return any(start - DISTURBANCE_SECONDS <= at <= end for at in self._members_disturbed())

    def check_replies(self):
        """An id that was answered twice has the same answer: it had one effect."""
        for command_id, replies in self._chaos.steering.replies.items():
            different = {str(reply) for _, reply in replies}
            if len(different) == 1:
                continue
            text = f"{command_id} has {len(different)} different replies: {sorted(different)}"
            if self._chaos.broker.transactions:
                self._chaos.fault(text)
            else:
                self._chaos.outcome.excused_replies += 1
                self._chaos.say(f"excused: {text}")
