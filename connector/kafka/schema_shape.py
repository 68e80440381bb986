"""What a schema that somebody else registered can lead to, before a value is read by it. Pure.

fastavro (1.13.1) sets no bound to what it reads by a schema, and a process ended by it. So a schema
is refused unless the values that it describes are bounded by their bytes.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fastavro.schema import SchemaParseException, UnknownType

MAX_DEPTH: Final = 32
"""Types may be within each other so deep; ours have five levels."""
MAX_PARTS: Final = 1000
"""A value may have so many parts beside what its lists hold; a tick has fewer than a hundred."""
# a list's count is a number in the data: of items without bytes ten bytes could announce 2**63
MAX_PARTS_A_BYTE: Final = 4
"""An item of a list may have so many parts for each byte that it takes at least."""

NOT_AVRO: Final = (
    SchemaParseException, UnknownType, ValueError, LookupError, TypeError, AttributeError,
    RecursionError,
)  # fmt: skip
"""The errors that the text of a schema leads to that somebody else registered."""

_BYTES: Final = {
    "null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1,
}  # fmt: skip


class _Shape(NamedTuple):
    parts: int
    """How many values it is at most, with those within; items of lists left out."""
    min_bytes: int
    """How many bytes it takes at least."""


def check_shape(schema: Any) -> None:
    """See that no short value of a schema can become a deep or large one.

    Args:
        schema: as `fastavro.parse_schema` returns it.

    Raises:
        ValueError: one can, or the schema is none.
    """
    _Walk().shape(schema, 0)


class _Walk:
    def __init__(self) -> None:
        # by name; None while its own parts are looked at
        self._named: dict[str, _Shape | None] = {}

    def shape(self, schema: Any, depth: int) -> _Shape:
        if depth > MAX_DEPTH:
            raise ValueError(f"types within each other more than {MAX_DEPTH} deep")
        if isinstance(schema, list):
            found = self._union(schema, depth)
        elif isinstance(schema, dict):
            found = self._complex(schema, depth)
        elif schema in _BYTES:
            found = _Shape(1, _BYTES[schema])
        else:
            found = self._reference(schema)
        if found.parts > MAX_PARTS:
            raise ValueError(f"values of more than {MAX_PARTS} parts")
        return found

    def _reference(self, name: Any) -> _Shape:
        if name not in self._named:
            raise ValueError("a type that is not known")
        found = self._named[name]
        if found is None:
            raise ValueError(f"the type {name} holds itself")
        return found

    def _union(self, branches: list[Any], depth: int) -> _Shape:
        found = [self.shape(one, depth + 1) for one in branches]
        parts = max((one.parts for one in found), default=0)
        # the branch is a byte at least
        return _Shape(parts + 1, 1 + min((one.min_bytes for one in found), default=0))

    def _complex(self, schema: dict[str, Any], depth: int) -> _Shape:
        kind = schema["type"]
        if kind in ("record", "error", "enum", "fixed"):
            name = schema["name"]
            # while its own parts are looked at: who meets it there holds itself
            self._named[name] = None
            self._named[name] = found = self._defined(kind, schema, depth)
            return found
        if kind in ("array", "map"):
            item = self.shape(schema["items" if kind == "array" else "values"], depth + 1)
            # each of a map has a key
            least = item.min_bytes + (kind == "map")
            if item.parts > MAX_PARTS_A_BYTE * least:
                raise ValueError("lists whose items take too few bytes")
            # an empty list is its end, one byte; items are bounded by those that they take
            return _Shape(1, 1)
        return self.shape(kind, depth + 1)

    def _defined(self, kind: str, schema: dict[str, Any], depth: int) -> _Shape:
        if kind == "enum":
            return _Shape(1, 1)
        if kind == "fixed":
            return _Shape(1, int(schema["size"]))
        fields = [self.shape(one["type"], depth + 1) for one in schema["fields"]]
        return _Shape(1 + sum(one.parts for one in fields), sum(one.min_bytes for one in fields))
