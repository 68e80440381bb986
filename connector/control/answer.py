"""The outcome of one command, before it is a reply. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from connector.control.records import StateRecord
from connector.control.reply import Displaced, Refusal, StatusPayload
from connector.kite.feed.events import ConnectionEvent


class Answer(NamedTuple):
    """The outcome of one type of command, before it is a reply."""

    accepted: int = 0
    refused: Sequence[Refusal] = ()
    errors: tuple[str, ...] = ()
    payload: StatusPayload | None = None
    extra: tuple[StateRecord, ...] = ()
    events: tuple[ConnectionEvent, ...] = ()
    displaced: tuple[Displaced, ...] = ()
    waits: str | None = None
    """Why a rule does not have all of its instruments yet."""
    matched: tuple[int | str, ...] | None = None
    """The instruments of a rule, of one that is only tried."""

    @property
    def failed(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.errors) or (bool(self.refused) and not (self.accepted or self.events))
