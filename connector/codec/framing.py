"""Confluent's framing of an Avro value: a 0 byte, the schema's id as four bytes, big-endian."""

from __future__ import annotations

from typing import Final

FRAMING_BYTES: Final = 5
"""So many stand before the body; `body.pxd` says it again for the compiled twins."""
_MAGIC: Final = b"\x00"


def framing(schema_id: int) -> bytes:
    """Return what stands before the body of a value of this schema."""
    return _MAGIC + schema_id.to_bytes(4, "big")


def schema_id_of(value: bytes) -> int | None:
    """Return the id of a value's schema; None where it is not framed."""
    if value[:1] != _MAGIC or len(value) < FRAMING_BYTES:
        return None
    return int.from_bytes(value[1:FRAMING_BYTES], "big")
