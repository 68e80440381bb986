"""Groups of commands that are imported and made when they are asked for, and not before.

`--help` of a group shows the first sentence of each command's docstring: its module is imported for
that, which therefore imports at its top nothing but typer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from connector.cli.options import load_reference

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
        return typer.main.get_command(alone)


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
