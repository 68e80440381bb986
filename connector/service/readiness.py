"""Readiness as a pure function: what it depends on is a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from connector.service.running import Running


class Phase(StrEnum):
    """The phases of the service's life."""

    STARTING = "starting"
    """The service waits for what it needs; nothing is received yet."""
    RUNNING = "running"
    """Connections are open, or try to be."""
    STOPPING = "stopping"
    """Nothing is received any more; the rest is flushed."""
    STOPPED = "stopped"
    """Everything of the service is closed."""


@dataclass
class ServiceProgress:
    """How far the service has come: the service writes it, whoever reports it only reads."""

    phase: Phase = Phase.STARTING
    waiting_for: dict[str, str] = field(default_factory=dict)
    """What has not answered yet, with the reason of the last try."""
    silence: str | None = None
    """The outcome of the last look at the acknowledgements, once a second."""
    files_refused: str | None = None
    """Why no broker takes what files of credentials hold now; once a second."""
    running: Running | None = None
    """The part that receives; None until Kafka and the registry have answered."""


@dataclass(frozen=True)
class Snapshot:
    """All that readiness depends on, at one moment."""

    phase: Phase
    waiting_for: Mapping[str, str] = field(default_factory=dict)
    broker_reachable: bool = True
    last_error: str | None = None
    """The last error of the Kafka client."""
    troubles: Sequence[str] = ()
    """Why topics accept nothing, each with what helps."""
    silence: str | None = None
    """Why the brokers may acknowledge nothing, although they are connected."""
    spool_problem: str | None = None
    list_held_back: str | None = None
    """Why the last list of instruments is not used."""
    topics: Sequence[str] = ()
    """Why topics lose what is kept there."""
    slots: Sequence[str] = ()
    """Why not every slot streams."""


def not_ready(snapshot: Snapshot) -> list[str]:
    """Return the reasons why the service is not ready, each a sentence; empty when it is."""
    if snapshot.phase in (Phase.STOPPING, Phase.STOPPED):
        return [snapshot.phase.value]
    reasons = [f"waiting for {what}: {why}" for what, why in snapshot.waiting_for.items()]
    if snapshot.phase is Phase.STARTING:
        return reasons or ["starting"]
    if not snapshot.broker_reachable:
        cause = f": {snapshot.last_error}" if snapshot.last_error else ""
        reasons.append(f"no Kafka broker is connected{cause}")
    elif snapshot.troubles:
        reasons += snapshot.troubles
    elif snapshot.silence:
        reasons.append(snapshot.silence)
    if snapshot.spool_problem:
        reasons.append(snapshot.spool_problem)
    if snapshot.list_held_back is not None:
        reasons.append(snapshot.list_held_back)
    return [*reasons, *snapshot.topics, *snapshot.slots]
