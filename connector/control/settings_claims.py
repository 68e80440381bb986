"""The instruments of the settings as commands of the leader's own. Pure.

No message carries them, so what bounds a message does not bound them: settings may name the whole
market. What bounds a transaction does: they are claimed in parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from connector.control.commands import Replace, Subscribe
from connector.kite.wire.models import Mode

SETTINGS_PREFIX: Final = "@settings:"
"""The prefix of the watchlists that the settings fill, one for each mode and account; no message
may name them."""
PART_INSTRUMENTS: Final = 10_000
"""One transaction claims so many instruments: about 1.5 MB of records."""


class InstrumentGroup(NamedTuple):
    """How a group of the settings' instruments is to be subscribed."""

    mode: Mode
    account: str | None = None
    """The account whose connections are to carry it; None: any."""

    @property
    def watchlist(self) -> str:
        """The watchlist that claims the group."""
        on = "" if self.account is None else f":{self.account}"
        return f"{SETTINGS_PREFIX}{self.mode}{on}"


def settings_claims(
    wanted: Mapping[InstrumentGroup, Sequence[int | str]], held: Iterable[str] = ()
) -> list[Subscribe | Replace]:
    """Commands after which the settings' watchlists hold exactly what the settings name.

    Claimed first and given up afterwards: an instrument that changes its group stays in place.

    Args:
        wanted: instruments by mode and account.
        held: the watchlists that there are: those of other settings before these are emptied.

    Returns:
        Commands in order, whose ids and watchlists no message can have. Each but the last ones
        claims at most `PART_INSTRUMENTS`; those at the end change little where these were applied.
    """
    commands: list[Subscribe | Replace] = []
    for group, instruments in wanted.items():
        name = group.watchlist
        for start in range(0, len(instruments), PART_INSTRUMENTS):
            part = tuple(instruments[start : start + PART_INSTRUMENTS])
            commands.append(
                Subscribe.model_construct(type="subscribe", **_fields(name, group, part))
            )
    # each mode also where the settings name nothing for it: what they named before is given up so
    groups = dict.fromkeys((*map(InstrumentGroup, (Mode.LTP, Mode.QUOTE, Mode.FULL)), *wanted))
    commands += [_replace(group.watchlist, group, tuple(wanted.get(group, ()))) for group in groups]
    known = {command.watchlist for command in commands}
    commands += [
        _replace(name, InstrumentGroup(Mode.LTP), ())
        for name in sorted(held)
        if name.startswith(SETTINGS_PREFIX) and name not in known
    ]
    return commands


def _replace(name: str, group: InstrumentGroup, instruments: tuple[int | str, ...]) -> Replace:
    return Replace.model_construct(type="replace", **_fields(name, group, instruments))


def _fields(
    name: str, group: InstrumentGroup, instruments: tuple[int | str, ...]
) -> dict[str, Any]:
    """Not to be validated: the settings were, and a message's limits are not theirs."""
    return {
        "id": name,
        "watchlist": name,
        "instruments": instruments,
        "mode": group.mode,
        "account": group.account,
    }
