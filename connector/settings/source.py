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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from connector.errors import SettingProblem, SettingsError
from connector.files import UnusableFileError, read_bounded
from connector.redaction import Redactor, cut, one_line, quoted
from connector.settings.clear_text import clear_text
from connector.settings.models import Settings
from connector.settings.paths import (
    ENV_PREFIX,
    MAX_NAME_CHARS,
    SettingPath,
    annotation_of,
    is_scalar,
    is_secret,
    is_secret_name,
    item_of,
    leaves,
    members_of,
    model_of,
    name_of,
    variable_of,
)
from connector.settings.secret_files import read_setting
from connector.settings.yaml_text import YamlTextError, read_yaml

CONFIG_VARIABLE = "KITE_CONNECTOR_CONFIG"
"""The variable that names the settings file where no --config is given."""
SWITCHES = {
    CONFIG_VARIABLE,
    "KITE_CONNECTOR_CODEC",
    "KITE_CONNECTOR_PRODUCER",
    # setup.py's, which chooses whether extensions are compiled
    "KITE_CONNECTOR_BUILD",
}
"""The variables of the program that are no settings."""

# what Kubernetes puts into every pod of a namespace that has a Service named kite or kite-…:
# https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables
_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_[A-Z0-9_]+)?$|_PORT_\d+_(TCP|UDP|SCTP)")
_SERVICE_URL = re.compile(r"^(tcp|udp|sctp)://")

MAX_FILE_BYTES = 16 * 2**20
"""A settings file is read up to so many bytes; one with all instruments has 3 MiB."""
MAX_VARIABLE_CHARS = 128 * 1024
"""A variable's value has at most so many characters: what Linux allows."""

MAX_PROBLEMS = 100
"""So many problems are told; the others are counted."""

# of a list: not what Python takes for digits besides (², ٣), nor more of them than it reads
_PLACE = re.compile(r"[0-9]{1,9}", re.ASCII)


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


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each of those that were given came from."""

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
        SettingsError: with every problem that was found, up to `MAX_PROBLEMS`, not just the first.
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
        # in the order of their names: KITE_ACCOUNTS, given whole, comes before
        # KITE_ACCOUNTS__0__NAME
        _put(tree, path, value, variable, origins, problems)
    if not accounts_required and isinstance(tree, dict) and not tree.get("accounts"):
        tree["accounts"] = [{"api_key": "none"}]
        groups = tree.get("instruments")
        for group in groups if isinstance(groups, list) else ():
            if isinstance(group, dict):  # it may be on an account that only the service knows
                group.pop("account", None)
    # behind both, as the path of a file may be in either
    _read_setting_files(Settings, tree, (), origins, problems)
    problems += [
        SettingProblem(name_of(path), _NOT_A_NUMBER, origin_of(path, origins))
        for path in _booleans(tree, ())
        if (annotation := annotation_of(path)) and {int, float} & {*members_of(annotation)}
    ]
    # also where there are problems already, so that all are told at once
    settings = _validate(tree, origins, problems)
    if settings is not None and not settings.allow_insecure:
        problems += [
            SettingProblem(
                found.setting,
                f"{found}; encrypt it, or set allow_insecure",
                origin_of(tuple(found.setting.split(".")), origins),
            )
            for found in clear_text(settings)
            if found.public
        ]
    if problems or settings is None:
        # a problem quotes what was given, and a secret may have been given in the wrong place
        redactor = Redactor(*_secrets_in(tree, ()))
        told = [
            each._replace(name=redactor.redact(each.name), reason=redactor.redact(each.reason))
            for each in problems[:MAX_PROBLEMS]
        ]
        if more := len(problems) - len(told):
            told.append(SettingProblem("settings", f"{more} more are wrong"))
        raise SettingsError(told)
    return Loaded(settings, origins)


def _secrets_in(tree: Any, path: SettingPath) -> Iterator[str]:
    """Whatever stands under the name of a secret, whether the rest is right or not."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _secrets_in(value, (*path, str(key)))
    elif isinstance(tree, list) and path and path[-1] != "instruments":
        for number, value in enumerate(tree):
            yield from _secrets_in(value, (*path, number))
    elif isinstance(tree, str) and path and is_secret_name(str(path[-1])):
        yield tree


def origin_of(path: SettingPath, origins: Mapping[SettingPath, str]) -> str:
    """Where a setting, or the nearest part of the tree around it, was given; "" if nowhere."""
    for length in range(len(path), 0, -1):
        if origin := origins.get(path[:length]):
            return origin
    return ""


