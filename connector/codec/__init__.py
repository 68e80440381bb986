"""Frames of the feed → Kafka records, without a Python object for a tick.

There are two twins, equal in all but speed: `_native` (Cython) and `_pure`. The environment
variable KITE_CONNECTOR_CODEC chooses: `native`, `pure`, or `auto`, which takes the native one where
it was built. IMPLEMENTATION says which one this process has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connector.codec.interface import REASONS, Transcoded
from connector.kite.wire import twins

__all__ = ["IMPLEMENTATION", "REASONS", "Transcoded", "Transcoder", "identity_of"]

if TYPE_CHECKING:
    # for annotations: a class of its own, where the twin is known only at run time
    from connector.codec._pure import Transcoder, identity_of

    IMPLEMENTATION: str
else:
    IMPLEMENTATION, _twin = twins.load(twins.chosen(), __package__)
    Transcoder = _twin.Transcoder
    identity_of = _twin.identity_of
