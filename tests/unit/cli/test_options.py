from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from connector.cli.options import build, with_options
from connector.errors import SettingsError


class Model(BaseModel):
    size: int = Field(5, ge=1, description="how large")
    loud: bool = Field(False, description="or quiet")
    where: Path | None = Field(None, description="a file")
    kind: Literal["a", "b"] = "a"
    several: tuple[int, ...] = ()
    nested: "Model | None" = None
    hidden: int = 1


@pytest.fixture
def run():
    app = typer.Typer(rich_markup_mode=None)
    seen = []

    @app.command()
    @with_options(Model, leave_out=("hidden",))
    def command(*, name: Annotated[str, typer.Option(help="whose")] = "x", **given):
        """Do it."""
        seen.append((name, given))

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        return result, seen[-1] if seen else None

    return run


def test_what_is_not_given_is_not_passed(run):
    result, seen = run()
    assert result.exit_code == 0, result.output
    assert seen == ("x", {})


def test_what_is_given_has_its_type(run):
    _, seen = run("--size", "7", "--loud", "--where", "f", "--kind", "b", "--name", "y")
    assert seen == ("y", {"size": 7, "loud": True, "where": Path("f"), "kind": "b"})
    assert run("--no-loud")[1][1] == {"loud": False}


def test_help_has_the_fields_own_words(run):
    text = run("--help")[0].output
    assert "how large [default: 5]" in text
    assert "or quiet [default: false]" in text
    assert "Do it." in text
    for absent in ("--several", "--nested", "--hidden"):
        assert absent not in text


def test_a_word_that_is_no_choice(run):
    assert run("--kind", "c")[0].exit_code == 2


def test_a_model_of_what_was_given():
    assert build(Model, {"size": 7}).size == 7
    with pytest.raises(SettingsError, match=r"--size: Input should be greater"):
        build(Model, {"size": 0})