def _read_file(file: Path, origins: dict[SettingPath, str], problems: list[SettingProblem]) -> Any:
    try:
        # a pipe too: the file may come out of a vault, as --config <(command)
        with _no_collection():
            document = read_yaml(read_bounded(file, MAX_FILE_BYTES, pipe=True))
    except UnusableFileError as exc:
        problems.append(SettingProblem("--config", f"cannot read {file}: {exc}"))
        return {}
    except YamlTextError as exc:
        where = f"{file}:{exc.line}" if exc.line else str(file)
        problems.append(SettingProblem("--config", exc.reason, where))
        return {}
    if document.value is None:
        return {}
    if not isinstance(document.value, dict):
        problems.append(SettingProblem("--config", "must be a mapping of settings", str(file)))
        return {}
    # each part of the tree: what is missing has the line of what it is missing in
    origins.update((path, f"{file}:{line}") for path, line in document.lines.items())
    problems += [
        SettingProblem(name_of(path), "stands twice in this mapping", f"{file}:{line}")
        for path, line in document.repeated
    ]
    return document.value


def _booleans(tree: dict[str, Any] | list[Any], path: SettingPath) -> Iterator[SettingPath]:
    """Where YAML read true or false: Python, and so pydantic, takes these for 1 and 0."""
    items: Iterable[tuple[str | int, Any]]
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        if isinstance(value, bool):
            yield (*path, key)
        elif isinstance(value, dict | list):
            yield from _booleans(value, (*path, key))


def _read_environment(
    environ: Mapping[str, str], problems: list[SettingProblem]
) -> Iterator[tuple[str, SettingPath, Any]]:
    seen: dict[SettingPath, str] = {}
    for variable in sorted(environ):
        text = environ[variable]
        if not variable.startswith(ENV_PREFIX) or variable in SWITCHES or not text.strip():
            continue
        if len(text) > MAX_VARIABLE_CHARS:
            reason = f"has more than {MAX_VARIABLE_CHARS} characters: give it in a file"
            problems.append(SettingProblem(variable[:MAX_NAME_CHARS], reason, "environment"))
            continue
        parts = variable.removeprefix(ENV_PREFIX).lower().split("__")
        path = tuple(int(part) if _PLACE.fullmatch(part) else part for part in parts)
        annotation = annotation_of(path)
        if annotation is None:
            if not _from_kubernetes(variable, text):
                near = _near(variable, [*SWITCHES, *map(variable_of, leaves(Settings))])
                name = cut(one_line(variable), MAX_NAME_CHARS)
                problems.append(SettingProblem(name, f"no such setting{near}", "environment"))
            continue
        if (other := seen.setdefault(path, variable)) != variable:
            # in other letters, or with another 0 before a place: which one counts?
            problems.append(SettingProblem(name_of(path), f"is given by {other} too", variable))
            continue
        if not is_scalar(annotation):
            try:
                # JSON is YAML, and YAML forgives a missing quote
                document = read_yaml(text)
            except YamlTextError as exc:
                reason = f"must be JSON: {exc.reason.removeprefix('not YAML: ')}"
                problems.append(SettingProblem(name_of(path), reason, variable))
                continue
            problems += [
                SettingProblem(name_of((*path, *below)), "stands twice in this mapping", variable)
                for below, _ in document.repeated
            ]
            yield variable, path, document.value
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
            # one more than there are: the list grows by it
            if part == len(here):
                here.append(None)
        elif not (isinstance(here, dict) and isinstance(part, str)):
            reason = f"{name_of(path[:depth])} cannot hold it"
            problems.append(SettingProblem(name_of(path), reason, variable))
            return
        if following is None:
            here[part] = value
            # what the file said below it holds no more
            for below in [known for known in origins if known[: len(path)] == path]:
                del origins[below]
            origins[path] = variable
        else:
            inside = here[part] if isinstance(part, int) else here.get(part)
            if inside is None:
                inside = here[part] = [] if isinstance(following, int) else {}
            here = inside


