"""Reads the ticks that Kafka Connect put into the Iceberg table, each as a line of JSON.

pip install 'pyiceberg[pyarrow,sql-sqlite]'
python read.py --day 2026-01-05

A day is a partition of the table, so that the files of other days are not opened.
"""

import argparse
import json
import sys
from datetime import UTC, date, datetime, time, timedelta

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue, And, BooleanExpression, GreaterThanOrEqual, LessThan


def on(day: date) -> BooleanExpression:
    """The ticks of a day in UTC."""
    begins = datetime.combine(day, time(), UTC)
    ends = begins + timedelta(days=1)
    return And(
        GreaterThanOrEqual("event_time", begins.isoformat()),
        LessThan("event_time", ends.isoformat()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", default="sqlite:///build/iceberg/catalog.db")
    parser.add_argument("--table", default="market.ticks")
    parser.add_argument("--day", type=date.fromisoformat, help="this one alone")
    chosen = parser.parse_args()
    # the name is the one that the sink gives its catalog
    catalog = SqlCatalog("iceberg", uri=chosen.catalog)
    wanted = AlwaysTrue() if chosen.day is None else on(chosen.day)
    scan = catalog.load_table(chosen.table).scan(row_filter=wanted)
    print(f"{sum(1 for _ in scan.plan_files())} files", file=sys.stderr)
    for batch in scan.to_arrow_batch_reader():
        for row in batch.to_pylist():
            print(json.dumps(row, default=str))


if __name__ == "__main__":
    main()
