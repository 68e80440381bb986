"""The contracts of the topics: an Avro schema for each kind of value, JSON Schemas for the rest.

Compatibility of the Avro ones is FULL_TRANSITIVE: nullable fields with default null are appended to
the end of the top-level record, and nothing else ever changes.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

NAMES = ("tick", "order_update", "connection_event", "instrument", "candle")
"""The Avro schemas, which go to the registry; JSON Schemas never do."""


@cache
def text(name: str) -> str:
    """A schema's file as it is, `<name>.avsc` or `<name>.json`.

    Raises:
        KeyError: there is no such schema.
    """
    for suffix in (".avsc", ".json"):
        file = files(__name__).joinpath(name + suffix)
        if file.is_file():
            return file.read_text("utf-8")
    raise KeyError(name)


def without_words(schema: Any) -> Any:
    """A schema less its `doc` and `aliases`, in which two versions of equal bytes are equal."""
    if isinstance(schema, dict):
        return {
            key: without_words(value)
            for key, value in schema.items()
            if key not in {"doc", "aliases"}
        }
    if isinstance(schema, list):
        return [without_words(part) for part in schema]
    return schema


def load(name: str) -> dict[str, Any]:
    """A schema as a new dict, which the caller may change.

    Raises:
        KeyError: there is no such schema.
    """
    schema: dict[str, Any] = json.loads(text(name))
    return schema
