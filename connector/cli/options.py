"""Command line options made of a pydantic model's fields: one definition, its limits and its words.

A simple field becomes an option of its own name; what is not simple stays with the caller.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Collection
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from connector.errors import SettingProblem, SettingsError

_Model = TypeVar("_Model", bound=BaseModel)
_SIMPLE = (bool, int, float, str, Path)


def with_options(
    model: type[BaseModel], *, leave_out: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command, which takes `**given`, an option for each simple field of a model.

    What the user gave arrives in `given`; what was not given is not there, so that the model's own
    default applies.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        # evaluated here: typer would look for the annotations' names in this module
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name])
            for parameter in inspect.signature(command).parameters.values()
            if parameter.kind is not parameter.VAR_KEYWORD
        ]
        names = [name for name in model.model_fields if name not in leave_out]
        made = {
            name: parameter for name in names if (parameter := _parameter(model, name)) is not None
        }

        def wrapped(**arguments: Any) -> None:
            given = {
                name: value
                for name, value in arguments.items()
                if name not in made or value is not None
            }
            command(**given)

        wrapped.__doc__ = command.__doc__
        wrapped.__name__ = command.__name__
        parameters = [*own, *made.values()]
        wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return wrapped

    return decorate


def build(model: type[_Model], given: dict[str, Any]) -> _Model:
    """The model of what the options gave.

    Raises:
        SettingsError: with the options' own names.
    """
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


def _parameter(model: type[BaseModel], name: str) -> inspect.Parameter | None:
    info = model.model_fields[name]
    kind = _kind(info.annotation)
    if kind is None:
        return None
    default = info.default
    shown = "" if default in (None, PydanticUndefined, ()) else f" [default: {_text(default)}]"
    flags = [f"--{name.replace('_', '-')}"]
    if kind is bool:
        flags = [f"{flags[0]}/--no-{name.replace('_', '-')}"]
    option = typer.Option(*flags, help=f"{info.description or ''}{shown}", show_default=False)
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Union[kind, None], option],  # noqa: UP007 - a type made at run time
    )


def _kind(annotation: Any) -> Any:
    """The type of an option; None where a field is not simple."""
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [_kind(choice) for choice in get_args(annotation) if choice is not type(None)]
        return kinds[0] if len(kinds) == 1 else None
    if get_origin(annotation) is Literal or annotation in _SIMPLE:
        return annotation
    return str if annotation is date else None


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
