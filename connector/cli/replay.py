"""`kite-connector replay`: ticks of topics or of a file, written again under another prefix."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from connector.cli import interrupt
from connector.cli.options import with_settings
from connector.cli.tick_range import (
    ExchangesOption,
    FromOption,
    ToOption,
    TopicsOption,
    source_topics,
    time_order,
    time_range,
)
from connector.errors import SettingsError

if TYPE_CHECKING:
    from connector.kafka.archive import ArchiveReader
    from connector.kafka.replay import ReplayedTick, TickReplay
    from connector.kafka.time_order import TimeOrder
    from connector.kafka.topics import TopicNames
    from connector.settings.models import Settings
    from connector.settings.topics import TopicSettings

_SLOWEST: Final = 0.001
_FASTEST: Final = 1_000_000


@with_settings("bootstrap", "registry", "prefix", "name")
def replay(
    *,
    settings: Settings,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="Read this file of `export`; the topics when none is given."
        ),
    ] = None,
    into: Annotated[
        str,
        typer.Option(
            "--into",
            metavar="PREFIX",
            help="Write into the topics of this prefix, which is not the one of the settings.",
        ),
    ],
    exchanges: ExchangesOption = None,
    topics: TopicsOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    speed: Annotated[
        str,
        typer.Option(
            "--speed",
            metavar="FACTOR",
            help="Write so many times as fast as the ticks came, such as 10 or 0.5; max is as "
            "fast as Kafka takes them.",
        ),
    ] = "1",
    times: Annotated[
        Literal["keep", "move"],
        typer.Option(
            "--times",
            help="Keep the times of the ticks, or move all of them by one amount, as near to the "
            "present as they can come.",
        ),
    ] = "keep",
) -> None:
    """Write ticks of topics or of a file again, into the topics of another prefix.

    In order of time, each as long after the first as it was received. Makes the topics and
    registers the schema, as the connector does. Ctrl-C ends it, with what was written.
    """
    import asyncio

    from connector.cli.progress import TimeBar
    from connector.kafka.archive import ArchiveReader
    from connector.kafka.replay import TickReplay, from_archive, from_topics
    from connector.kafka.topics import TopicNames

    factor, target = _factor(speed), _target(settings, into)
    names = TopicNames(target.prefix)
    with interrupt.asks_to_stop() as stop, contextlib.ExitStack() as opened:
        source: ArchiveReader | TimeOrder
        if file is None:
            read, between = source_topics(settings, exchanges, topics), time_range(begin, end)
            # else it would read what it writes, for ever
            _refuse_both(read, names)
            order = time_order(settings, "replay", read, between, stop)
            source = opened.enter_context(order)
        else:
            archive = _archive(file, names, exchanges, topics, begin, end)
            source = opened.enter_context(archive)
        end_ms = source.end_ms()
        ids = asyncio.run(_prepare(settings, target))
        ticks = (
            from_archive(source, names, ids)
            if isinstance(source, ArchiveReader)
            else from_topics(source)
        )
        run = TickReplay(
            settings.kafka,
            f"{settings.name}-replay",
            names,
            speed=factor,
            end_ms=end_ms if times == "move" else None,
            stop=stop,
        )
        try:
            with TimeBar(end_ms) as bar:
                run.run(bar.follow(_watched(ticks, target, times), lambda one: one.time_ms))
        finally:
            _say(run, names)
        if stop():
            raise typer.Exit(interrupt.EXIT_CODE)


def _archive(
    file: Path,
    names: TopicNames,
    exchanges: Sequence[str] | None,
    topics: Sequence[str] | None,
    begin: str | None,
    end: str | None,
) -> ArchiveReader:
    """Open the part of a file that is asked for.

    Raises:
        SettingsError: an option is wrong, or not for files.
    """
    from connector.cli.tail_choice import exchange_topics
    from connector.kafka.archive import ArchiveReader

    if topics:
        raise SettingsError.of("--topic", "is for topics, and FILE is given")
    between, chosen = time_range(begin, end), exchange_topics(exchanges or (), names)
    every = names.all_ticks().items()
    return ArchiveReader(
        file,
        exchanges=[one for one, topic in every if topic in chosen] if exchanges else (),
        from_ms=between.from_ms,
        # nothing was received later than now: a damaged time would be waited for, or all others
        # moved by it
        to_ms=between.to_ms,
    )


def _factor(text: str) -> float:
    """Return a speed; infinite for `max`.

    Raises:
        SettingsError: it is none.
    """
    if text == "max":
        return math.inf
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not _SLOWEST <= factor <= _FASTEST:
        allowed = f"a number from {_SLOWEST:g} to {_FASTEST:g}, or max"
        raise SettingsError.of("--speed", f"{text[:20]!r} is no speed; allowed is {allowed}")
    return factor


def _target(settings: Settings, prefix: str) -> TopicSettings:
    """Return the shape of the topics that are written to.

    Raises:
        SettingsError: the prefix is none, or the one that the settings have.
    """
    from pydantic import ValidationError

    from connector.settings.topics import TopicSettings

    if prefix == settings.topics.prefix:
        raise SettingsError.of(
            "--into", f"{prefix} is the prefix that is read, or that a connector writes"
        )
    try:
        return TopicSettings.model_validate({**settings.topics.model_dump(), "prefix": prefix})
    except ValidationError as exc:
        raise SettingsError.of("--into", f"{prefix[:20]!r} is no prefix of topics") from exc


def _refuse_both(read: Sequence[str], names: TopicNames) -> None:
    """See that no topic is read and written.

    Raises:
        SettingsError: one is.
    """
    if both := sorted(set(read) & set(names.all_ticks().values())):
        raise SettingsError.of("--into", f"{', '.join(both)} would be read and written")


async def _prepare(settings: Settings, target: TopicSettings) -> dict[str, int]:
    """Make the topics and register their schema; returns its id by topic."""
    from connector.kafka.registry import register_schemas, topic_schemas
    from connector.kafka.topics import TopicNames, ensure_topics

    names = TopicNames(target.prefix)
    ticks = set(names.all_ticks().values())
    await ensure_topics(settings.kafka, target, slots=1, only=ticks)
    others = set(topic_schemas(names)) - ticks
    return await register_schemas(settings.registry, names, without=others)


def _watched(
    ticks: Iterator[ReplayedTick], target: TopicSettings, times: str
) -> Iterator[ReplayedTick]:
    """Yield the ticks, and say first if the brokers would delete them at once."""
    for number, tick in enumerate(ticks):
        hours = target.tick_retention_hours
        if number == 0 and times == "keep" and time.time() - tick.time_ms / 1000 > hours * 3600:
            typer.echo(
                f"the ticks are older than the {hours:g} h of topics.tick_retention_hours: brokers "
                "delete them within minutes, unless a topic's retention.ms is longer",
                err=True,
            )
        yield tick


def _say(run: TickReplay, names: TopicNames) -> None:
    """Say what was written, and how far it came."""
    from connector.cli.moments import text_of

    reached = "" if run.reached_ms is None else f", up to {text_of(run.reached_ms)}"
    typer.echo(f"{run.written:,} ticks in {names.prefix}.ticks.*{reached}")
    if run.left_out:
        typer.echo(f"{run.left_out:,} records were no ticks, and are left out", err=True)
