"""Command line options made of a pydantic model's fields: one definition, its limits and its words.

A simple field becomes an option of its own name, one without a default an argument; what is not
simple stays with the caller. Options are made when a command is parsed or its help is shown, and
not before: a model may be named as "module:Class", and is then imported no sooner.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import types
from collections.abc import Callable, Collection, Mapping
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

from connector.errors import SettingProblem, SettingsError

if TYPE_CHECKING:
    from pydantic import BaseModel

_Model = TypeVar("_Model", bound="BaseModel")
_Decorator = Callable[[Callable[..., None]], Callable[..., None]]
_SIMPLE = (bool, int, float, str, Path)
_LAST = (
    "dry_run", "id", "by", "expires_at", "expected_revision", "timeout", "as_json", "config",
    "bootstrap", "registry", "prefix", "name", "log_format", "log_level",
)  # fmt: skip
"""Options of many commands, in the order in which help has them: behind a command's own."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="YAML file of settings; the environment wins over it. "
        "[default: $KITE_CONNECTOR_CONFIG]",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


class _Setting(NamedTuple):
    """A setting that commands have an option for: its place in the tree, and the option's form."""

    path: tuple[str, ...]
    flags: tuple[str, ...]
    metavar: str | None = None


_SETTINGS = {
    "bootstrap": _Setting(("kafka", "bootstrap_servers"), ("--bootstrap", "-b"), "HOST:PORT"),
    "registry": _Setting(("registry", "url"), ("--registry", "-r"), "URL"),
    "prefix": _Setting(("topics", "prefix"), ("--prefix",)),
    "name": _Setting(("name",), ("--name",)),
    "log_format": _Setting(("logging", "format"), ("--log-format",)),
    "log_level": _Setting(("logging", "level"), ("--log-level",)),
}


class _Command:
    """A function with more parameters than its own, which are made when they are asked for."""

    def __init__(
        self,
        function: Callable[..., None],
        made: Callable[[], Mapping[str, inspect.Parameter]],
        call: Callable[[Callable[..., None], dict[str, Any]], None],
    ) -> None:
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__
        self.__module__ = function.__module__
        self._function = function
        self._made = made
        self._call = call

    def __call__(self, **arguments: Any) -> None:
        self._call(self._function, arguments)

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        made = self._made()
        parameters = [*_own(self._function, without={"settings", "mask", *made}), *made.values()]
        parameters.sort(key=_place)
        return inspect.Signature(parameters)

    @property
    def __annotations__(self) -> dict[str, Any]:  # type: ignore[override]
        return {name: each.annotation for name, each in self.__signature__.parameters.items()}


def with_options(
    model: type[BaseModel] | str,
    *,
    leave_out: Collection[str] = (),
    optional: Collection[str] = (),
    short: Mapping[str, str] = types.MappingProxyType({}),
) -> _Decorator:
    """Give a command, which takes `**given`, an option for each simple field of a model.

    What the user gave arrives in `given`; what was not given is not there, so that the model's own
    default applies.

    Args:
        model: the model, or "module:Class" to import it no sooner than it is needed.
        leave_out: fields without an option.
        optional: fields without a default that are options still: the command has a value for them.
        short: the one-letter option of a field, as "-w".
    """

    def made() -> dict[str, inspect.Parameter]:
        found: type[BaseModel] = load_reference(model) if isinstance(model, str) else model
        each = {
            name: _parameter(found, name, short.get(name), optional=name in optional)
            for name in found.model_fields
            if name not in leave_out
        }
        return {name: parameter for name, parameter in each.items() if parameter is not None}

    def call(command: Callable[..., None], arguments: dict[str, Any]) -> None:
        own = inspect.signature(command).parameters
        command(**{n: value for n, value in arguments.items() if n in own or value is not None})

    return lambda command: _Command(command, made, call)


def with_settings(
    *names: str,
    accounts_required: bool = False,
    log_level: str | None = "error",
    first: Callable[[], None] | None = None,
) -> _Decorator:
    """Give a command the settings, as `settings`, and the options that stand above them.

    A command with a parameter `mask` gets the one that keeps secrets out of its log.

    Args:
        names: the settings that have an option of their own, beside --config: "bootstrap",
            "registry", "prefix", "name", "log_format", "log_level".
        accounts_required: False for a command that needs no account.
        log_level: of the command's log, which is set up before it runs; None: the settings' own.
            What a command was told to do and could not is its one line, not a log of attempts.
        first: called before anything else.
    """

    def made() -> dict[str, inspect.Parameter]:
        return {
            "config": _option_parameter("config", ConfigOption),
            **{name: _setting_parameter(name) for name in names},
        }

    def call(command: Callable[..., None], arguments: dict[str, Any]) -> None:
        if first is not None:
            first()
        given = {name: arguments.pop(name, None) for name in names}
        settings = _load(arguments.pop("config", None), given, accounts_required=accounts_required)
        from connector.service.logs import SecretMask, configure
        from connector.settings.paths import secrets_of

        level: Any = log_level or settings.logging.level
        mask = SecretMask(secrets_of(settings))
        configure(level, settings.logging.format, mask=mask)
        if "mask" in inspect.signature(command).parameters:
            arguments["mask"] = mask
        command(settings=settings, **arguments)

    return lambda command: _Command(command, made, call)


