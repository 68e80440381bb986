"""What ClickHouse is asked of the tape, and its answer in the form that results are compared in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.integration.downstream.bars import Bar
from tests.integration.downstream.checksum import NULLABLE, result

PREDICATES = {name: name for name in [*NULLABLE, "ohlc.open", "depth.buy[1].price"]}
# an array is never null: without depth it is empty, and what it lacks is 0
PREDICATES["depth.buy[1].price"] = "if(depth IS NULL, NULL, depth.buy[1].price)"
COUNTS = ", ".join(
    [
        "count() AS `ticks`",
        "sum(volume_traded) AS `volume`",
        *(f"countIf({asked} IS NULL) AS `no {name}`" for name, asked in PREDICATES.items()),
    ]
)


def of_ticks(tables: str) -> str:
    """What of a generated script makes the tables of ticks and bars: of other topics, none."""
    parts = tables.split(";\n")
    return ";\n".join([*(part for part in parts if "`ticks" in part or "`bar" in part), ""])


def found(bars: Iterable[Mapping[str, Any]], counts: Mapping[str, Any]) -> dict[str, Any]:
    """Of the rows that bars.sql finds, and the one that COUNTS finds."""
    made = [
        Bar(
            start=row["bar_start"].removesuffix(".000"),
            **{name: row[name] for name in Bar._fields if name != "start"},
        )
        for row in bars
    ]
    return result(
        ticks=counts["ticks"],
        volume=counts["volume"],
        nulls={name: counts[f"no {name}"] for name in PREDICATES},
        made=made,
    )
