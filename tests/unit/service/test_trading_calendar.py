from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from connector.errors import SettingsError
from connector.kite import market_hours
from connector.kite.clock import IST
from connector.kite.wire.models import Exchange
from connector.service.trading_calendar import TradingCalendar, listed_until_seconds
from connector.settings.models import Settings

NOON = datetime(2026, 12, 1, 12, 0, tzinfo=IST)


@pytest.fixture(autouse=True)
def shipped_again():
    yield
    market_hours.use(None)


def calendar(file=None):
    accounts = [{"api_key": "k", "access_token": "t"}]
    return TradingCalendar(Settings.model_validate(
        {"accounts": accounts, "trading_days_file": file}
    ))  # fmt: skip


def test_the_operators_file_wins_over_the_connectors_days(tmp_path):
    file = tmp_path / "days.csv"
    file.write_text("day,2026-12-01,NSE,closed,a day of mourning,circular\n")
    assert market_hours.market_open(Exchange.NSE, NOON)
    calendar(file).load()
    assert not market_hours.market_open(Exchange.NSE, NOON)
    assert not market_hours.ticks_expected(Exchange.NSE, NOON)
    assert market_hours.market_open(Exchange.MCX, NOON)
    calendar().load()
    assert market_hours.market_open(Exchange.NSE, NOON)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("# ours\nday,2026-12-01,NSE,shut,a,b\n", "line 2: has 'shut'"), (None, "no such file")],
)
def test_a_wrong_file_ends_the_start_with_the_settings_name(tmp_path, text, reason):
    file = tmp_path / "days.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=reason) as raised:
        calendar(file).load()
    assert raised.value.problems[0].name == "trading_days_file"


def test_a_file_of_another_system_is_read_and_its_lines_are_counted_as_editors_do(tmp_path):
    file = tmp_path / "days.csv"
    file.write_bytes("\ufeff# ours\r\nday,2026-12-01,NSE,closed,a\u2028b,c\r\n".encode())
    calendar(file).load()
    assert not market_hours.market_open(Exchange.NSE, NOON)
    with file.open("a") as more:
        more.write("day,2026-12-02,NSE,shut,a,b\n")
    with pytest.raises(SettingsError, match="line 3: has 'shut'"):
        calendar(file).load()


def test_a_file_without_end_is_not_read(tmp_path):
    file = tmp_path / "days.csv"
    with file.open("wb") as sparse:
        sparse.truncate(market_hours.MAX_FILE_BYTES + 1)
    with pytest.raises(SettingsError, match="more than 1048576 bytes"):
        calendar(file).load()


def warnings(days):
    own = calendar()
    with capture_logs() as logs:
        for day in days:
            own.warn_of_its_end(day)
    return [log["listed_until"] for log in logs if log["event"] == "trading_days_end_soon"]


def test_the_end_of_the_listed_days_is_told_once_a_day_from_thirty_days_before():
    until = market_hours.shipped().listed_until
    end = datetime(until.year, until.month, until.day, 12, tzinfo=IST)
    assert warnings([end - timedelta(days=31)]) == []
    assert warnings([end - timedelta(days=30), end - timedelta(days=30)]) == [until.isoformat()]
    assert len(warnings([end, end + timedelta(days=1), end + timedelta(days=400)])) == 3


def test_the_end_of_a_day_is_midnight_in_india():
    assert listed_until_seconds("2026-12-31") == datetime(2027, 1, 1, tzinfo=IST).timestamp()
    assert listed_until_seconds("9999-12-31") > listed_until_seconds("9999-12-30")
