"""The frame reader of a socket: compiled where that could be built, else in Python.

The two twins are equal in all but speed; `IMPLEMENTATION` says which one this process has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.kite.wire import twins

if TYPE_CHECKING:
    # for annotations: a class of its own, where the twin is known only at run time
    from connector.kite.feed._pure import FrameReader as FrameReader

    IMPLEMENTATION: str
else:
    IMPLEMENTATION, _twin = twins.load(twins.chosen(), __package__)
    FrameReader = _twin.FrameReader