def _load(config: Path | None, given: Mapping[str, Any], *, accounts_required: bool) -> Any:
    """The settings with what the options gave above file and environment.

    Raises:
        SettingsError: a wrong value's origin is the option that gave it.
    """
    from connector.settings.paths import variable_of
    from connector.settings.source import load

    variables = {
        variable_of(_SETTINGS[name].path): (_SETTINGS[name].flags[0], str(value))
        for name, value in given.items()
        if value is not None
    }
    # an option is one more variable, over the environment: so all checks and words are the same
    environ = {**os.environ, **{name: value for name, (_, value) in variables.items()}}
    try:
        return load(config, environ, accounts_required=accounts_required).settings
    except SettingsError as exc:
        raise SettingsError(
            [
                problem._replace(origin=variables[problem.origin][0])
                if problem.origin in variables
                else problem
                for problem in exc.problems
            ]
        ) from exc


def build(model: type[_Model], given: dict[str, Any]) -> _Model:
    """Make the model of what the options gave.

    Raises:
        SettingsError: with the options' own names.
    """
    from pydantic import ValidationError

    try:
        return model.model_validate(given)
    except ValidationError as exc:
        raise SettingsError(
            [
                SettingProblem(
                    "--" + "-".join(map(str, error["loc"])).replace("_", "-"),
                    error["msg"].removeprefix("Value error, "),
                )
                if error["loc"]
                else SettingProblem("options", error["msg"].removeprefix("Value error, "))
                for error in exc.errors()
            ]
        ) from exc


def load_reference(reference: str) -> Any:
    """Import what "module:name" names, as an entry point does."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _own(function: Callable[..., None], without: Collection[str]) -> list[inspect.Parameter]:
    """Return a function's own parameters, with the types that their annotations name."""
    parameters = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in without
    ]
    # decorated twice: its annotations are types already
    if isinstance(function, _Command):
        return parameters
    # evaluated here: typer would look for the annotations' names in this module, and those of what
    # is left out may be names for type checkers only
    wanted = types.SimpleNamespace(
        __annotations__={parameter.name: parameter.annotation for parameter in parameters}
    )
    hints = get_type_hints(wanted, globalns=function.__globals__, include_extras=True)
    return [
        parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY)
        for parameter in parameters
    ]


def _place(parameter: inspect.Parameter) -> tuple[int, int]:
    """Order parameters: arguments, of which one that takes all the rest is last, then options."""
    annotation, name = parameter.annotation, parameter.name
    kind, *more = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    if not any(isinstance(each, typer.models.ArgumentInfo) for each in more):
        return (2, _LAST.index(name) + 1 if name in _LAST else 0)
    return (1 if any(get_origin(each) is list for each in (kind, *get_args(kind))) else 0, 0)


def _option_parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def _setting_parameter(name: str) -> inspect.Parameter:
    from connector.settings.models import Settings
    from connector.settings.paths import model_of

    setting = _SETTINGS[name]
    model: Any = Settings
    for section in setting.path[:-1]:
        model = model_of(model.model_fields[section].annotation)
    info = model.model_fields[setting.path[-1]]
    option = typer.Option(
        *setting.flags,
        metavar=setting.metavar,
        help=f"{info.description} [default: {'.'.join(setting.path)} of the settings]",
    )
    return _option_parameter(name, Annotated[_optional(_kind(info.annotation)), option])


def _parameter(
    model: type[BaseModel], name: str, short: str | None, *, optional: bool
) -> inspect.Parameter | None:
    from pydantic_core import PydanticUndefined

    info = model.model_fields[name]
    kind = _kind(info.annotation)
    if kind is None:
        return None
    flag = f"--{name.replace('_', '-')}"
    text = info.description or ""
    if info.is_required() and not optional:
        argument = typer.Argument(metavar=name.upper(), help=text)
        return _option_parameter(name, Annotated[kind, argument], inspect.Parameter.empty)
    # a flag that is off by itself needs no word of it, and no way to turn it off
    if info.default is not False and info.default not in (None, PydanticUndefined, ()):
        # told, not given: what the user leaves out must not be in `given`
        text = f"{text} [default: {_text(info.default)}]".lstrip()
    if info.default is True:
        flag = f"{flag}/--no-{flag[2:]}"
    option = typer.Option(flag, *([short] if short else ()), help=text)
    return _option_parameter(name, Annotated[_optional(kind), option])


def _optional(kind: Any) -> Any:
    return Union[kind, None]  # noqa: UP007 - a type made at run time


def _kind(annotation: Any) -> Any:
    """Return the type of an option; None where a field is not simple."""
    if get_origin(annotation) is Annotated:
        from pydantic import BeforeValidator

        kind, *more = get_args(annotation)
        # what it is made of is for the validator to say
        return str if any(isinstance(each, BeforeValidator) for each in more) else _kind(kind)
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_kind(choice) for choice in get_args(annotation) if choice is not type(None)]
        return kinds[0] if len(kinds) == 1 else None
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Literal[tuple(member.value for member in annotation)]
    if get_origin(annotation) is Literal or annotation in _SIMPLE:
        return annotation
    return str if annotation is date else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
