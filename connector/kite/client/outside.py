"""What a ticker or manager reaches outside of itself, which tests replace and users never see."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from connector.kite.clock import SYSTEM_CLOCK, Clock
from connector.kite.feed.opening import Opener
from connector.kite.feed.socket import open_socket


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Time, chance and the network; by default the real ones."""

    clock: Clock = SYSTEM_CLOCK
    random: Callable[[], float] = random.random
    opener: Opener = open_socket


class _HasOutside(Protocol):
    _outside: Surroundings


_Made = TypeVar("_Made", bound=_HasOutside)


def made_with(outside: Surroundings, kind: type[_Made], *arguments: Any, **options: Any) -> _Made:
    """Return an object whose constructor finds another `Surroundings` than its class has.

    Args:
        outside: what it reaches in place of the real world.
        kind: the class of the object.
        arguments: of its constructor.
        options: likewise.
    """
    made = kind.__new__(kind)
    made._outside = outside  # noqa: SLF001 -- the one door to it
    made.__init__(*arguments, **options)  # type: ignore[misc]
    return made
