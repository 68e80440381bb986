"""Frames of the feed → Kafka records, without a Python object for a tick.

There are two twins, equal in all but speed: `_native` (Cython) and `_pure`. The environment
variable KITE_CONNECTOR_CODEC chooses: `native`, `pure`, or `auto`, which takes the native one where
it was built. IMPLEMENTATION says which one this process has.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from connector.codec.interface import REASONS, Transcoded, Twin
from connector.errors import CodecUnavailableError, SettingProblem, SettingsError

__all__ = ["IMPLEMENTATION", "REASONS", "Transcoded", "Transcoder", "Twin"]

VARIABLE = "KITE_CONNECTOR_CODEC"


def _load(choice: str) -> tuple[str, type[Twin]]:
    if choice not in {"auto", "native", "pure"}:
        raise SettingsError([SettingProblem(VARIABLE, f"{choice!r} is none of auto, native, pure")])
    if choice != "pure":
        try:
            from connector.codec._native import Transcoder as Native
        except ImportError as error:
            if choice == "native":
                raise CodecUnavailableError(str(error)) from error
            logging.getLogger(__name__).warning(
                "the compiled codec is missing, ticks take the slow path in Python: %s", error
            )
        else:
            return "native", Native
    from connector.codec import _pure

    return "pure", _pure.Transcoder


if TYPE_CHECKING:
    # for annotations: a class of its own, where the twin is known only at run time
    from connector.codec._pure import Transcoder

    IMPLEMENTATION: str
else:
    IMPLEMENTATION, Transcoder = _load(os.environ.get(VARIABLE, "auto"))
