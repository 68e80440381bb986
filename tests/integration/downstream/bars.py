"""The bars of examples/flink/bars.sql once more, in Python: what the engines must agree with."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

import fastavro

from tests.integration.downstream.market import Record, tick_schema_id

MINUTE = timedelta(minutes=1)
INDIA = timedelta(hours=5, minutes=30)


class Bar(NamedTuple):
    instrument_token: int
    start: str  # UTC, "2026-01-05 04:00:00"
    exchange: str
    tradingsymbol: str | None
    open: float
    high: float
    low: float
    close: float
    volume: int | None
    cumulative_volume: int | None
    bid: float | None
    ask: float | None
    ticks: int


def ticks(records: Iterable[Record], writers: Mapping[int, Any]) -> list[dict]:
    return [
        fastavro.schemaless_reader(io.BytesIO(record.value[5:]), writers[tick_schema_id(record)])
        for record in records
        if record.value is not None
    ]


def bars(received: Iterable[Mapping[str, Any]]) -> list[Bar]:
    once = {(t["slot"], t["session_id"], t["sequence"]): t for t in received if not t["snapshot"]}
    windows: dict[tuple[int, datetime], list] = defaultdict(list)
    for tick in once.values():
        start = tick["event_time"].replace(second=0, microsecond=0)
        windows[tick["instrument_token"], start].append(tick)
    made = []
    for token, keys in groupby(sorted(windows), key=lambda key: key[0]):
        before: dict[Any, int | None] = {}
        for _, start in keys:
            inside = sorted(
                windows[token, start],
                key=lambda t: (t["event_time"], t["receive_time_us"], t["sequence"]),
            )
            prices = [tick["last_price"] for tick in inside]
            volumes = [t["volume_traded"] for t in inside if t["volume_traded"] is not None]
            last = inside[-1]
            day = (start + INDIA).date()
            volume = None
            if volumes:
                base = before.get(day)
                volume = max(volumes) - (min(volumes) if base is None else base)
            before[day] = max(volumes, default=None)
            depth = last["depth"]
            made.append(
                Bar(
                    token,
                    f"{start:%Y-%m-%d %H:%M:%S}",
                    last["exchange"],
                    last["tradingsymbol"],
                    prices[0],
                    max(prices),
                    min(prices),
                    prices[-1],
                    volume,
                    max(volumes, default=None),
                    depth["buy"][0]["price"] if depth else None,
                    depth["sell"][0]["price"] if depth else None,
                    len(inside),
                )
            )
    return made
