"""What holds of every command: what its help says, how wide it is, and what it imports."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import connector
from connector.cli import app
from connector.cli.options import ConfigOption
from connector.settings.source import CONFIG_VARIABLE

HEAVY = [
    "aiohttp", "asyncio", "confluent_kafka", "fastavro", "numpy", "prometheus_client", "pydantic",
    "rich", "structlog", "uvloop", "websockets", "yaml",
]  # fmt: skip
RUNNER = CliRunner(env={"TERMINAL_WIDTH": "80", "COLUMNS": "80"})


def commands(command=None, path=()):
    """(words, command) of the program, its groups and their commands."""
    command = command or typer.main.get_command(app)
    yield path, command
    for name in getattr(command, "commands", ()):
        yield from commands(command.commands[name], (*path, name))


ALL = {" ".join(path): command for path, command in commands()}


def help_of(words):
    result = RUNNER.invoke(app, [*words.split(), "--help"], prog_name="kite-connector")
    assert result.exit_code == 0, result.output
    return result.output


def described(command):
    """(name, text) of each option and argument."""
    for parameter in command.params:
        yield parameter.name, parameter.help or ""


def is_sentence(text):
    text = re.sub(r"\s*\[default: .*\]$", "", text)
    # a sentence may begin with the value that it is about
    begins = text[:1].isupper() or text.startswith("subscription sends")
    return begins and text.endswith(".") and text.count(" ") >= 2


def test_there_are_commands_in_groups():
    assert {"", "run", "ctl", "ctl subscribe", "ctl watch", "schemas flink"} <= set(ALL)


@pytest.mark.parametrize("words", ALL)
def test_help_fits_eighty_columns_and_nothing_is_cut(words):
    text = help_of(words)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    # a value is named in words: FILE, SECONDS, or the choices there are
    assert not re.search(r"<(?:list|str|int|float|path|datetime|%)", text), text
    # click writes three dots for what may be repeated, and for what it has cut
    assert not re.search(r"\.\.\.$", text.replace("]...\n", "]\n"), re.MULTILINE), text


@pytest.mark.parametrize("words", ALL)
def test_help_has_whole_sentences(words):
    summary = (ALL[words].help or "").partition("\n\n")[0]
    assert is_sentence(summary), summary
    for name, text in described(ALL[words]):
        assert is_sentence(text), (name, text)


@pytest.mark.parametrize("words", ["", "ctl", "schemas"])
def test_a_group_lists_each_command_with_its_first_sentence(words):
    text = " ".join(help_of(words).split())
    for name, command in ALL[words].commands.items():
        summary = " ".join(command.help.partition("\n\n")[0].split())
        assert f"{name} {summary}" in text


def test_each_type_of_command_is_a_command_of_ctl_with_each_of_its_fields():
    from typing import get_args

    from connector.control.commands import Command

    for model in get_args(Command):
        (kind,) = get_args(model.model_fields["type"].annotation)
        if kind in {"status", "sequence"}:  # it tells the owners too; `apply` is its face
            continue
        names = {parameter.name for parameter in ALL[f"ctl {kind}"].params}
        assert set(model.model_fields) - {"type"} <= names


def test_the_settings_file_is_found_as_the_help_says():
    assert f"${CONFIG_VARIABLE}]" in ConfigOption.__metadata__[0].help


def imported_by(code):
    listed = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('', *sys.modules, sep='\\n')"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name for name in listed.stdout.splitlines() if name in HEAVY}


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], ["version"], ["run", "-x"]])
def test_help_and_version_import_nothing_that_costs(words):
    light = words != ["run", "-x"]
    code = f"""
from connector.cli import main
sys.argv = ["kite-connector", *{words!r}]
try:
    main()
except SystemExit as end:
    assert end.code == (0 if {light} else 2), end.code
"""
    if light:
        assert not imported_by(code)
    else:  # a test of this test: the options of a command are made of its models
        assert "pydantic" in imported_by(code)


@pytest.mark.parametrize("words", ["ctl", "ctl subscribe", "simulate", "tail", "login"])
def test_no_help_imports_a_client(words):
    code = f"from connector.cli.program import run\nrun({[*words.split(), '--help']!r})"
    assert imported_by(code) <= {"asyncio", "pydantic", "yaml"}


def test_the_library_is_imported_when_a_name_is_used():
    assert not imported_by("import connector\ndir(connector)")
    assert not imported_by("from connector import Mode, Tick, parse_frame, ConnectorError")
    assert {"websockets"} <= imported_by("from connector import KiteTickerAsync")
    assert {"websockets"} <= imported_by("from connector import *")


def test_type_checkers_and_the_interpreter_find_the_same_names():
    source = ast.parse(Path(connector.__file__).read_text())
    (block,) = [node for node in source.body if isinstance(node, ast.If) and "typing" in
                ast.dump(node.test) and not isinstance(node.test, ast.UnaryOp)]  # fmt: skip
    declared = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert declared == connector._HOME_OF
    assert sorted(declared) == sorted(connector.__all__)
    assert set(connector.__all__) < set(dir(connector))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = connector.Nonsense
