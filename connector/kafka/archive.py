"""Ticks as a Parquet file: a row a record, flat, with the columns of `ticks_to_arrow`.

Behind those stand the stream's own: slot, session_id, sequence, snapshot. Memory goes with a group
of rows, whatever the file's size. pyarrow is no requirement of this package: the extra `arrow`
brings it.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, Self

from connector.codec.rows import COLUMNS, NULLABLE, Columns, body_of
from connector.codec.rows.tables import BATCH_ROWS, batch_of, value_schema
from connector.errors import ArchiveError
from connector.files import UnusableFileError, check_file
from connector.kite.wire.models import Exchange
from connector.kite.wire.rows import BEST
from connector.kite.wire.tables import arrow_modules

ROW_GROUP_ROWS: Final = 65_536
"""So many rows are held until they are written, together: some 500 bytes each."""
_READ_ROWS: Final = 2048
"""So many ticks are Python's at a time when a file is read: some 2 KB each."""
_TIMES: Final = ("event_time", "last_trade_time", "exchange_timestamp")
_RECEIVED: Final = COLUMNS.index("receive_time_us")
_TOKEN: Final = COLUMNS.index("instrument_token")


class ArchivedTick(NamedTuple):
    """A row of a file, as Kafka is to have it."""

    receive_time_ms: int
    instrument_token: int
    body: bytes
    """The Avro body, by this version's schema; without Confluent's framing."""


class ArchiveWriter:
    """Writes a file; a context manager, whose end writes the rest unless it ends with an error.

    Args:
        file: open for writing; stays open.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
        OSError: from any method: the file cannot be written.
    """

    def __init__(self, file: IO[bytes]) -> None:
        from pyarrow import parquet

        self.ticks = 0
        self._schema = value_schema()
        self._writer: Any = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._columns = Columns(BATCH_ROWS)  # the ticks of the batch that is being filled
        self._batches: list[Any] = []  # Arrow's, of the row group that is being filled

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write()
            self._writer.close()
            return
        # else it would try to, when it is collected
        with contextlib.suppress(Exception):
            self._writer.close()
        self._writer.is_open = False

    def add(self, value: bytes) -> None:
        """Add a tick, framed as Kafka has it.

        Raises:
            ValueError: it is not the value of a tick.
        """
        self._columns.add(value)
        self.ticks += 1
        if len(self._columns) == BATCH_ROWS:
            self._batches.append(batch_of(self._columns, self._schema))
            if len(self._batches) * BATCH_ROWS == ROW_GROUP_ROWS:
                self._write()

    def _write(self) -> None:
        _, arrow = arrow_modules()
        if len(self._columns):
            self._batches.append(batch_of(self._columns, self._schema))
        table = arrow.Table.from_batches(self._batches, self._schema)
        self._batches.clear()
        if table.num_rows:
            self._writer.write_table(_filled(table), row_group_size=ROW_GROUP_ROWS)


def _filled(table: Any) -> Any:
    """The best bid and ask out of the depth: ticks of the first version have them there alone."""
    from pyarrow import compute

    for best, first in BEST.items():
        column = compute.coalesce(table[best], table[first])
        table = table.set_column(table.schema.get_field_index(best), best, column)
    return table


class ArchiveReader:
    """Reads a file, or a part of it, in its order; a context manager.

    Args:
        path: of the file.
        exchanges: only these; none: all.
        from_ms: only what was received then or later, UTC milliseconds.
        to_ms: only what was received before.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
        ArchiveError: it cannot be read, or is none; from reading, too.
    """

    def __init__(
        self,
        path: Path,
        *,
        exchanges: Collection[Exchange] = (),
        from_ms: int | None = None,
        to_ms: int | None = None,
    ) -> None:
        self._path = path
        self._schema = value_schema()
        self._wanted = _wanted(exchanges, from_ms, to_ms)  # a filter of rows; None: all
        with contextlib.ExitStack() as opened:
            with self._readable():
                check_file(path)
                from pyarrow import parquet

                # opened by Python: pyarrow's words for a missing file are none for people
                source = opened.enter_context(path.open("rb"))
                self._file: Any = parquet.ParquetFile(source)
                there = set(self._file.schema_arrow.names)
            if missing := [name for name in self._schema.names if name not in there]:
                raise ArchiveError(str(path), f"it has no column {', '.join(missing[:5])}")
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def end_ms(self) -> int:
        """Return the time behind the newest tick that is read; 0 without any."""
        from pyarrow import compute

        newest = (compute.max(table["receive_time_us"]).as_py() for table in self._tables())
        return max((one // 1000 + 1 for one in newest if one is not None), default=0)

    def __iter__(self) -> Iterator[ArchivedTick]:
        _, arrow = arrow_modules()
        for table in self._tables():
            with self._readable():
                columns = [
                    (table[name].cast(arrow.int64()) if name in _TIMES else table[name]).to_pylist()
                    for name in COLUMNS
                ]
                ticks = [
                    ArchivedTick(row[_RECEIVED] // 1000, row[_TOKEN], body_of(row))
                    for row in zip(*columns, strict=True)
                ]
            yield from ticks

    def _tables(self) -> Iterator[Any]:
        """Yield the rows that are wanted, some at a time."""
        _, arrow = arrow_modules()
        names = self._schema.names
        with self._readable():
            batches = self._file.iter_batches(batch_size=_READ_ROWS, columns=names)
            while (batch := next(batches, None)) is not None:
                # cast to our types: other writers have other widths of integers and plain text
                table = arrow.Table.from_batches([batch]).select(names).cast(self._schema)
                table = table if self._wanted is None else table.filter(self._wanted)
                for name, nullable in zip(COLUMNS, NULLABLE, strict=True):
                    if not nullable and table[name].null_count:
                        raise ValueError(f"its column {name} has a row without a value")
                yield table

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UnusableFileError as exc:
            raise ArchiveError(str(self._path), str(exc)) from exc
        except OSError as exc:
            raise ArchiveError(str(self._path), exc.strerror or str(exc)) from exc
        except (
            ValueError,
            TypeError,
            KeyError,
            OverflowError,
        ) as exc:  # pyarrow's own errors are such
            raise ArchiveError(str(self._path), str(exc).partition("\n")[0]) from exc


def _wanted(exchanges: Collection[Exchange], from_ms: int | None, to_ms: int | None) -> Any:
    """A filter of rows; None: all."""
    _, arrow = arrow_modules()
    from pyarrow import compute

    field = compute.field
    parts = []
    if exchanges:
        names = field("exchange").cast(arrow.string())
        parts.append(names.isin([one.name for one in exchanges]))
    if from_ms is not None:
        parts.append(field("receive_time_us") >= from_ms * 1000)
    if to_ms is not None:
        parts.append(field("receive_time_us") < to_ms * 1000)
    return functools.reduce(operator.and_, parts) if parts else None
