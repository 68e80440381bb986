"""Groups of commands that are imported and made when they are asked for, and not before.

`--help` of a group shows the first sentence of each command's docstring: its module is imported for
that, which therefore imports at its top nothing but typer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from connector.cli.options import load_reference

_VALUES: Final = {str: "TEXT", int: "NUMBER", float: "NUMBER", Path: "FILE", datetime: "DATE"}
_SECONDS: Final = ("seconds", "timeout", "duration", "every")
"""Ends of the names of options that are seconds."""

Target = Callable[..., None] | typer.Typer
"""The target of a command's name: a function, or the typer application of a group."""


class _LightHelp:
    """A --help without a default of None, which typer would import pydantic to convert."""

    def get_help_option(self, ctx: Any) -> Any:
        """The option that shows the help."""
        option = super().get_help_option(ctx)  # type: ignore[misc]  # of the command's class
        if option is not None:
            option.default = False
        return option


class _Single(_LightHelp, TyperCommand):
    pass


class Commands(Mapping[str, Any]):
    """The commands of a group: what they are made of is imported, and they are made, on demand.

    Args:
        targets: by name; text names one as "module:name".
    """

    def __init__(self, targets: Mapping[str, Target | str]) -> None:
        self._targets = targets
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name, self.target(name))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def target(self, name: str) -> Target:
        """Return what a command is made of.

        Raises:
            KeyError: there is no such command.
        """
        target = self._targets[name]
        return cast("Target", load_reference(target)) if isinstance(target, str) else target

    def summary(self, name: str) -> str:
        """Return the first sentence of a command's help; its options are not made for it."""
        target = self.target(name)
        text = target.info.help if isinstance(target, typer.Typer) else inspect.getdoc(target)
        return " ".join((text or "").partition("\n\n")[0].split())

    @staticmethod
    def _make(name: str, target: Target) -> Any:
        if isinstance(target, typer.Typer):
            command = typer.main.get_command(target)
            command.name = name
            return command
        alone = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        alone.command(name, cls=_Single)(target)
        command = typer.main.get_command(alone)
        _name_values(command, target)
        return command


def _name_values(command: Any, target: Callable[..., None]) -> None:
    """Name the value of each option in words, where it has no name of its own.

    Typer's own names are Python's: `<list[str]>`, `<float range>`.
    """
    types = target.__annotations__
    if inspect.isfunction(target):
        types = get_type_hints(target, include_extras=True)
    for parameter in command.params:
        kind = _bare(types.get(parameter.name))
        if kind not in _VALUES:
            continue
        if parameter.param_type_name == "argument":
            parameter.metavar = parameter.metavar or parameter.name.upper()
            # its place says what it is: no type behind the name
            parameter.display_type_rich = lambda **_: None
        elif parameter.metavar is None:
            seconds = kind is float and parameter.name.endswith(_SECONDS)
            parameter.metavar = "SECONDS" if seconds else _VALUES[kind]


def _bare(annotation: Any) -> Any:
    """The type of one value: of `list[int] | None`, int."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
    return _bare(kinds[0]) if len(kinds) == 1 else annotation


class CommandGroup(_LightHelp, TyperGroup):
    """A group whose commands are made on demand, and listed with a whole sentence each."""

    @classmethod
    def targets(cls) -> Mapping[str, Target | str]:
        """Each command by its name; asked for once, when the group is."""
        raise NotImplementedError

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast("Any", Commands(self.targets()))

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write the list; click cuts what does not fit the line, this continues it on the next."""
        commands = cast("Commands", self.commands)
        with formatter.section("Commands"):
            formatter.write_dl([(name, commands.summary(name)) for name in commands])


def _no_options() -> None:
    pass


def group(
    cls: type[CommandGroup],
    *,
    callback: Callable[..., None] = _no_options,
    add_completion: bool = False,
    **given: Any,
) -> typer.Typer:
    """Make a typer application of the commands of `cls`; its own options are `callback`'s."""
    made = typer.Typer(
        cls=cls,
        add_completion=add_completion,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        **given,
    )
    made.callback()(callback)
    return made
