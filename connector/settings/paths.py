"""Which settings there are: their paths, names and types, and which of them are secret.

All of it is asked of the models; nothing here knows what was given.
"""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

from connector.redaction import cut, one_line
from connector.settings.models import Settings

ENV_PREFIX: Final = "KITE_"
MAX_NAME_CHARS: Final = 60
"""An unknown name is cut to so many characters in the error about it: it may be anything."""

# misspelt ones too
_SECRET_NAME = re.compile(r"(pass|pas*wo?r?d|pwd|secret|token|key|credential)", re.IGNORECASE)
_SECRET_PROPERTY = re.compile(r"password|secret|token|key\.pem|jaas|oauthbearer|user\.info")

SettingPath = tuple[str | int, ...]
"""Where a setting stands in the tree: ("accounts", 0, "api_key")."""


def name_of(path: SettingPath) -> str:
    """The name as users write it, accounts.0.api_key; a key that is none is cut."""
    return ".".join(cut(one_line(str(part)), MAX_NAME_CHARS) for part in path)


def variable_of(path: SettingPath) -> str:
    """Return a setting's name in the environment: KITE_ACCOUNTS__0__API_KEY."""
    return ENV_PREFIX + "__".join(map(str, path)).upper()


def annotation_of(path: SettingPath) -> Any:
    """Return the type of a setting; None where there is no such setting."""
    annotation: Any = Settings
    for part in path:
        if isinstance(part, int):
            annotation = item_of(annotation)
        else:
            model = model_of(annotation)
            info = model.model_fields.get(part) if model else None
            annotation = info.annotation if info else None
        if annotation is None:
            return None
    return annotation


def members_of(annotation: Any) -> list[Any]:
    """What an annotation can be, without None and without Annotated's wrapping."""
    if get_origin(annotation) is Annotated:
        return members_of(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [
            member
            for choice in get_args(annotation)
            if choice is not type(None)
            for member in members_of(choice)
        ]
    return [annotation]


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model among what an annotation can be, if there is one."""
    for member in members_of(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def item_of(annotation: Any) -> Any:
    """Return X of a `tuple[X, ...]`; None for anything else."""
    for member in members_of(annotation):
        if get_origin(member) is tuple:
            return get_args(member)[0]
    return None


def is_scalar(annotation: Any) -> bool:
    """Whether a setting is a single value: neither a list, a map nor a section."""
    return all(
        get_origin(member) not in (tuple, dict)
        and not (isinstance(member, type) and issubclass(member, BaseModel))
        for member in members_of(annotation)
    )


def leaves(model: type[BaseModel], above: SettingPath = ()) -> Iterator[SettingPath]:
    """The path of every single setting; the first item stands for all in a list of models."""
    for name, info in model.model_fields.items():
        path = (*above, name)
        if inner := model_of(info.annotation):
            yield from leaves(inner, path)
        elif (item := item_of(info.annotation)) and (inner := model_of(item)):
            yield from leaves(inner, (*path, 0))
        else:
            yield path


def secrets_of(model: BaseModel) -> Iterator[str]:
    """Return every secret's text, so that a log can be kept free of it."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, SecretStr):
                yield item.get_secret_value()
            elif isinstance(item, dict):
                yield from (str(text) for key, text in item.items() if is_secret_property(key))
            elif isinstance(item, BaseModel):
                yield from secrets_of(item)


def is_secret_property(name: str) -> bool:
    """Whether a librdkafka property (kafka.client) may hold a secret."""
    return _SECRET_PROPERTY.search(name) is not None


def is_secret_name(name: str) -> bool:
    """Whether what stands under a name may be a secret, even if it is no setting's.

    The path of a file with a secret is none.
    """
    if name.endswith("_file"):
        return False
    return _SECRET_NAME.search(name) is not None or is_secret_property(name)


def is_secret(path: SettingPath) -> bool:
    """Whether a setting's value must never be shown."""
    return SecretStr in members_of(annotation_of(path))
