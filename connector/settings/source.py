"""Reads the settings from a YAML file and the environment over it, and explains what is wrong.

Environment names are the path in capitals behind `KITE_`, with `__` between the levels, a number
for the place in a list: `KITE_KAFKA__BOOTSTRAP_SERVERS`, `KITE_ACCOUNTS__0__API_KEY`. Lists and
maps are given whole as JSON. An empty value counts as not given. An unknown name stops the start,
since a misspelt setting that is silently ignored is found out on the day it is needed.
"""

from __future__ import annotations

import contextlib
import difflib
import gc
import os
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError

from connector.errors import SettingProblem, SettingsError
from connector.settings.models import Settings

ENV_PREFIX = "KITE_"
CONFIG_VARIABLE = "KITE_CONNECTOR_CONFIG"
"""Names the settings file where no --config is given."""
SWITCHES = {CONFIG_VARIABLE, "KITE_CONNECTOR_CODEC", "KITE_CONNECTOR_BUILD"}
"""Variables of the program that are no settings."""

# what Kubernetes puts into every pod of a namespace that has a Service named kite or kite-…:
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)")
_SERVICE_URL = re.compile(r"^(tcp|udp|sctp)://")

_SECRET_PROPERTY = re.compile(r"password|secret|token|key\.pem|jaas|oauthbearer|user\.info")

_INT = "tag:yaml.org,2002:int"
_STR = "tag:yaml.org,2002:str"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Safe, and quick where libyaml is there: a list may name the whole market."""

    def resolve(self, kind: type[yaml.Node], value: str, implicit: Any) -> str:
        """The tag of a node; what is plainly a token or a name needs no regular expressions."""
        if kind is yaml.ScalarNode and implicit[0] and value.isascii():
            # with a zero in front it may be octal
            if value.isdecimal() and value[0] != "0":
                return _INT
            # nothing but text begins with a letter and has a colon
            if value[:1].isalpha() and ":" in value:
                return _STR
        return str(super().resolve(kind, value, implicit))

    def construct_sequence(self, node: yaml.Node, deep: bool = False) -> list[Any]:
        """The items; the same as PyYAML's own, without its bookkeeping for plain ones."""
        if not isinstance(node, yaml.SequenceNode):
            return list(super().construct_sequence(node, deep))
        return [
            item.value
            if item.tag is _STR
            else int(item.value)
            if item.tag is _INT
            else self.construct_object(item, deep=deep)
            for item in node.value
        ]


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Objects are made by the hundred thousand and all are kept: looking for cycles finds none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


SettingPath = tuple[str | int, ...]
"""Where a setting stands in the tree: ("accounts", 0, "api_key")."""


@dataclass(frozen=True)
class Loaded:
    """Settings, and where each of those that were given came from."""

    settings: Settings
    origins: Mapping[SettingPath, str] = field(default_factory=dict)


