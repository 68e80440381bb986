"""Ticks as a Parquet file: a row a record, flat, with the columns of `ticks_to_arrow`.

Behind those stand the stream's own: slot, session_id, sequence, snapshot. Memory goes with a group
of rows, whatever the file's size. pyarrow is no requirement of this package: the extra `arrow`
brings it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import operator
from collections.abc import Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

import fastavro

from connector import schemas  # type: ignore[attr-defined]  # lies in another folder
from connector.errors import ArchiveError
from connector.files import UnusableFileError, check_file
from connector.kite.wire.models import Exchange
from connector.kite.wire.rows import BEST, DEPTH_COLUMNS, OHLC_COLUMNS, SIDES
from connector.kite.wire.tables import arrow_modules, tick_schema

ROW_GROUP_ROWS: Final = 65_536
"""So many rows are held until they are written, together: some 500 bytes each."""
_BATCH_ROWS: Final = 2048
"""So many ticks are Python's at a time: some 4 KB each."""
_OF_THE_STREAM: Final = ("slot", "session_id", "sequence", "snapshot")
_LEVEL: Final = ("quantity", "price", "orders")
_SIDES: Final = {
    side: [name for name in DEPTH_COLUMNS if name.startswith(f"depth_{side}_")] for side in SIDES
}
_NOTHING: Final = dict.fromkeys((*OHLC_COLUMNS, *DEPTH_COLUMNS, *BEST))
_TIMES: Final = ("event_time", "last_trade_time", "exchange_timestamp")


class ArchivedTick(NamedTuple):
    """A row of a file, as Kafka is to have it."""

    receive_time_ms: int
    instrument_token: int
    body: bytes
    """The Avro body, by this version's schema; without Confluent's framing."""


@functools.cache
def archive_schema() -> Any:
    """The `pyarrow.Schema` of a file.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
    """
    _, arrow = arrow_modules()
    kinds = (arrow.int32(), arrow.int64(), arrow.int64(), arrow.bool_())
    fields = [arrow.field(*each) for each in zip(_OF_THE_STREAM, kinds, strict=True)]
    return arrow.schema([*tick_schema(), *fields])


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
        self._schema = archive_schema()
        self._writer: Any = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._batches: list[Any] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._write()
            self._writer.close()
            return
        # else it would try to, when it is collected
        with contextlib.suppress(Exception):
            self._writer.close()
        self._writer.is_open = False

    def add(self, tick: dict[str, Any]) -> None:
        """Add a decoded tick."""
        self._rows.append(_flat(tick))
        self.ticks += 1
        if len(self._rows) == _BATCH_ROWS:
            self._make_batch()
            if len(self._batches) * _BATCH_ROWS == ROW_GROUP_ROWS:
                self._write()

    def _make_batch(self) -> None:
        _, arrow = arrow_modules()
        self._batches.append(arrow.RecordBatch.from_pylist(self._rows, self._schema))
        self._rows.clear()

    def _write(self) -> None:
        _, arrow = arrow_modules()
        if self._rows:
            self._make_batch()
        table = arrow.Table.from_batches(self._batches, self._schema)
        self._batches.clear()
        if table.num_rows:
            self._writer.write_table(table, row_group_size=ROW_GROUP_ROWS)


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
        self._schema = archive_schema()
        self._wanted = _wanted(exchanges, from_ms, to_ms)
        self._avro = fastavro.parse_schema(_schema_of_numbers())
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.close()

    def end_ms(self) -> int:
        """Return the time behind the newest tick that is read; 0 without any."""
        from pyarrow import compute

        newest = (compute.max(table["receive_time_us"]).as_py() for table in self._tables())
        return max((one // 1000 + 1 for one in newest if one is not None), default=0)

    def __iter__(self) -> Iterator[ArchivedTick]:
        _, arrow = arrow_modules()
        names = self._schema.names
        for table in self._tables():
            with self._readable():
                columns = [
                    (table[name].cast(arrow.int64()) if name in _TIMES else table[name]).to_pylist()
                    for name in names
                ]
            for values in zip(*columns, strict=True):
                row = dict(zip(names, values, strict=True))
                with self._readable():
                    body = self._body(_nested(row))
                yield ArchivedTick(row["receive_time_us"] // 1000, row["instrument_token"], body)

    def _tables(self) -> Iterator[Any]:
        """Yield the rows that are wanted, some at a time."""
        _, arrow = arrow_modules()
        names = self._schema.names
        with self._readable():
            batches = self._file.iter_batches(batch_size=_BATCH_ROWS, columns=names)
            while (batch := next(batches, None)) is not None:
                table = arrow.Table.from_batches([batch]).select(names).cast(self._schema)
                yield table if self._wanted is None else table.filter(self._wanted)

    def _body(self, tick: dict[str, Any]) -> bytes:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, self._avro, tick)
        return body.getvalue()

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UnusableFileError as exc:
            raise ArchiveError(str(self._path), str(exc)) from exc
        except OSError as exc:
            raise ArchiveError(str(self._path), exc.strerror or str(exc)) from exc
        except (ValueError, TypeError, KeyError) as exc:  # pyarrow's own errors are such
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


def _schema_of_numbers() -> Any:
    """The schema of a tick with times as the numbers that they are: no datetime is made."""

    def without(one: dict[str, Any]) -> dict[str, Any]:
        one.pop("logicalType", None)
        return one

    return json.loads(schemas.text("tick"), object_hook=without)


def _flat(tick: dict[str, Any]) -> dict[str, Any]:
    """A decoded tick of any version as a row."""
    row = {**tick, **_NOTHING}
    if (ohlc := tick["ohlc"]) is not None:
        row |= zip(OHLC_COLUMNS, ohlc.values(), strict=True)
    if (depth := tick["depth"]) is not None:
        for side, columns in _SIDES.items():
            row |= zip(columns, (n for level in depth[side] for n in level.values()), strict=False)
        # the first version has no such fields
        row |= {best: row[first] for best, first in BEST.items()}
    return row


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    """A row as a tick that Avro takes: the other way."""
    tick = {**row, "ohlc": None, "depth": None}
    if row["ohlc_open"] is not None:
        tick["ohlc"] = {name.removeprefix("ohlc_"): row[name] for name in OHLC_COLUMNS}
    depth = {side: _levels([row[name] for name in names]) for side, names in _SIDES.items()}
    if any(depth.values()):
        tick["depth"] = depth
    return tick


def _levels(numbers: list[Any]) -> list[dict[str, Any]]:
    levels = [numbers[at : at + len(_LEVEL)] for at in range(0, len(numbers), len(_LEVEL))]
    return [dict(zip(_LEVEL, level, strict=True)) for level in levels if level[0] is not None]
