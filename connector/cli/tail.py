"""The command that shows what arrives in Kafka: `kite-connector tail`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from connector.cli import interrupt
from connector.cli.options import with_settings
from connector.errors import SettingsError
from connector.redaction import first_of

if TYPE_CHECKING:
    from connector.cli.tail_choice import Choice
    from connector.cli.tail_lines import Lines
    from connector.kafka.tail import Since
    from connector.kafka.topics import TopicNames
    from connector.settings.models import Settings


@with_settings("bootstrap", "registry", "prefix", "name", log_level="warning")
def tail(
    *,
    settings: Settings,
    topics: Annotated[
        list[str] | None,
        typer.Argument(
            help="Exchanges, such as nse and nfo, or orders, events, deadletter, control, replies, "
            "subscriptions, instruments, latest, backfill; when none is named, all exchanges that "
            "have what is asked for."
        ),
    ] = None,
    symbols: Annotated[
        list[str] | None,
        typer.Option(
            "--symbol",
            "-s",
            help="Only instruments of this name: INFY, NSE:INFY, 'NFO:NIFTY*'. May be repeated.",
        ),
    ] = None,
    tokens: Annotated[
        list[int] | None,
        typer.Option(
            "--token",
            "-t",
            min=1,
            max=0xFFFF_FFFF,
            help="Only the instrument of this token. May be repeated.",
        ),
    ] = None,
    watchlist: Annotated[
        str | None, typer.Option("--watchlist", "-w", help="Only what this watchlist claims now.")
    ] = None,
    exchanges: Annotated[
        list[str] | None,
        typer.Option("--exchange", "-e", help="Only this exchange's instruments. May be repeated."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            help="Begin so long ago (90s, 5m, 2h, 1d), at a time in India (09:15, "
            "2026-01-30T09:15), at an offset (1200), or with the last of each partition (-100).",
        ),
    ] = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest record.")
    ] = False,
    until_end: Annotated[
        bool, typer.Option("--until-end", help="End with the records that are there now.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="End after so many records.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines; they are what a pipe gets anyway.")
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV under a header, for topics of one kind.")
    ] = False,
) -> None:
    """Show what arrives in Kafka, decoded: a table on a terminal, JSON lines otherwise.

    Reads without a consumer group and leaves nothing behind. Ctrl-C ends it.
    """
    import asyncio
    from datetime import UTC, datetime

    interrupt.is_the_end()
    from connector.cli.tail_choice import Choice, parse_since
    from connector.kafka.topics import TopicNames

    _refuse_both(("--json", as_json), ("--csv", as_csv))
    _refuse_both(("--since", since is not None), ("--from-beginning", from_beginning))
    start: Any = "earliest" if from_beginning else "latest"
    if since is not None:
        start = parse_since(since, datetime.now(UTC))
    names = TopicNames(settings.topics.prefix)
    choice = Choice(
        names,
        topics or (),
        symbols=symbols or (),
        tokens=tokens or (),
        exchanges=exchanges or (),
        watchlist=None if watchlist is None else _claimed(settings, names, watchlist),
    )
    lines = _lines(names, choice, as_json=as_json, as_csv=as_csv)
    asyncio.run(_tail(settings, choice, lines, start, follow=not until_end, limit=limit))


async def _tail(
    settings: Settings,
    choice: Choice,
    lines: Lines,
    start: Since | Any,
    *,
    follow: bool,
    limit: int | None,
) -> None:
    import contextlib
    from collections.abc import AsyncGenerator
    from typing import cast

    from connector.kafka.tail import tail as records
    from connector.kafka.topics import TopicNames

    shown = 0
    stream = records(
        settings.kafka,
        settings.registry,
        TopicNames(settings.topics.prefix),
        choice.topics,
        start=start,
        follow=follow,
        wanted=choice if choice.filters else None,
        name=settings.name,
    )
    async with contextlib.aclosing(cast(AsyncGenerator[Any], stream)):
        async for record in stream:
            sys.stdout.write(lines.of(record) + "\n")
            sys.stdout.flush()
            shown += 1
            if shown == limit:
                return


def _lines(names: TopicNames, choice: Choice, *, as_json: bool, as_csv: bool) -> Lines:
    import shutil

    from connector.cli import tail_lines

    if as_csv:
        return tail_lines.CsvLines(choice.topics, names)
    if as_json or not sys.stdout.isatty():
        return tail_lines.JsonLines()
    return tail_lines.TableLines(names, lambda: shutil.get_terminal_size().columns)


def _claimed(settings: Settings, names: TopicNames, watchlist: str) -> set[int]:
    """Return the tokens that a watchlist claims at this moment.

    Raises:
        SettingsError: there is no such watchlist, with those that there are.
    """
    from connector.control.client import ControlClient

    with ControlClient(settings.kafka, names, name=settings.name) as client:
        carried = client.subscribed().carried
    claims = {token: one.subscription.claims for token, one in carried.items()}
    found = {token for token, claimants in claims.items() if watchlist in claimants}
    if found:
        return found
    known = sorted({name for claimants in claims.values() for name in claimants})
    few = first_of(known, 20) or "none"
    raise SettingsError.of("--watchlist", f"{watchlist!r} claims nothing; there are {few}")


def _refuse_both(*options: tuple[str, bool]) -> None:
    given = [name for name, is_given in options if is_given]
    if len(given) > 1:
        raise SettingsError.of(" and ".join(given), "say different things: give one")
