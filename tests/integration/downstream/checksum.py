"""What every reader must make of the tape: one result, kept in tests/golden/tape.json.

Written anew with `python -m tests.integration.downstream.checksum`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from connector import schemas
from connector.kafka.topics import TopicNames
from tests.integration.downstream import market
from tests.integration.downstream.bars import Bar, bars, ticks

AGREED = Path(__file__).parents[2] / "golden" / "tape.json"
TIMES = ("event_time", "exchange_timestamp", "last_trade_time")
NULLABLE = [
    field["name"] for field in schemas.load("tick")["fields"] if isinstance(field["type"], list)
]
IDENTITY = ("slot", "session_id", "sequence")


def checksum(received: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of ticks as a reader gives them, repeats among them; times may be milliseconds or text.

    `ohlc.open` and `depth.buy[1].price` are counted as a reader's own IS NULL finds them.
    """
    once = {tuple(tick[name] for name in IDENTITY): _with_times(tick) for tick in received}
    rows = list(once.values())
    nulls = {name: sum(row.get(name) is None for row in rows) for name in NULLABLE}
    nulls["ohlc.open"] = sum(row["ohlc"] is None or row["ohlc"]["open"] is None for row in rows)
    nulls["depth.buy[1].price"] = sum(
        row["depth"] is None or row["depth"]["buy"][0]["price"] is None for row in rows
    )
    return result(
        ticks=len(rows),
        volume=sum(row["volume_traded"] or 0 for row in rows),
        nulls=nulls,
        made=bars(rows),
    )


def result(
    *, ticks: int, volume: int, nulls: Mapping[str, int], made: Iterable[Bar]
) -> dict[str, Any]:
    """The form in which results are compared."""
    return {
        "ticks": ticks,
        "volume": volume,
        "nulls": dict(sorted(nulls.items())),
        "bars": [list(bar) for bar in sorted(made)],
    }


def agreed() -> dict[str, Any]:
    """The result that all have."""
    found: dict[str, Any] = json.loads(AGREED.read_text("utf-8"))
    return found


def _with_times(tick: Mapping[str, Any]) -> dict[str, Any]:
    return {**tick, **{name: _time(tick[name]) for name in TIMES}}


def _time(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return datetime.fromtimestamp(value / 1000, UTC)


def _of_the_tape() -> dict[str, Any]:
    names = TopicNames("kite")
    topics = names.all_ticks().values()
    newer, older = dict.fromkeys(topics, 2), dict.fromkeys(topics, 1)
    writers = {1: market.older_schema(), 2: schemas.load("tick")}
    return checksum(ticks(market.tape(names, newer, older), writers))


if __name__ == "__main__":
    made = _of_the_tape()
    lines = ",\n  ".join(json.dumps(bar) for bar in made.pop("bars"))
    text = json.dumps(made, indent=1).removesuffix("\n}")
    AGREED.write_text(f'{text},\n "bars": [\n  {lines}\n ]\n}}\n', "utf-8")
