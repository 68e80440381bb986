"""The command that shows when the exchanges trade: `kite-connector calendar`."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.kite.market_hours import Day, Hours, MarketHours

MAX_DAYS: Final = 366


def calendar(
    *,
    day: Annotated[
        datetime | None,
        typer.Option(
            "--date", formats=["%Y-%m-%d"], help="Begin with this day. [default: today in India]"
        ),
    ] = None,
    days: Annotated[
        int, typer.Option("--days", "-n", min=1, max=MAX_DAYS, help="Show so many days.")
    ] = 1,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file", help="Add the days of this file, written as those of --print-file are."
        ),
    ] = None,
    print_file: Annotated[
        bool,
        typer.Option("--print-file", help="Print the file that comes with the connector, and end."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Show when each exchange trades on a day, and where that is known from.

    Times are India's. Holidays, Muhurat trading and weekend sessions are listed for some years
    only; a day beyond them is marked, since only its weekday is known.
    """
    from connector.kite import market_hours
    from connector.kite.clock import IST
    from connector.kite.wire.models import Exchange

    if print_file:
        typer.echo("\n".join(market_hours.shipped_lines()))
        return
    hours = _with(file) if file is not None else market_hours.shipped()
    first = day.date() if day is not None else datetime.now(IST).date()
    if days > (date.max - first).days + 1:
        raise SettingsError.of("--days", f"from {first} on there are not so many")
    for number in range(days):
        shown = first + timedelta(number)
        found = {exchange.name: hours.day(exchange, shown) for exchange in Exchange}
        if as_json:
            for name, one in found.items():
                typer.echo(json.dumps(_fields(shown, name, one)))
        else:
            _print(shown, found)


def _with(file: Path) -> MarketHours:
    from connector.files import UnusableFileError
    from connector.kite import market_hours

    try:
        return market_hours.with_file(file)
    except (UnusableFileError, ValueError) as exc:
        raise SettingsError.of(str(file), str(exc)) from None


def _fields(day: date, exchange: str, found: Day) -> dict[str, object]:
    return {
        "date": day.isoformat(),
        "exchange": exchange,
        "sessions": [
            {"opens": f"{one.opens:%H:%M}", "steady_until": f"{one.steady_until:%H:%M}",
             "closes": f"{one.closes:%H:%M}"}
            for one in found.sessions
        ],
        "reason": found.reason,
        "source": found.source,
        "holidays_listed": found.listed,
    }  # fmt: skip


def _print(day: date, found: dict[str, Day]) -> None:
    """Print one line for all exchanges that trade alike on this day."""
    alike: dict[Day, list[str]] = {}
    for name, one in found.items():
        alike.setdefault(one, []).append(name)
    typer.echo(f"{day:%A} {day.isoformat()}, times of India")
    rows = [(" ".join(names), _text(one.sessions), _why(one)) for one, names in alike.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for names_text, sessions, why in rows:
        typer.echo(f"  {names_text:{widths[0]}}  {sessions:{widths[1]}}  {why}".rstrip())


def _text(sessions: tuple[Hours, ...]) -> str:
    return ", ".join(f"{one.opens:%H:%M}-{one.closes:%H:%M}" for one in sessions) or "closed"


def _why(found: Day) -> str:
    source = f" ({found.source})" if found.source else ""
    unlisted = "" if found.listed else "; holidays of this time are not listed"
    return f"{found.reason}{source}{unlisted}"
