"""Which topics, between which times."""

import pytest

from connector.cli.tick_range import source_topics, time_range
from connector.errors import SettingsError
from connector.settings.models import Settings

SETTINGS = Settings.model_validate({"accounts": [{"api_key": "k"}], "topics": {"prefix": "p"}})


def test_times_are_indias_and_either_may_be_left_out():
    begin, end = "2026-01-30T09:15", "2026-01-30T15:30"
    between = time_range(begin, end)
    assert between == (1_769_744_700_000, 1_769_744_700_000 + 375 * 60_000)
    assert time_range(None, end) == (None, between.to_ms)
    from_ms, to_ms = time_range(begin, None)
    assert from_ms == between.from_ms < to_ms


@pytest.mark.parametrize(
    ("begin", "end", "text"),
    [
        ("noon", None, "--from: 'noon' is no time"),
        (None, "noon", "--to: 'noon' is no time"),
        ("2026-01-02", "2026-01-01", "--from: 2026-01-02 is not before 2026-01-01"),
        ("2999-01-01", None, "2999-01-01 is not before now"),
    ],
)
def test_times_with_nothing_between_them_are_refused(begin, end, text):
    with pytest.raises(SettingsError) as caught:
        time_range(begin, end)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("exchanges", "topics", "read"),
    [
        (["nse", "NFO"], None, ["p.ticks.nse", "p.ticks.nfo"]),
        (None, ["p.latest", "p.latest"], ["p.latest"]),
        (["nse"], ["p.latest"], ["p.ticks.nse", "p.latest"]),
    ],
)
def test_topics_are_those_named(exchanges, topics, read):
    assert source_topics(SETTINGS, exchanges, topics) == read


def test_without_a_name_all_exchanges_are_read():
    assert len(source_topics(SETTINGS, None, None)) == 10
