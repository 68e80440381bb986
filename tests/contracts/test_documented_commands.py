"""What the documentation tells to type is accepted by what it is typed to.

Commands of the connector are given to its own parser; make's targets, the chart's values and the
compose file's services must exist; settings and Python must be right. The blocks that need a
broker are run by tests/loopback/test_documented_programs.py and the integration tests.
"""

import ast
import itertools
import re
import textwrap

import pytest
import typer
import yaml

from connector.cli import app
from connector.control.plan import parse_watchlists
from connector.settings.models import Settings
from connector.settings.source import load
from tests.support.documented import PAGES, ROOT, all_blocks, inline_code, shell_lines, words_of

ENDS = {"|", "||", "&", "&&", ";", "<", ">", ">>", "<<<"}
CHART = ROOT / "deploy/helm/kite-connector"
# what stands for something else in a page
PLACEHOLDERS = {"SLOT": "1", "FILE": "file", "NAME": "name", "PATH": "path"}


def segments(words):
    """The commands between pipes and the like."""
    found = [[]]
    for word in words:
        if word in ENDS:
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]


def documented():
    """(where, words) of each command in a block or between backquotes."""
    for block in all_blocks():
        if block.is_shell:
            for line in shell_lines(block.text):
                for words in segments(words_of(line)):
                    yield f"{block.page}:{block.line}", words
    for page, text in inline_code():
        if re.match(r"(kite-connector|make|helm|docker) \w", text):
            for words in segments(words_of(text)):
                yield page, words


COMMANDS = list(documented())


def own_commands():
    for where, words in COMMANDS:
        if "kite-connector" in words:
            at = words.index("kite-connector")
            # `docker build -t kite-connector .` is no call of it
            if at == 0 or words[at - 1] in {"--", "connector"}:
                yield where, words[at + 1 :]


def parse(arguments):
    """What the command line has against these arguments, None when nothing; runs no command."""
    command = typer.main.get_command(app)
    context, rest = None, list(arguments)
    try:
        while True:
            name = command.name or "kite-connector"
            context = command.make_context(name, rest, parent=context)
            rest = [*context._protected_args, *context.args]
            if not hasattr(command, "resolve_command") or not rest:
                return None
            _, command, rest = command.resolve_command(context, rest)
    except typer.Exit as end:  # --help
        return None if end.exit_code == 0 else f"exit code {end.exit_code}"
    except Exception as error:  # noqa: BLE001 - whichever click typer brings
        return f"{type(error).__name__}: {getattr(error, 'message', '')}"


OWN = sorted({(where, tuple(words)) for where, words in own_commands()})


def test_there_are_commands_to_look_at():
    assert len(OWN) > 40
    pages = {where.partition(":")[0] for where, _ in OWN}
    assert {
        "README.md",
        "docs/getting-started.md",
        "docs/control.md",
        "docs/deployment.md",
    } <= pages


@pytest.mark.parametrize(("where", "words"), OWN, ids=str)
def test_the_connector_knows_the_command(where, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("kite.yaml", "instruments.txt", "file"):
        (tmp_path / name).touch()
    arguments = [PLACEHOLDERS.get(word, word) for word in words]
    if arguments[-1] in {"…", "-c"}:
        del arguments[-1]
    refusal = parse(arguments)
    if ":" not in where and refusal is not None:
        # between backquotes often stands a beginning only
        assert refusal.startswith(("MissingParameter", "NoArgsIsHelp")), refusal
    else:
        assert refusal is None


@pytest.mark.parametrize(
    "line",
    [
        "frobnicate",
        "tail nse --follow",
        "ctl subscribe -m best X",
        "ctl reconnect",
        "run kite.yaml",
    ],
)
def test_a_wrong_command_is_refused(line):
    assert parse(line.split())


def test_make_has_the_targets():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {
        (where, word)
        for where, words in COMMANDS
        if "make" in words
        for word in words[words.index("make") + 1 :]
        if re.fullmatch(r"[a-z-]+", word)
    }
    assert len(asked) > 5
    assert not {(where, word) for where, word in asked if word not in targets}


def test_the_chart_has_the_values():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema_only = {"settings"}  # checked by the chart's schema, and by its tests
    for where, words in COMMANDS:
        if words[0] != "helm":
            continue
        for before, word in itertools.pairwise(words):
            if before == "--set":
                here = values
                for name in word.partition("=")[0].split("."):
                    assert name in here, (where, word)
                    here = here[name]
                    if name in schema_only:
                        break
            if before == "-f" and word != "values.yaml":
                assert (ROOT / word).exists(), (where, word)
            if word.startswith("deploy/"):
                assert (ROOT / word).exists(), (where, word)


def test_the_compose_file_has_the_services():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    profiles = {name for each in compose["services"].values() for name in each.get("profiles", ())}
    seen = set()
    for where, words in COMMANDS:
        if words[:2] != ["docker", "compose"]:
            continue
        if "--profile" in words:
            assert words[words.index("--profile") + 1] in profiles, where
        rest = [word for word in words[2:] if not word.startswith("-") and word not in profiles]
        names = rest[1:2] if rest[0] == "exec" else rest[1:]
        assert set(names) <= set(compose["services"]), where
        seen.update(names)
    assert {"connector", "connector-live"} <= seen


def test_files_that_commands_name_exist():
    named = re.compile(r"(?<![\w/])(?:examples|requirements|deploy)/[\w./-]+\.\w+")
    for block in all_blocks():
        if block.is_shell:
            for name in named.findall(block.text):
                assert (ROOT / name).exists(), (block.page, name)


YAML = [
    block
    for block in all_blocks("yaml")
    if "helm" not in block.page and block.page != "docs/deployment.md"
]
WATCHLISTS = [block for block in YAML if block.text.startswith("watchlists:")]
SETTINGS = [block for block in YAML if block not in WATCHLISTS]


@pytest.mark.parametrize("block", SETTINGS, ids=lambda block: f"{block.page}:{block.line}")
def test_settings_are_accepted(block, tmp_path):
    file = tmp_path / "kite.yaml"
    password = tmp_path / "password"
    password.write_text("p")
    file.write_text(block.text.replace("/etc/kite/password", str(password)))
    environment = {
        # what the page says to give in the environment, or shows in another block
        "KITE_ACCOUNTS__0__API_KEY": "k" if "api_key" not in block.text else "",
    }
    settings = load(file, {name: value for name, value in environment.items() if value}).settings
    assert settings != Settings.model_validate({"accounts": [{"api_key": "k"}]})


def test_files_of_watchlists_are_accepted():
    assert WATCHLISTS
    for block in WATCHLISTS:
        assert parse_watchlists(yaml.safe_load(block.text)).watchlists


def test_there_are_settings_on_the_pages():
    assert {block.page for block in SETTINGS} >= {
        "README.md", "docs/getting-started.md", "docs/settings.md", "docs/security.md",
        "docs/login.md",
    }  # fmt: skip


@pytest.mark.parametrize(
    "block", all_blocks("python"), ids=lambda block: f"{block.page}:{block.line}"
)
def test_python_is_python(block):
    compile(textwrap.dedent(block.text), block.page, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_every_language_is_known():
    """A block of another one would be looked at by nobody."""
    known = {"", "sh", "yaml", "json", "python", "java", "sql"}
    assert {block.language for block in all_blocks()} <= known
    fences = sum(
        len(re.findall(r"^ *```", page.read_text("utf-8"), re.MULTILINE)) for page in PAGES
    )
    assert fences == 2 * len(all_blocks())
