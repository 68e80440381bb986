import re
from pathlib import Path
from typing import Annotated, Literal

import typer
from typer.testing import CliRunner

from connector.cli.group import CommandGroup, Commands, group

MADE = []


def light(**_):
    """Do what is light; this sentence is long enough to need a second line of the list.

    More about it.
    """


class Numbers(CommandGroup):
    @classmethod
    def targets(cls):
        return {"light": light, "lazy": "tests.unit.cli.test_group:lazy", "deep": deep}


def lazy(
    words: Annotated[list[str] | None, typer.Argument(help="Some words.")] = None,
    number: int = 1,
    wait_seconds: float = 0.0,
    each: Annotated[list[Path] | None, typer.Option(help="Files.")] = None,
    kind: Literal["a", "b"] = "a",
    url: Annotated[str, typer.Option(metavar="URL")] = "",
    loud: bool = False,
) -> None:
    """Print a number."""
    typer.echo(number)


deep = typer.Typer(help="Have commands of its own.", rich_markup_mode=None)
deep.command()(lazy)
deep.command("other")(lazy)
app = group(Numbers, help="Count.")


def run(*words):
    return CliRunner().invoke(app, words)


def test_commands_are_made_when_they_are_asked_for():
    commands = Commands(Numbers.targets())
    assert list(commands) == ["light", "lazy", "deep"]
    assert commands["lazy"] is commands["lazy"]
    assert commands.get("none") is None
    assert list(commands._made) == ["lazy"]


def test_the_list_makes_no_command_and_cuts_no_sentence():
    text = run("--help").output
    assert "second line of the list." in " ".join(text.split())
    assert "More about it" not in text
    assert "Print a number." in text
    assert "Have commands of its own." in text
    assert max(map(len, text.splitlines())) <= 80


def test_values_are_named_in_words():
    text = run("lazy", "--help").output
    # older releases of typer have it in brackets
    assert re.search(r"^  \[?WORDS\]? +Some words", text, re.MULTILINE)
    for line in (
        "--number NUMBER", "--wait-seconds SECONDS", "--each FILE", "--kind <a|b>",
        "--url URL", "--loud / --no-loud ",
    ):  # fmt: skip
        assert f"  {line}" in text


def test_a_command_named_by_its_place_runs():
    assert run("lazy", "--number", "7").output == "7\n"
    assert run("deep", "other", "--number", "8").output == "8\n"
    assert run("none").exit_code == 2
