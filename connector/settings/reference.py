"""The settings as text: the reference of all of them, and what applies in one case."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from connector.settings.models import Settings
from connector.settings.paths import (
    SettingPath,
    is_secret,
    is_secret_property,
    item_of,
    members_of,
    model_of,
    name_of,
)
from connector.settings.source import Loaded

MASK = "**********"
# more items than anybody writes by hand
_QUICK_ABOVE = 100

_HEAD = """\
# Settings

A YAML file (`--config FILE`, or named by `KITE_CONNECTOR_CONFIG`), then the environment over it.
In the environment a name is the path in capitals behind `KITE_`, with `__` between the levels and
a number for the place in a list: `KITE_KAFKA__BOOTSTRAP_SERVERS`, `KITE_ACCOUNTS__0__API_KEY`.
Lists and maps may be given whole, as JSON; an empty value counts as not given. An unknown name in
either place stops the start. `kite-connector check-config` explains whatever is wrong, and prints
what applies, secrets masked.

Only `accounts` is required.

```yaml
accounts:
  - name: main
    api_key: your_api_key             # better: KITE_ACCOUNTS__0__API_KEY
    access_token_file: /run/kite/access_token
instruments:
  - mode: full
    instruments: ["NSE:INFY", "NFO:NIFTY26JANFUT", 256265]
kafka:
  bootstrap_servers: kafka-1:9092,kafka-2:9092
registry:
  url: http://registry:8081
```

Variables of the program that are no settings: `KITE_CONNECTOR_CONFIG` (the file),
`KITE_CONNECTOR_CODEC` (`native`, `pure` or `auto`: which twin of the codec runs),
`KITE_CONNECTOR_PRODUCER` (`native`, `confluent` or `auto`: which client produces).

This page is written by `kite-connector settings`.
"""


def markdown() -> str:
    """Return the reference of every setting, as a page."""
    parts = [_HEAD, *_sections(Settings, (), "The whole")]
    return "\n".join(parts).rstrip() + "\n"


def effective(loaded: Loaded) -> str:
    """What applies, as YAML that could be given back but for the masked secrets.

    What was given has its origin behind it; everything else is a default.
    """
    return "".join(f"{line}\n" for line in _mapping(loaded.settings, (), loaded, 0))


def awaited(settings: Settings) -> list[str]:
    """Return what a start waits for, as long as it takes: alive, and not ready."""
    waits = [f"Kafka at {settings.kafka.bootstrap_servers}"]
    if not settings.registry.url.startswith("mock://"):
        waits.append(f"the schema registry at {settings.registry.url}")
    for account in settings.accounts:
        if (path := account.access_token_file) is not None:
            state = "" if path.exists() else ", which is not there yet"
            waits.append(f"today's token of account {account.name} in {path}{state}")
    return waits


def _sections(model: type[BaseModel], path: SettingPath, title: str) -> Iterator[str]:
    rows, below = [], []
    for name, info in model.model_fields.items():
        here = (*path, name)
        item = item_of(info.annotation)
        inner = model_of(info.annotation) or (model_of(item) if item else None)
        if inner is None:
            rows.append(_row(here, info))
        else:
            if item:
                default = "required" if info.is_required() else "`[]`"
                rows.append(f"| `{name}` | list of sections | {default} | {_description(info)} |")
            below.append((inner, (*here, 0) if item else here))
    # not the sections behind it: the table below has the fields
    about = (model.__doc__ or "").strip().partition("\n\nAttributes:")[0]
    yield f"## {title}\n" if not path else f"## `{_shown(path)}`\n"
    if path:
        yield f"{about}\n"
    yield "| setting | values | default | |\n|---|---|---|---|"
    yield "\n".join(rows) + "\n"
    for inner, here in below:
        yield from _sections(inner, here, "")


def _shown(path: SettingPath) -> str:
    return re.sub(r"\.0\b", "[]", name_of(path))


def _row(path: SettingPath, info: FieldInfo) -> str:
    if info.is_required():
        default = "required"
    else:
        default = f"`{_scalar(_plain(info.get_default(call_default_factory=True)))}`"
    return f"| `{path[-1]}` | {_values(path, info)} | {default} | {_description(info)} |"


def _description(info: FieldInfo) -> str:
    return (info.description or "").replace("|", "\\|").replace("<", "&lt;")


def _values(path: SettingPath, info: FieldInfo) -> str:
    """Say in words what a setting can be, with its bounds."""
    if is_secret(path):
        return "secret"
    item = item_of(info.annotation)
    words = []
    for member in members_of(info.annotation):
        if get_origin(member) is Literal:
            words += [f"`{choice}`" for choice in get_args(member)]
        elif isinstance(member, type) and issubclass(member, Enum):
            words += [f"`{choice.value}`" for choice in member]
        elif get_origin(member) is dict:
            words.append("map")
        elif item is None:
            words.append(_WORDS.get(member, str(member)))
    if item is not None:
        words = ["list"]
    bounds = [
        f"{sign} {value:g}"
        for rule in info.metadata
        for name, sign in _BOUNDS.items()
        if (value := getattr(rule, name, None)) is not None
    ]
    return " ".join([", ".join(dict.fromkeys(words)), *bounds])


_WORDS: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "`true`, `false`",
    Path: "path",
    SecretStr: "secret",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _plain(value: Any) -> Any:
    """Write a value as YAML has it."""
    if value is PydanticUndefined:
        return None
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {
            key: MASK if is_secret_property(key) else _plain(item) for key, item in value.items()
        }
    return getattr(value, "value", value)


_PLAIN_ITEM = re.compile(r"[A-Z]+:[A-Z0-9&-]+")


def _scalar(value: Any) -> str:
    if isinstance(value, list) and len(value) > _QUICK_ABOVE:
        # item by item, where most need no look by YAML's emitter: a list may be the whole market
        items = (
            str(item)
            if type(item) is int or (type(item) is str and _PLAIN_ITEM.fullmatch(item))
            else _scalar(item)
            for item in value
        )
        return f"[{', '.join(items)}]"
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _mapping(model: BaseModel, path: SettingPath, loaded: Loaded, indent: int) -> Iterator[str]:
    for name in type(model).model_fields:
        yield from _entry(f"{name}:", getattr(model, name), (*path, name), loaded, indent)


def _entry(label: str, value: Any, path: SettingPath, loaded: Loaded, indent: int) -> Iterator[str]:
    margin = "  " * indent
    if isinstance(value, BaseModel):
        yield f"{margin}{label}"
        yield from _mapping(value, path, loaded, indent + 1)
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        yield f"{margin}{label}"
        for number, item in enumerate(value):
            lines = _mapping(item, (*path, number), loaded, indent + 2)
            first = next(lines).lstrip()
            yield f"{margin}  - {first}"
            yield from lines
    else:
        origin = loaded.origins.get(path) or _inherited(path, loaded)
        yield f"{margin}{label} {_scalar(_plain(value))}" + (f"  # {origin}" if origin else "")


def _inherited(path: SettingPath, loaded: Loaded) -> str:
    """Where the list or map was given whole that a value is part of."""
    for length in range(len(path) - 1, 0, -1):
        origin = loaded.origins.get(path[:length], "")
        if origin.startswith("KITE_"):
            return origin
    return ""