def load(
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    accounts_required: bool = True,
) -> Loaded:
    """Read the settings.

    Args:
        file: YAML; None reads the file that KITE_CONNECTOR_CONFIG names, or none at all.
        environ: the environment; None is the process's own.
        accounts_required: False for what only needs Kafka: a nameless account stands in.

    Raises:
        SettingsError: with every problem that was found, not just the first.
    """
    environ = os.environ if environ is None else environ
    if file is None and environ.get(CONFIG_VARIABLE):
        file = Path(environ[CONFIG_VARIABLE])
    origins: dict[SettingPath, str] = {}
    problems: list[SettingProblem] = []
    tree: Any = {}
    if file is not None:
        tree = _read_file(file, origins, problems)
    for variable, path, value in _read_environment(environ, problems):
        _put(tree, path, value, variable, origins, problems)
    if not accounts_required and isinstance(tree, dict) and not tree.get("accounts"):
        tree["accounts"] = [{"api_key": "none"}]
    settings = _validate(tree, origins, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    return Loaded(settings, origins)


def name_of(path: SettingPath) -> str:
    """The name as users write it: accounts.0.api_key."""
    return ".".join(map(str, path))


def variable_of(path: SettingPath) -> str:
    """The name in the environment: KITE_ACCOUNTS__0__API_KEY."""
    return ENV_PREFIX + "__".join(map(str, path)).upper()


def origin_of(path: SettingPath, origins: Mapping[SettingPath, str]) -> str:
    """Where a setting, or the nearest part of the tree around it, was given; "" if nowhere."""
    for length in range(len(path), 0, -1):
        if origin := origins.get(path[:length]):
            return origin
    return ""


def _read_file(file: Path, origins: dict[SettingPath, str], problems: list[SettingProblem]) -> Any:
    try:
        with _no_collection():
            loader = _Loader(file.read_text())
            try:
                node = loader.get_single_node()
                # its own constructor makes the tree from the node: the text is parsed once
                tree = None if node is None else loader.construct_document(node)
            finally:
                loader.dispose()
    except OSError as exc:
        problems.append(SettingProblem("--config", f"cannot read {file}: {exc.strerror}"))
        return {}
    except UnicodeDecodeError:
        problems.append(SettingProblem("--config", f"{file} is not a text file"))
        return {}
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        # `problem` is the parser's own words; str(exc) would quote the line, secrets and all
        reason = getattr(exc, "problem", None) or "not readable"
        problems.append(SettingProblem("--config", f"not YAML: {reason}", where))
        return {}
    if node is None:
        return {}
    if not isinstance(node, yaml.MappingNode):
        problems.append(SettingProblem("--config", "must be a mapping of settings", str(file)))
        return {}
    for path, line, repeated in _walk(node, ()):
        origin = f"{file}:{line}"
        if repeated:
            problems.append(SettingProblem(name_of(path), "stands twice in this mapping", origin))
        origins[path] = origin
    return tree


def _walk(node: yaml.Node, path: SettingPath) -> Iterator[tuple[SettingPath, int, bool]]:
    """(path, line, whether the key stood there before) of everything in the file."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1, below in seen
            seen.add(below)
            yield from _walk(value, below)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1, False
            if not isinstance(value, yaml.ScalarNode):
                yield from _walk(value, (*path, index))


def _read_environment(
    environ: Mapping[str, str], problems: list[SettingProblem]
) -> Iterator[tuple[str, SettingPath, Any]]:
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(ENV_PREFIX) or variable in SWITCHES or not text.strip():
            continue
        parts = variable.removeprefix(ENV_PREFIX).lower().split("__")
        path = tuple(int(part) if part.isdigit() else part for part in parts)
        annotation = _annotation(path)
        if annotation is None:
            if not _from_kubernetes(variable, text):
                near = _near(variable, [*SWITCHES, *map(variable_of, leaves(Settings))])
                problems.append(SettingProblem(variable, f"no such setting{near}", "environment"))
            continue
        if not _is_scalar(annotation):
            try:
                # JSON is YAML, and YAML forgives a missing quote
                yield variable, path, yaml.safe_load(text)
            except yaml.YAMLError:
                problems.append(SettingProblem(name_of(path), "must be JSON", variable))
        elif text.strip() == "null" and type(None) in get_args(annotation):
            yield variable, path, None
        else:
            yield variable, path, text


def _from_kubernetes(variable: str, text: str) -> bool:
    return "__" not in variable and bool(
        _SERVICE_LINK.search(variable) or (variable.endswith("_PORT") and _SERVICE_URL.match(text))
    )


def _put(
    tree: Any,
    path: SettingPath,
    value: Any,
    variable: str,
    origins: dict[SettingPath, str],
    problems: list[SettingProblem],
) -> None:
    """Set one value from the environment over what the file says."""
    here = tree
    for depth, (part, following) in enumerate(zip(path, (*path[1:], None), strict=True)):
        if isinstance(here, list) and isinstance(part, int):
            if part > len(here):
                reason = f"leaves a gap: there is no {variable_of((*path[:depth], len(here)))}"
                problems.append(SettingProblem(name_of(path), reason, variable))
                return
            if part == len(here):
                here.append(None)
        elif not (isinstance(here, dict) and isinstance(part, str)):
            reason = f"{name_of(path[:depth])} cannot hold it"
            problems.append(SettingProblem(name_of(path), reason, variable))
            return
        if following is None:
            here[part] = value
            for below in [known for known in origins if known[: len(path)] == path]:
                del origins[below]
            origins[path] = variable
        else:
            inside = here[part] if isinstance(part, int) else here.get(part)
            if inside is None:
                inside = here[part] = [] if isinstance(following, int) else {}
            here = inside


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
    """The model among what an annotation can be, if there is one."""
    for member in members_of(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def item_of(annotation: Any) -> Any:
    """What stands in a `tuple[X, ...]`; None for anything else."""
    for member in members_of(annotation):
        if get_origin(member) is tuple:
            return get_args(member)[0]
    return None


def _is_scalar(annotation: Any) -> bool:
    return all(
        get_origin(member) not in (tuple, dict)
        and not (isinstance(member, type) and issubclass(member, BaseModel))
        for member in members_of(annotation)
    )


def _annotation(path: SettingPath) -> Any:
    """The type of a setting; None where there is no such setting."""
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
    """Every secret's text, so that a log can be kept free of it."""
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


def is_secret(path: SettingPath) -> bool:
    """Whether a setting's value must never be shown."""
    return SecretStr in members_of(_annotation(path))


def _near(wrong: str, known: list[str]) -> str:
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _validate(
    tree: Any, origins: Mapping[SettingPath, str], problems: list[SettingProblem]
) -> Settings | None:
    try:
        return Settings.model_validate(tree)
    except ValidationError as exc:
        explained = set()
        for error in exc.errors(include_url=False):
            path = _settled(tuple(error["loc"]), unknown=error["type"] == "extra_forbidden")
            if error["type"] == "too_short" and error["input"]:
                continue  # pydantic counts only good items, and the bad ones were explained
            if path not in explained:  # each branch of a union brings an error of its own
                explained.add(path)
                problems.append(
                    SettingProblem(
                        name_of(path) or "settings",
                        _reason(path, error["type"], error["msg"], error["input"]),
                        origin_of(path, origins),
                    )
                )
        return None


def _settled(loc: SettingPath, *, unknown: bool) -> SettingPath:
    """Pydantic's location without the names of union branches and the like at its end."""
    if unknown:
        return loc
    length = len(loc)
    while length and _annotation(loc[:length]) is None:
        length -= 1
    return loc[:length]


def _reason(path: SettingPath, kind: str, message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        model = model_of(_annotation(path[:-1]) if len(path) > 1 else Settings)
        return f"no such setting{_near(str(path[-1]), list(model.model_fields) if model else [])}"
    if path == ("accounts",) and kind in {"missing", "too_short"}:
        return f"at least one is required; set {variable_of(('accounts', 0, 'api_key'))}"
    if kind == "missing":
        return f"is required; set it in the file, or as {variable_of(path)}"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:].partition(", unable to parse")[0]
    if kind == "value_error" or is_secret(path) or not isinstance(given, str | int | float):
        return message
    return f"{message}, not {given!r}"
