"""Ticks' framed values as an Arrow table, column by column: no object is made for a tick.

numpy and pyarrow are no requirements of this package: the extra `arrow` brings them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

from connector.codec.rows import COLUMNS, Column, Columns
from connector.kite.wire.tables import arrow_modules, tick_schema

BATCH_ROWS: Final = 8192
"""So many ticks are one batch of a table: what is written at once stays in the CPU's cache."""


@functools.cache
def value_schema() -> Any:
    """The `pyarrow.Schema` of a table: that of `ticks_to_arrow`, and the stream's own columns.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
    """
    _, arrow = arrow_modules()
    ticks = tick_schema()
    kinds = (arrow.int32(), arrow.int64(), arrow.int64(), arrow.bool_())
    stream = zip(COLUMNS[len(ticks) :], kinds, strict=True)
    return arrow.schema([*ticks, *(arrow.field(*each) for each in stream)])


def values_to_arrow(values: Iterable[bytes], columns: Sequence[str] | None = None) -> Any:
    """The values of records of ticks' topics as a table: a row a record, in their order.

    The columns are those of `ticks_to_arrow`, and `slot`, `session_id`, `sequence`, `snapshot`. No
    registry is asked: every version of the schema has its fields in one order. The four best prices
    and quantities are null in ticks of the first version, which has none.

        polars.from_arrow(values_to_arrow(message.value() for message in consumer.consume(1000)))

    Args:
        values: as Kafka has them, with Confluent's five bytes before the Avro body.
        columns: the names of those that are wanted, in their order; all by default. Few columns
            are made faster than all.

    Returns:
        A `pyarrow.Table`; pyarrow has no types of its own.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
        ValueError: one is not the value of a tick, or a name not that of a column.
    """
    _, arrow = arrow_modules()
    schema = value_schema()
    wanted = schema.names if columns is None else list(columns)
    for name in wanted:
        if name not in schema.names:
            raise ValueError(f"{name!r} is no column of a tick")
    schema = arrow.schema([field for field in schema if field.name in wanted])
    gathered = Columns(BATCH_ROWS, frozenset(wanted))
    batches, every, place = [], list(values), 0
    while place < len(every):
        place = gathered.add_some(every, place)
        batches.append(batch_of(gathered, schema))
    return arrow.Table.from_batches(batches, schema).unify_dictionaries().select(wanted)


def batch_of(columns: Columns, schema: Any) -> Any:
    """Take the ticks out of columns, as a `pyarrow.RecordBatch` over the same memory.

    Args:
        columns: they have the names of the schema's fields.
        schema: `value_schema()`, or some of its fields in their order.

    Raises:
        MissingExtraError: numpy or pyarrow is not installed.
    """
    _, arrow = arrow_modules()
    count = len(columns)
    arrays = [
        _array(column, field.type, count)
        for column, field in zip(columns.take(), schema, strict=True)
    ]
    return arrow.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: Column, kind: Any, count: int) -> Any:
    numpy, arrow = arrow_modules()

    def bits(flags: bytearray) -> Any:
        packed = numpy.packbits(numpy.frombuffer(flags, "u1"), bitorder="little")
        return arrow.py_buffer(packed)

    there = None if column.there is None else bits(column.there)
    if column.words is not None:
        numbers = arrow.py_buffer(column.numbers)
        places = arrow.Array.from_buffers(arrow.int32(), count, [there, numbers])
        return arrow.DictionaryArray.from_arrays(places, arrow.array(column.words, arrow.string()))
    is_flag = arrow.types.is_boolean(kind)
    numbers = bits(column.numbers) if is_flag else arrow.py_buffer(column.numbers)
    return arrow.Array.from_buffers(kind, count, [there, numbers])
