from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import BaseModel, Field
from typer.testing import CliRunner

from connector.cli.options import build, with_options, with_settings
from connector.errors import SettingsError


class Model(BaseModel):
    size: int = Field(5, ge=1, description="how large")
    loud: bool = Field(False, description="or quiet")
    plain: bool = Field(True, description="or coloured")
    port: int = Field(0, description="0 takes any")
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
    assert run("--no-plain")[1][1] == {"plain": False}


def test_help_has_the_fields_own_words(run):
    text = run("--help")[0].output
    assert "how large [default: 5]" in text
    assert "or coloured [default: true]" in text
    assert "0 takes any [default: 0]" in text
    # what is off by itself needs no word of it, and no option to turn it off
    assert "or quiet\n" in text
    assert "--no-loud" not in text
    assert "Do it." in text
    for absent in ("--several", "--nested", "--hidden"):
        assert absent not in text


def test_a_word_that_is_no_choice(run):
    assert run("--kind", "c")[0].exit_code == 2


def test_a_model_of_what_was_given():
    assert build(Model, {"size": 7}).size == 7
    with pytest.raises(SettingsError, match=r"--size: Input should be greater"):
        build(Model, {"size": 0})


class Message(BaseModel):
    """Write it."""

    to: str = Field(description="Who gets it.")
    id: str = Field(description="Which it is.")
    copies: int = Field(1, description="How many are made.")


@pytest.fixture
def sent():
    app = typer.Typer(rich_markup_mode=None)
    seen = []

    @app.command()
    @with_options("tests.unit.cli.test_options:Message", optional=("id",), short={"copies": "-n"})
    def command(
        *, words: Annotated[list[str] | None, typer.Argument(help="The words.")] = None, **given
    ):
        seen.append((words, given))

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, seen[-1] if seen else None

    return run


def test_a_field_without_a_default_is_an_argument_before_all_others(sent):
    assert sent("anna", "one", "two", "-n", "3") == (
        0,
        (["one", "two"], {"to": "anna", "copies": 3}),
    )
    assert sent("anna", "--id", "x") == (0, (None, {"to": "anna", "id": "x"}))
    assert sent()[0] == 2


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setenv("KITE_KAFKA__BOOTSTRAP_SERVERS", "environment:1")
    app = typer.Typer(rich_markup_mode=None)
    seen = []

    @app.command()
    @with_settings("bootstrap", "name", "log_level", log_level="error")
    def command(*, settings, mask, size: int = 1):
        """Show settings."""
        seen.append((settings, mask.clean("words"), size))

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return seen[-1] if seen else result.output

    return run


def test_an_option_stands_above_file_and_environment(settings, tmp_path):
    file = tmp_path / "kite.yaml"
    file.write_text("name: of-the-file\nlogging: {level: debug}\n")
    given, _, size = settings("-c", str(file), "--name", "mine", "--size", "2")
    assert (given.name, given.kafka.bootstrap_servers, size) == ("mine", "environment:1", 2)
    assert given.logging.level == "debug"
    given, words, _ = settings("-b", "option:2", "--log-level", "info")
    assert (given.kafka.bootstrap_servers, given.logging.level) == ("option:2", "info")
    assert words == "words"


def test_a_wrong_option_is_named_as_the_origin(settings):
    with pytest.raises(SettingsError) as caught:
        settings("--bootstrap", "nowhere")
    ((name, _, origin),) = caught.value.problems
    assert (name, origin) == ("kafka.bootstrap_servers", "--bootstrap")


def test_an_option_of_a_setting_has_the_settings_words(settings):
    text = " ".join(settings("--help").split())
    assert "Brokers to begin with" in text
    assert "[default: kafka.bootstrap_servers of the settings]" in text
    for absent in ("--settings", "--mask", "--registry"):
        assert absent not in text


def test_what_many_commands_have_stands_behind_a_commands_own():
    app = typer.Typer(rich_markup_mode=None)

    class Marked(BaseModel):
        id: str | None = None
        dry_run: bool = False
        colour: str = "red"

    @app.command()
    @with_settings("name")
    @with_options(Marked)
    def command(*, settings, timeout: float = 1.0, size: int = 1, **given):
        """Do it."""

    text = CliRunner().invoke(app, ["--help"]).output
    order = ["--size", "--colour", "--dry-run", "--id", "--timeout", "--config", "--name"]
    places = [text.index(flag) for flag in order]
    assert places == sorted(places)
