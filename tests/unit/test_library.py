"""The library's public face: its names, and what its guide says of them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import connector
from connector import testing

GUIDE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_public_names_are_those_of_the_guide():
    listed = re.findall(r"`(\w+)`", GUIDE.read_text().split("## Every name")[1])
    assert sorted(listed) == sorted(connector.__all__)
    assert len(set(listed)) == len(listed)


def test_the_guide_names_all_of_testing():
    section = GUIDE.read_text().split("## Tests of your program")[1].split("## Every name")[0]
    assert set(testing.__all__) <= set(re.findall(r"\w+", section))
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)


def test_every_public_name_exists_and_is_documented():
    for name in connector.__all__:
        value = getattr(connector, name)
        # a NewType's docstring is not its own
        assert name == "ChannelId" or value.__doc__, name


def test_nothing_else_is_public():
    modules = {
        "cluster",
        "codec",
        "control",
        "errors",
        "kafka",
        "kite",
        "ops",
        "simulator",
        "testing",
    }
    public = {
        name
        for name, value in vars(connector).items()
        if not name.startswith("_") and not isinstance(value, type(sys))
    }
    assert public - set(connector.__all__) <= modules


@pytest.mark.parametrize("module", ["confluent_kafka", "aiohttp", "fastavro", "typer"])
def test_the_library_alone_loads_none_of_the_services_parts(module):
    code = f"import sys, connector; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_guides_events_and_states_exist():
    text = GUIDE.read_text()
    for name in re.findall(r"\b[A-Z][A-Z]+(?:_[A-Z]+)+\b", text):
        known = [
            connector.EventType, connector.ConnectionState, connector.ChannelPolicy,
        ]  # fmt: skip
        assert any(name in enum.__members__ for enum in known), name
