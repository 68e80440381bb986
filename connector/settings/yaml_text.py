"""Reads YAML into plain values, with the line of each; bounded, whatever the text is.

The parser's events are put together here, without recursion: a text may nest without end, refer to
itself, or repeat a small part of itself a million times by aliases. Each is an error with its line.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

MAX_DEPTH: Final = 20
"""Mappings and lists may be nested so deep; the settings need five levels."""
MAX_VALUES: Final = 1_000_000
"""Values of one text, those that aliases repeat as often as they do."""
MAX_NUMBER_CHARS: Final = 300
"""A number of more characters is refused: Python takes long to read it, or cannot show it."""

ValuePath = tuple[str | int, ...]
"""The place of a value: ("accounts", 0, "api_key")."""

# libyaml reads ten times as fast; a build without it has the other
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NUMBER = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
# YAML 1.1's octal numbers and those to the base of 60, which YAML 1.2 does not have: 010 would be
# 8, a token another instrument's, and the time 10:15 the number 615
_OLD_NUMBER = re.compile(r"[-+]?(0[0-7_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)", re.ASCII)
_MERGE = "<<"
_NUMBER_TAGS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_COLLECTION_TAGS = {None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}


class YamlTextError(Exception):
    """A text that is not YAML, or more of it than is read; quotes nothing of the text."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason, line)
        self.reason = reason
        self.line = line
        """Counted from 1; None where it is not known."""

    def __str__(self) -> str:
        return self.reason if self.line is None else f"line {self.line}: {self.reason}"


@dataclass
class Document:
    """The value of a text, and where its parts stand."""

    value: Any = None
    lines: dict[ValuePath, int] = field(default_factory=dict)
    """The line of every part but the whole, from 1."""
    repeated: list[tuple[ValuePath, int]] = field(default_factory=list)
    """Keys that stand in their mapping already, and where they stand again."""


def read_yaml(data: bytes | str) -> Document:
    """Put a document together; an empty text is None.

    Raises:
        YamlTextError: with the reason and the line.
    """
    text = _encodable(data) if isinstance(data, str) else _decoded(data)
    builder = _Builder()
    try:
        for event in yaml.parse(text, _LOADER):
            builder.add(event)
    except yaml.YAMLError as exc:
        # `problem` is the parser's own words; str(exc) would quote the line, secrets and all
        reason = getattr(exc, "problem", None) or getattr(exc, "reason", None) or "not readable"
        mark, at = getattr(exc, "problem_mark", None), getattr(exc, "position", None)
        line = None
        if mark is not None:
            line = mark.line + 1
        elif at is not None:
            line = text.count("\n", 0, at) + 1
        raise YamlTextError(f"not YAML: {reason}", line) from None
    return builder.document


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise YamlTextError("is not a text file in UTF-8", line) from None


def _encodable(text: str) -> str:
    """A variable of the environment may hold bytes that are no text: Python keeps them so."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise YamlTextError("is not UTF-8", text.count("\n", 0, exc.start) + 1) from None
    return text


class _Scalars(SafeConstructor, Resolver):
    """PyYAML's own rules for what a scalar means."""

    def __init__(self) -> None:
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def value(self, event: yaml.ScalarEvent, line: int) -> Any:
        text, tag = event.value, event.tag
        if tag is None and not event.implicit[0]:
            return text  # in quotes
        # what most values are, without the many steps that come to the same
        if tag is None and len(text) > len("false") and text[0].isalpha():
            return text
        if tag is None and _NUMBER.fullmatch(text):
            return int(text)
        if tag in (None, "!"):
            tag = self.resolve(yaml.ScalarNode, text, event.implicit)  # type: ignore[no-untyped-call]
        if tag in _NUMBER_TAGS and len(text) > MAX_NUMBER_CHARS:
            raise YamlTextError(f"a number of more than {MAX_NUMBER_CHARS} characters", line)
        if tag in _NUMBER_TAGS and event.tag is None and _OLD_NUMBER.fullmatch(text):
            return text  # a setting that is a number reads it as a decimal one, or refuses it
        try:
            return self.construct_object(yaml.ScalarNode(tag, text))
        except (yaml.YAMLError, ValueError, LookupError, ArithmeticError, AttributeError):
            kind = str(tag).rpartition(":")[2][:20]
            raise YamlTextError(f"not a value of the kind {kind}", line) from None
        finally:
            self.constructed_objects.clear()


