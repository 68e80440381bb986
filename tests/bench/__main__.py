"""`make bench`: runs every benchmark, prints a table and writes the same as JSON.

A benchmark is a module `bench_*.py` here with `run()`, which gives dicts one after another; each is
one figure: name, value, unit, note, and where there is one, `reach` (the figure to reach; lower is
better unless `higher_is_better`). Each is told as soon as it is measured. Names on the command line
choose modules: `make bench ARGS="codec producer"`.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench import plots

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="make bench")
    parser.add_argument("names", nargs="*", help="codec, producer, …; all when none is given")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--plots", type=Path, help="draw the figures into this folder (SVG)")
    chosen = parser.parse_args()

    available = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    unknown = set(chosen.names) - set(available)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(available)}")

    figures: list[dict[str, Any]] = []
    for name in chosen.names or available:
        print(f"running {name} …", file=sys.stderr, flush=True)
        started = time.perf_counter()
        benchmark = importlib.import_module(f"tests.bench.bench_{name}")
        for figure in benchmark.run():
            figures.append({"benchmark": name, **figure})
            print(f"  {told(figure)}", file=sys.stderr, flush=True)
        print(f"  {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)

    show(figures)
    machine = {"python": platform.python_version(), "cores": os.cpu_count()}
    document = json.dumps({"machine": machine, "figures": figures}, indent=1, default=str)
    if chosen.json:
        chosen.json.write_text(document + "\n")
    if chosen.plots:
        plots.draw(figures, chosen.plots)
    print(document)
    return 0


def show(figures: list[dict[str, Any]]) -> None:
    table = Table(title="Figures of this machine, in this run")
    for column, justify in [
        ("benchmark", "left"), ("what", "left"), ("value", "right"), ("unit", "left"),
        ("to reach", "right"), ("", "left"), ("note", "left"),
    ]:  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for figure in figures:
        reach, missed = figure.get("reach"), missed_by(figure)
        mark = ""
        if reach is not None:
            mark = f"[yellow]missed by {missed}[/]" if missed else "[green]reached[/]"
        table.add_row(
            figure["benchmark"], figure["name"], _number(figure["value"]), figure["unit"],
            "" if reach is None else _number(reach), mark, figure.get("note", ""),
        )  # fmt: skip
    # to the error stream: standard output is the JSON alone, for a program to read
    Console(stderr=True, width=None if sys.stderr.isatty() else 140).print(table)


def told(figure: dict[str, Any]) -> str:
    """A figure as one line."""
    reach, missed = figure.get("reach"), missed_by(figure)
    aim = "" if reach is None else f" (to reach {_number(reach)}"
    aim += f", missed by {missed})" if missed else ")" if aim else ""
    note = f"; {figure['note']}" if figure.get("note") else ""
    return f"{figure['name']}: {_number(figure['value'])} {figure['unit']}{aim}{note}"


def missed_by(figure: dict[str, Any]) -> str:
    """By how much a figure misses what it should reach; empty where it does not."""
    reach, value = figure.get("reach"), figure["value"]
    if reach is None or (value >= reach if figure.get("higher_is_better") else value <= reach):
        return ""
    return f"{abs(value / reach - 1):.0%}" if reach else _number(value)


def _number(value: float) -> str:
    if isinstance(value, int) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
