from datetime import UTC, datetime

import pytest

from connector.cli.moments import in_india, moment_ms, text_of
from connector.errors import SettingsError

NOW = datetime(2026, 1, 5, 20, 0, tzinfo=UTC)  # 01:30 of the next day in India


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("90s", datetime(2026, 1, 5, 19, 58, 30, tzinfo=UTC)),
        ("15m", datetime(2026, 1, 5, 19, 45, tzinfo=UTC)),
        ("2h", datetime(2026, 1, 5, 18, 0, tzinfo=UTC)),
        ("3d", datetime(2026, 1, 2, 20, 0, tzinfo=UTC)),
        ("9:15", datetime(2026, 1, 6, 3, 45, tzinfo=UTC)),
        ("today", datetime(2026, 1, 5, 18, 30, tzinfo=UTC)),
        ("2026-01-05T09:15", datetime(2026, 1, 5, 3, 45, tzinfo=UTC)),
        ("2026-01-05", datetime(2026, 1, 4, 18, 30, tzinfo=UTC)),
        ("2026-01-05T09:15Z", datetime(2026, 1, 5, 9, 15, tzinfo=UTC)),
        ("2026-01-05T09:15:00.250+05:30", datetime(2026, 1, 5, 3, 45, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_a_time_is_read(text, expected):
    assert moment_ms(text, "--since", NOW) == round(expected.timestamp() * 1000)


def test_what_is_before_1970_is_1970():
    assert moment_ms("999999d", "--since", NOW) == 0


@pytest.mark.parametrize("text", ["", "yesterday", "12", "2026-13-01", "-1h", "99999999d", "25:00"])
def test_what_is_no_time_is_refused_with_the_option_and_examples(text):
    with pytest.raises(SettingsError, match="is no time; allowed are 90s, 5m") as caught:
        moment_ms(text, "--from", NOW)
    assert caught.value.problems[0].name == "--from"


def test_a_time_is_written_as_it_is_read():
    assert text_of(1_769_744_700_123) == "2026-01-30T09:15:00.123+05:30"
    assert moment_ms(text_of(1_769_744_700_123), "--from", NOW) == 1_769_744_700_123


@pytest.mark.parametrize("at_ms", [-(10**15), 10**15, 2**62, 253_402_300_800_000])
def test_a_time_that_no_calendar_has_is_said_to_be_none(at_ms):
    """Damaged values have such, and what is shown of them must not end a command."""
    assert in_india(at_ms) is None
    assert text_of(at_ms) == "no time"