@dataclass
class _Open:
    """A mapping or list that is being read."""

    path: ValuePath
    value: dict[str, Any] | list[Any]
    anchor: str | None
    key: str | None = None
    merged: list[dict[str, Any]] = field(default_factory=list)
    values: int = 1


class _Builder:
    """Builds the document from the events of the parser, in order."""

    def __init__(self) -> None:
        self.document = Document()
        self._scalars = _Scalars()
        self._open: list[_Open] = []
        # anchor → (value, how many values it has); None while it is being read
        self._anchors: dict[str, tuple[Any, int] | None] = {}
        self._values = 0
        self._documents = 0

    def add(self, event: Any) -> None:
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event, line)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(line)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event.anchor, line)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise YamlTextError("holds more than one document", line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        here = self._open[-1] if self._open else None
        if here is not None and isinstance(here.value, dict) and here.key is None:
            self._key(here, event.value, line)
            return
        value = self._scalars.value(event, line)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._put(value, 1, line)

    def _key(self, here: _Open, key: str, line: int) -> None:
        here.key = key
        if key == _MERGE:
            return
        path = (*here.path, key)
        if key in here.value:
            self.document.repeated.append((path, line))
        self.document.lines[path] = line

    def _start(self, event: Any, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise YamlTextError(f"nested more than {MAX_DEPTH} deep", line)
        if event.tag not in _COLLECTION_TAGS:
            raise YamlTextError("a tag that is not known here", line)
        path: ValuePath = ()
        if self._open:
            path = self._place(line)
        value: dict[str, Any] | list[Any]
        value = {} if isinstance(event, yaml.MappingStartEvent) else []
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(path, value, event.anchor))

    def _place(self, line: int) -> ValuePath:
        """Where the next value of the innermost mapping or list stands."""
        here = self._open[-1]
        if isinstance(here.value, list):
            return (*here.path, len(here.value))
        if here.key is None:
            raise YamlTextError("a key must be a name", line)
        return (*here.path, here.key)

    def _end(self, line: int) -> None:
        done = self._open.pop()
        value = done.value
        if isinstance(value, dict) and done.merged:
            whole: dict[str, Any] = {}
            for merged in reversed(done.merged):
                whole.update(merged)
            value = {**whole, **value}
        if done.anchor is not None:
            self._anchors[done.anchor] = (value, done.values)
        self._put(value, done.values, line)

    def _alias(self, anchor: str | None, line: int) -> None:
        if anchor is None or anchor not in self._anchors:
            raise YamlTextError("an alias without its anchor", line)
        known = self._anchors[anchor]
        if known is None:
            raise YamlTextError("an alias to what it is part of", line)
        if self._open:
            self._place(line)
        value, values = known
        self._add(values - 1, line)
        # its own: a variable of the environment that is set over one place changes no other
        self._put(copy.deepcopy(value), values, line)

    def _add(self, values: int, line: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise YamlTextError(
                f"more than {MAX_VALUES} values, with those that aliases repeat", line
            )

    def _put(self, value: Any, values: int, line: int) -> None:
        """Hand a whole value to whatever it is part of."""
        self._add(1, line)
        if not self._open:
            self.document.value = value
            return
        here = self._open[-1]
        here.values += values
        if isinstance(here.value, list):
            self.document.lines.setdefault((*here.path, len(here.value)), line)
            here.value.append(value)
        elif here.key == _MERGE:
            merged = value if isinstance(value, list) else [value]
            if not all(isinstance(each, dict) for each in merged):
                raise YamlTextError("only mappings can be merged", line)
            here.merged += merged
            here.key = None
        elif here.key is not None:
            here.value[here.key] = value
            here.key = None
