"""The trading calendar that the service goes by: the operators' file, and when its days end."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Final

import structlog

from connector.errors import SettingsError
from connector.files import UnusableFileError
from connector.kite import market_hours
from connector.kite.clock import IST
from connector.settings.models import Settings

WARNING_DAYS: Final = 30
"""The log says so many days before that the listed days end."""
_log = structlog.get_logger("connector.service.trading_calendar")


class TradingCalendar:
    """Belongs to the service, and is looked at once a second.

    Args:
        settings: whose file is set over the days that come with the connector.
    """

    def __init__(self, settings: Settings) -> None:
        self._file = settings.trading_days_file
        # the day on which it was last logged
        self._told: date | None = None

    def load(self) -> None:
        """Read the file anew, and go by it in this process.

        Raises:
            SettingsError: it cannot be read; a wrong line is named by its number.
        """
        if self._file is None:
            market_hours.use(None)
            return
        try:
            market_hours.use(market_hours.with_file(self._file))
        except (UnusableFileError, ValueError) as exc:
            raise SettingsError.of("trading_days_file", f"{self._file}: {exc}") from None

    def warn_of_its_end(self, now: datetime) -> None:
        """Log, once a day, that the listed days end soon.

        Args:
            now: an aware time.
        """
        today = now.astimezone(IST).date()
        until = market_hours.in_use().listed_until
        if today == self._told or until - today > timedelta(days=WARNING_DAYS):
            return
        self._told = today
        _log.warning(
            "trading_days_end_soon",
            listed_until=until.isoformat(),
            advice="install a newer release, or add days in a file (trading_days_file)",
        )


def listed_until_seconds(day: str) -> float:
    """The end of a day in India, ISO 8601, in seconds since 1970."""
    begins = datetime.combine(date.fromisoformat(day), time(), IST)
    return begins.timestamp() + timedelta(1).total_seconds()
