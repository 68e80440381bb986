"""The ticks of a frame: compiled where that could be built, else in Python.

The two twins are equal in all but speed; `IMPLEMENTATION` says which one this process has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.errors import ParseTickError
from connector.kite.wire import twins

if TYPE_CHECKING:
    # for annotations: a class of its own, where the twin is known only at run time
    from connector.kite.wire._pure import Tick as Tick
    from connector.kite.wire._pure import new_modes as new_modes
    from connector.kite.wire._pure import parse_packet as parse_packet
    from connector.kite.wire._pure import parse_packets as parse_packets
    from connector.kite.wire._pure import uniform as uniform

    IMPLEMENTATION: str
else:
    IMPLEMENTATION, _twin = twins.load(twins.chosen(), __package__)
    Tick, parse_packet, parse_packets = _twin.Tick, _twin.parse_packet, _twin.parse_packets
    new_modes, uniform = _twin.new_modes, _twin.uniform


def parse_frame(frame: bytes, *, strict: bool = False) -> list[Tick]:
    """The ticks of a frame, in wire order.

    Args:
        frame: a binary message of the WebSocket; a heartbeat has no ticks.
        strict: raise for what is not a tick, instead of passing over it.

    Raises:
        ParseTickError: with `strict`, the first packet that is not a tick.
    """
    ticks, rejected = parse_packets(frame)
    if strict and rejected:
        raise ParseTickError(*rejected[0])
    return ticks
