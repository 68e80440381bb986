"""Which of two twins of a module a process has: the compiled one, or the one in Python.

The environment variable KITE_CONNECTOR_CODEC chooses: `native`, `pure`, or `auto`, which takes the
native one where it was built and says loudly where it was not.
"""

from __future__ import annotations

import importlib
import logging
import os
from types import ModuleType
from typing import Final

from connector.errors import CodecUnavailableError, SettingsError

VARIABLE: Final = "KITE_CONNECTOR_CODEC"


def chosen() -> str:
    """Return the twin that the environment asks for."""
    return os.environ.get(VARIABLE, "auto")


def load(choice: str, package: str) -> tuple[str, ModuleType]:
    """The name of the twin of a package, `native` or `pure`, and its module.

    Raises:
        SettingsError: the choice is none that is known.
        CodecUnavailableError: the native one is asked for and cannot be imported.
    """
    if choice not in {"auto", "native", "pure"}:
        raise SettingsError.of(VARIABLE, f"{choice!r} is none of auto, native, pure")
    if choice != "pure":
        try:
            return "native", importlib.import_module(f"{package}._native")
        except ImportError as error:
            if choice == "native":
                raise CodecUnavailableError(str(error)) from error
            logging.getLogger(package).warning(
                "compiled_codec_missing: ticks take the slow path in Python: %s", error
            )
    return "pure", importlib.import_module(f"{package}._pure")
