from collections import deque

import pytest
from typer.testing import CliRunner

from connector.cli import app
from connector.cli.feed import KeptLines
from connector.errors import SettingsError


def test_lines_are_remembered():
    lines = deque(maxlen=2)
    stream = KeptLines(lines)
    assert stream.write("one\n\ntwo\nthree\n") == 15
    assert list(lines) == ["two", "three"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"fault": ["earthquake"]}, "--fault"),
        ({"instruments": 0}, "--instruments"),
        ({"burst_seconds": 20.0}, "options"),
    ],
)
def test_a_wrong_option_of_the_simulator_is_named(given, problem):
    from connector.cli.feed import simulate

    with pytest.raises(SettingsError, match=problem):
        simulate(api_key=None, access_token=None, log_format="auto", **{"fault": None, **given})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "capture"),
        (b"tokens and prices", "it does not begin as one"),
    ],
)
def test_a_bad_capture_is_refused_at_once(tmp_path, content, problem):
    file = tmp_path / "day.capture"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(app, ["simulate", "--replay", str(file)])
    assert problem in str(result.exception)
