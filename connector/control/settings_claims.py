"""The instruments of the settings as commands of the leader's own. Pure.

No message carries them, so what bounds a message does not bound them: settings may name the whole
market. What bounds a transaction does: they are claimed in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from connector.control.commands import Command, Replace, Subscribe
from connector.kite.wire.models import Mode

SETTINGS_WATCHLIST: Final = "@settings:"
"""The prefix of the watchlists that the settings fill, one a mode; no message may name them."""
PART_INSTRUMENTS: Final = 10_000
"""One transaction claims so many instruments: about 1.5 MB of records."""


def settings_claims(wanted: Mapping[Mode, Sequence[int | str]]) -> list[Command]:
    """Commands after which the settings' watchlists hold exactly what the settings name.

    Claimed first and given up afterwards: an instrument that changes its group stays in place.

    Args:
        wanted: instruments by mode.

    Returns:
        Commands in order, whose ids and watchlists no message can have. Each but the last ones
        claims at most `PART_INSTRUMENTS`; those at the end change little where these were applied.
    """
    commands: list[Command] = []
    for mode, instruments in wanted.items():
        name = f"{SETTINGS_WATCHLIST}{mode}"
        for start in range(0, len(instruments), PART_INSTRUMENTS):
            part = tuple(instruments[start : start + PART_INSTRUMENTS])
            # not validated: the settings were, and a message's limits are not theirs
            commands.append(
                Subscribe.model_construct(
                    id=name, type="subscribe", watchlist=name, instruments=part, mode=mode
                )
            )
    for mode in (Mode.LTP, Mode.QUOTE, Mode.FULL):
        name = f"{SETTINGS_WATCHLIST}{mode}"
        whole = tuple(wanted.get(mode, ()))
        commands.append(
            Replace.model_construct(
                id=name, type="replace", watchlist=name, instruments=whole, mode=mode
            )
        )
    return commands
