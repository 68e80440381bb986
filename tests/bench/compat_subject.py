"""A program of Kite's official client with a clock: one KiteTicker, of the module that is named.

    python -m tests.bench.compat_subject kiteconnect URL INSTRUMENTS TICKS

The age of a frame is taken when `on_ticks` is called, which has its ticks as dicts by then. Prints
its figures as one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

from tests.bench.feed import age_us, tokens_of
from tests.bench.peer import cpu_seconds


def main(module: str, url: str, instruments: str, expected: str) -> None:
    tokens, ages_us = tokens_of(0, int(instruments)), list[int]()
    received, cpu_from = 0, 0.0

    def on_connect(ws: Any, _response: object) -> None:
        ws.subscribe(tokens)
        ws.set_mode(ws.MODE_FULL, tokens)

    def on_ticks(ws: Any, ticks: list[dict[str, Any]]) -> None:
        nonlocal received, cpu_from
        if not ages_us:
            cpu_from = cpu_seconds()
        ages_us.append(age_us(ticks[0]["volume_traded"]))
        received += len(ticks)
        if received >= int(expected):
            ws.close()

    ticker = importlib.import_module(module).KiteTicker("bench", "bench", root=url)
    ticker.on_connect, ticker.on_ticks = on_connect, on_ticks
    ticker.on_close = lambda ws, _code, _reason: ws.stop()
    ticker.connect()
    cpu = cpu_seconds() - cpu_from
    figures = {"received": received, "cpu_seconds": cpu, "ages_us": sorted(ages_us)}
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
