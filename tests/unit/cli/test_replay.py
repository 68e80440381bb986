"""The options of `kite-connector replay`; what it does is in tests/loopback/test_archive.py."""

import math

import pytest

from connector.cli.replay import _archive, _factor, _target
from connector.errors import SettingsError
from connector.kafka.archive import ArchiveWriter
from connector.kafka.topics import TopicNames
from connector.settings.models import Settings
from tests.support.packets import NSE, ltp
from tests.support.recorded import START_MS, recorded

SETTINGS = Settings.model_validate(
    {"accounts": [{"api_key": "k"}], "topics": {"prefix": "kite", "tick_partitions": 3}}
)


@pytest.mark.parametrize(
    ("text", "factor"), [("1", 1), ("10", 10), ("0.5", 0.5), ("1e3", 1000), ("max", math.inf)]
)
def test_a_speed_is_read(text, factor):
    assert _factor(text) == factor


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1e9", "fast", "1" * 5000, "MAX"])
def test_what_is_no_speed_is_refused_with_what_is_allowed(text):
    with pytest.raises(
        SettingsError, match=r"--speed: .* allowed is a number from 0.001"
    ) as caught:
        _factor(text)
    assert len(str(caught.value)) < 200


def test_topics_that_are_written_to_are_shaped_as_the_settings_say():
    target = _target(SETTINGS, "copy")
    assert target == SETTINGS.topics.model_copy(update={"prefix": "copy"})


@pytest.mark.parametrize("prefix", ["kite", "", "a b", "x" * 200])
def test_a_prefix_that_is_none_or_is_in_use_is_refused(prefix):
    with pytest.raises(SettingsError, match="--into"):
        _target(SETTINGS, prefix)


def test_a_file_ends_with_the_present_unless_another_time_is_given(tmp_path):
    damaged_ms = START_MS + 900 * 365 * 86_400_000
    path = tmp_path / "ticks.parquet"
    with path.open("wb") as file, ArchiveWriter(file) as archive:
        for _, value, _ in recorded([ltp(NSE), ltp(NSE)], [START_MS, damaged_ms]):
            archive.add(value)

    def times(end):
        with _archive(path, TopicNames("copy"), None, None, None, end) as archived:
            return [tick.receive_time_ms for tick in archived], archived.end_ms()

    assert times(None) == ([START_MS], START_MS + 1)
    assert times("3000-01-01") == ([START_MS, damaged_ms], damaged_ms + 1)