def _read_setting_files(
    model: type[BaseModel],
    tree: Any,
    path: SettingPath,
    origins: dict[SettingPath, str],
    problems: list[SettingProblem],
) -> None:
    """Set each setting whose value is in a file: NAME_file beside NAME, in any section.

    An access_token may come later, and is left to whoever watches its file.
    """
    for name, info in model.model_fields.items():
        inside = tree.get(name) if isinstance(tree, dict) else None
        if inner := model_of(info.annotation):
            _read_setting_files(inner, inside, (*path, name), origins, problems)
        elif (inner := model_of(item_of(info.annotation))) and isinstance(inside, list):
            for number, item in enumerate(inside):
                _read_setting_files(inner, item, (*path, name, number), origins, problems)
        elif name.endswith("_file") and name != "access_token_file" and inside is not None:
            setting = name.removesuffix("_file")
            if setting in model.model_fields:
                here = (*path, setting)
                fault = _read_setting_file(tree, setting, inside)
                origins[here] = str(inside)
                if fault:
                    origin = origin_of((*path, name), origins)
                    problems.append(SettingProblem(name_of((*path, name)), fault, origin))


def _read_setting_file(section: dict[str, Any], setting: str, file: Any) -> str:
    """Set one setting to what its file holds; returns what is wrong."""
    if section.get(setting) is not None:
        return f"give {setting} or {setting}_file, not both"
    # in the place of what could not be read: whether it is there is not in question
    section[setting] = f"unread-{id(section)}"
    if not isinstance(file, str) or not file.strip():
        return "should be the path of a file"
    try:
        section[setting] = read_setting(Path(file.strip()))
    except UnusableFileError as exc:
        return f"{file}: {exc}"
    return ""


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
                reason = ""  # what will only be counted needs none
                if len(problems) < MAX_PROBLEMS:
                    reason = _reason(path, error["type"], error["msg"], error["input"])
                name = name_of(path) or "settings"
                problems.append(SettingProblem(name, reason, origin_of(path, origins)))
        return None


def _settled(loc: SettingPath, *, unknown: bool) -> SettingPath:
    """Pydantic's location without the names of union branches and the like at its end."""
    if unknown:
        return loc
    # pydantic puts the branch of a union, or a validator's name, behind the path: the longest
    # beginning that is a setting is the place
    length = len(loc)
    while length and annotation_of(loc[:length]) is None:
        length -= 1
    return loc[:length]


_NOT_A_NUMBER = "should be a number; YAML reads yes, no, on and off as true and false"
_KINDS = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "dict_type": "should be names with values",
    "model_type": "should be names with values",
    "model_attributes_type": "should be names with values",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_type": "should be a number",
    "float_parsing": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "string_type": "should be text",
    "path_type": "should be the path of a file",
}
"""pydantic's kinds of errors whose own words speak of Python's types."""
FORMS = {
    "name": "should be 1 to 80 letters, digits, or . _ -",
    "accounts.name": "should be 1 to 32 lower-case letters, digits or -, without - at an end",
    "topics.prefix": "should be letters, digits, or . _ -, without . at its beginning",
    "cluster.instance": "should be 1 to 200 letters, digits, or . _ -",
    "instrument_master.refresh_at": "should be a time of day such as 08:35",
    **dict.fromkeys(
        (
            f"{section}.oauth.{name}"
            for section in ("kafka", "registry")
            for name in ("logical_cluster", "identity_pool")
        ),
        "should be one id such as lkc-a1b2c or pool-a1b2",
    ),
}
"""What a setting with a pattern should be, in words; by its name without numbers."""


def _in_words(path: SettingPath, kind: str) -> str | None:
    """Return what a setting should be, where pydantic says it in words of its own."""
    if kind == "string_pattern_mismatch":
        return FORMS.get(".".join(part for part in path if isinstance(part, str)))
    return _KINDS.get(kind)


def _reason(path: SettingPath, kind: str, message: str, given: Any) -> str:
    if kind == "extra_forbidden":
        model = model_of(annotation_of(path[:-1]) if len(path) > 1 else Settings)
        return f"no such setting{_near(str(path[-1]), list(model.model_fields) if model else [])}"
    if path == ("accounts",) and kind in {"missing", "too_short"}:
        return f"at least one is required; set {variable_of(('accounts', 0, 'api_key'))}"
    if kind == "missing":
        return f"is required; set it in the file, or as {variable_of(path)}"
    message = _in_words(path, kind) or message
    if kind == "string_type" and isinstance(given, bool | int | float | date):
        message += ": put it in quotes"
    message = message.removeprefix("Value error, ").removeprefix("Input ")
    # it follows the setting's name within a sentence
    message = message[:1].lower() + message[1:].partition(", unable to parse")[0]
    unquotable = is_secret(path) or any(is_secret_name(str(part)) for part in path)
    if kind == "value_error" or unquotable or not isinstance(given, str | int | float):
        return message
    return f"{message}, not {quoted(given)}"
