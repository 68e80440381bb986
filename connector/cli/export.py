"""`kite-connector export`: ticks out of Kafka into a Parquet file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

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
    from connector.kafka.archive import ArchiveWriter
    from connector.kafka.time_order import TimeOrder
    from connector.settings.models import Settings


@with_settings("bootstrap", "prefix", "name")
def export(
    *,
    settings: Settings,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Write this Parquet file."),
    ],
    exchanges: ExchangesOption = None,
    topics: TopicsOption = None,
    begin: FromOption = None,
    end: ToOption = None,
) -> None:
    """Write the ticks between two times into a Parquet file, flat, in order of time.

    Reads without a consumer group. The file gets its name when it is whole: after an error or
    Ctrl-C there is none, or the one from before. Needs kite-connector[arrow].
    """
    from connector.codec.rows.tables import value_schema
    from connector.kafka.archive import ArchiveWriter

    value_schema()  # first of all: pyarrow may not be there
    if output == Path("-"):  # to other programs the standard output, and here a file's name
        raise SettingsError.of("--output", "- is no file: a Parquet file is whole or not there")
    between, read = time_range(begin, end), source_topics(settings, exchanges, topics)
    with (
        interrupt.asks_to_stop() as stop,
        time_order(settings, "export", read, between, stop) as order,
        _whole_file(output) as file,
        ArchiveWriter(file) as archive,
    ):
        left_out = _copy(order, archive)
        if stop():
            typer.echo("kite-connector: ended early, and nothing is written", err=True)
            raise typer.Exit(interrupt.EXIT_CODE)
    typer.echo(f"{archive.ticks:,} ticks in {output}, {output.stat().st_size:,} bytes")
    if left_out:
        typer.echo(f"{left_out:,} records were no ticks, and are left out", err=True)


def _copy(order: TimeOrder, archive: ArchiveWriter) -> int:
    """Add the records that are ticks; returns how many are none."""
    from connector.cli.progress import TimeBar
    from connector.kafka.reader import bytes_of

    left_out = 0
    with TimeBar(order.end_ms()) as bar:
        for message in bar.follow(order, lambda one: one.timestamp()[1]):
            try:
                archive.add(bytes_of(message.value()) or b"")
            except ValueError:
                left_out += 1
    return left_out


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file that takes the place of `path` at the end, unless there is an error before.

    Raises:
        SettingsError: it cannot be made.
        OSError: there is no room for it.
    """
    from connector.files import beside

    try:
        with beside(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path.resolve())
    except OSError as exc:
        if exc.filename is None:
            raise
        raise SettingsError.of("--output", f"{path} cannot be written: {exc.strerror}") from exc
