"""A line chart as SVG, written by hand: lines with markers, on scales that may be logarithmic.

Its background is its own, by the reader's colour scheme, so that it can be read wherever it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 360
LEFT, RIGHT, TOP, BOTTOM = 84, 210, 60, 52
COLOURS = ("#0969da", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
DARK_COLOURS = ("#58a6ff", "#ff7b72", "#56d364", "#e3b341", "#d2a8ff", "#8b949e")

Points = Sequence[tuple[float, float]]


class Axis(NamedTuple):
    """A scale with its ticks: the first and the last are its ends."""

    label: str
    ticks: Sequence[float]
    logarithmic: bool = False
    names: Sequence[str] = ()

    def place(self, value: float) -> float:
        """Where a value lies, 0 to 1."""
        first, last = self.ticks[0], self.ticks[-1]
        if self.logarithmic:
            return math.log(value / first) / math.log(last / first)
        return (value - first) / (last - first)

    def named(self) -> list[tuple[float, str]]:
        """The ticks, and what stands there."""
        names = self.names or [f"{tick:,.10g}" for tick in self.ticks]
        return list(zip(self.ticks, names, strict=True))


def logarithmic(label: str, values: Sequence[float]) -> Axis:
    """An axis of powers of ten around values."""
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    return Axis(label, [10.0**power for power in range(low, high + 1)], logarithmic=True)


def linear(label: str, values: Sequence[float]) -> Axis:
    """An axis from 0 in four or five round steps."""
    rough = max(values) / 4
    unit = 10 ** math.floor(math.log10(rough))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit >= rough)
    return Axis(label, [step * i for i in range(math.ceil(max(values) / step) + 1)])


def chart(title: str, x: Axis, y: Axis, series: dict[str, Points]) -> str:
    """The document; its lines are named at the right, in the order of their last points.

    Where the only line has no name, there is no room for any.
    """
    width = WIDTH if any(series) else WIDTH - RIGHT + LEFT
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def across(value: float) -> float:
        return round(LEFT + wide * x.place(value), 1)

    def down(value: float) -> float:
        return round(TOP + high * (1 - y.place(value)), 1)

    parts = [text(LEFT, 24, title, "title")]
    for tick, name in y.named():
        at = down(tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at}H{LEFT + wide}"/>')
        parts.append(text(LEFT - 8, at + 4, name, "right"))
    for tick, name in x.named():
        parts.append(f'<path class="grid" d="M{across(tick)} {TOP}V{TOP + high}"/>')
        parts.append(text(across(tick), TOP + high + 18, name, "middle"))
    parts.append(text(LEFT + wide / 2, HEIGHT - 12, x.label, "middle"))
    parts.append(text(LEFT, TOP - 12, y.label, "left"))
    lowest = HEIGHT
    for place, (name, points) in sorted(
        enumerate(series.items()), key=lambda one: one[1][1][-1][1]
    ):
        line = "L".join(f"{across(at)} {down(value)}" for at, value in points)
        parts.append(f'<path class="line c{place}" d="M{line}"/>')
        parts += [
            f'<circle class="c{place}" cx="{across(at)}" cy="{down(value)}" r="2.5"/>'
            for at, value in points
        ]
        # names do not lie on one another
        lowest = min(down(points[-1][1]), lowest - 16)
        parts.append(text(LEFT + wide + 10, lowest + 4, name, f"left t{place}"))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style()}</style>\n"
        f'<rect class="ground" width="{width}" height="{HEIGHT}" rx="6"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="{kind}" x="{round(x, 1)}" y="{round(y, 1)}">{escape(words)}</text>'


def style() -> str:
    dark = "\n".join(
        [".ground{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}", *coloured(DARK_COLOURS)]
    )
    return "\n".join([
        "text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}",
        ".right{text-anchor:end}.middle{text-anchor:middle}",
        ".ground{fill:#ffffff}.grid{stroke:#d1d9e0;fill:none}.line{stroke-width:2;fill:none}",
        *coloured(COLOURS),
        f"@media(prefers-color-scheme:dark){{\n{dark}}}\n",
    ])  # fmt: skip


def coloured(colours: Sequence[str]) -> list[str]:
    return [
        f".line.c{i}{{stroke:{colour}}}circle.c{i},text.t{i}{{fill:{colour}}}"
        for i, colour in enumerate(colours)
    ]
