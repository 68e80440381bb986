"""Text frames: JSON objects with a `type`, of which only some are documented."""

from __future__ import annotations

import json
from typing import Any, Final

from connector.kite.wire.models import ErrorMessage, OrderMessage, TextMessage, TickerMessage
from connector.kite.wire.orders import parse_order

NOT_JSON: Final = "text_not_json"
"""A text frame that is no JSON."""
NOT_AN_OBJECT: Final = "text_not_an_object"
"""A text frame that is JSON, but no object."""
TOO_DEEP: Final = "text_too_deep"
"""A text frame with more than `MAX_NESTING` levels: whatever writes it again would go as deep."""
TOO_LONG: Final = "text_too_long"
"""A text frame that is too long to be read."""
ORDER_WITHOUT_DATA: Final = "order_without_data"
"""A text frame of type order whose data is no object."""

WITHOUT_TYPE: Final = "text_without_type"
"""A text frame whose type is missing, or no text."""

MAX_NESTING: Final = 64
"""A text frame may be nested so deep; an order's payload has two or three levels."""


def json_object(text: str | bytes | None) -> dict[str, Any]:
    """The JSON object that others wrote; empty where it is none. Nothing raises."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):  # the latter of brackets without end
        return {}
    return found if isinstance(found, dict) else {}


def parse_message(text: str) -> TickerMessage:
    """Decode a text frame; whatever is not known becomes a `TextMessage`, nothing raises.

    A frame that cannot be read gives a `TextMessage` with a `fault`, of type "" and with the text
    as its data where it is not a JSON object.
    """
    try:
        message = json.loads(text)
    except ValueError:
        return TextMessage("", text, NOT_JSON)
    # json.loads gives up at a depth of Python's own, far beyond ours
    except RecursionError:
        return TextMessage("", text, TOO_DEEP)
    if not isinstance(message, dict):
        return TextMessage("", text, NOT_AN_OBJECT)
    if _levels(message) > MAX_NESTING:
        return TextMessage("", text, TOO_DEEP)
    kind = message.get("type")
    data = message.get("data")
    if not isinstance(kind, str) or not kind:
        return TextMessage("", text, WITHOUT_TYPE)
    # order, error and message are documented; instruments_meta and app_code come too
    if kind == "order":
        if isinstance(data, dict):
            return OrderMessage(parse_order(data))
        return TextMessage(kind, data, ORDER_WITHOUT_DATA)
    if kind == "error":
        # a string in Kite's own; whatever else comes is shown, not lost
        return ErrorMessage(data if isinstance(data, str) else json.dumps(data))
    return TextMessage(kind, data)


def _levels(value: object) -> int:
    """Return how deep a value of JSON is nested, up to one more than `MAX_NESTING`."""
    level = [value]
    for depth in range(MAX_NESTING + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return depth + 1
    return MAX_NESTING + 1
