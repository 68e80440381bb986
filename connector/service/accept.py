"""Which of the two formats of /metrics a request's Accept header asks for. Pure.

Source: RFC 9110, 12.5.1. The most specific range decides over a format's weight; a weight of 0
means that the format is not acceptable.
"""

from __future__ import annotations

import re
from typing import Final

_OPENMETRICS: Final = ("application/openmetrics-text", "application/*", "*/*")
_TEXT: Final = ("text/plain", "text/*", "*/*")
"""The ranges that stand for text, from the most specific to the widest."""

# a comma or semicolon within quotes is text; a quote that is never closed goes to the end
_RANGE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')
_PART = re.compile(r'(?:[^;"]|"(?:[^"\\]|\\.)*"?)+')
_WEIGHT = re.compile(r"(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})", re.ASCII)


def prefers_openmetrics(accept: str) -> bool:
    """Whether the answer is OpenMetrics; otherwise it is Prometheus' text.

    Whoever names neither format, or wants neither, gets the text: a page is better than none.

    Args:
        accept: the header, several of them joined by commas; "" where there is none.
    """
    weights: dict[str, float] = {}
    for written in _RANGE.findall(accept):
        name, *parameters = _PART.findall(written) or [""]
        # named twice, with parameters that are not told apart here: the greater weight holds
        name = name.strip().lower()
        weights[name] = max(weights.get(name, 0.0), _weight(parameters))
    openmetrics, text = _of(_OPENMETRICS, weights), _of(_TEXT, weights)
    if _OPENMETRICS[0] in weights:
        return 0.0 < openmetrics >= text
    return openmetrics > text


def _of(ranges: tuple[str, ...], weights: dict[str, float]) -> float:
    return next((weights[each] for each in ranges if each in weights), 0.0)


def _weight(parameters: list[str]) -> float:
    """Return the weight of one range; what is no number counts as if nothing had been said."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            found = _WEIGHT.fullmatch(value.strip())
            return min(float(found[0]), 1.0) if found else 1.0
    return 1.0
